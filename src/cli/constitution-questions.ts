/** What `coco constitution init` asks at a terminal when it was not told. */
import { CocoError } from "../errors.ts";
import { collectNamed, type NamedValue } from "./arguments.ts";
import type { InitOptions } from "./constitution-options.ts";
import type { Ask, CommandContext } from "./output.ts";
import { collectPolicy, RULE_FORMS } from "./policy-argument.ts";

/** Options with everything a constitution needs. */
export type CompleteOptions = InitOptions & { readonly name: string; readonly out: string };

/** Asks for what is missing; throws `WrongUsage` where nobody can be asked. */
export async function askForMissing(context: CommandContext, options: InitOptions): Promise<CompleteOptions> {
  const { name, out, member, node } = options;
  if (name !== undefined && out !== undefined && member.length > 0 && node.length > 0) return { ...options, name, out };
  const { ask } = context;
  if (ask === undefined) {
    const missing = [
      ...(name === undefined ? ["--name"] : []),
      ...(member.length === 0 ? ["--member"] : []),
      ...(node.length === 0 ? ["--node"] : []),
      ...(out === undefined ? ["--out"] : []),
    ];
    throw new CocoError("WrongUsage", `missing: ${missing.join(", ")}`);
  }
  return await complete(ask, options);
}

async function complete(ask: Ask, options: InitOptions): Promise<CompleteOptions> {
  const name = options.name ?? (await answered(ask, "Name of the network:"));
  const member = options.member.length > 0 ? options.member : await askForMembers(ask);
  const node = options.node.length > 0 ? options.node : await askForNodes(ask);
  const isDefault = options.policy.length === 0 && options.policies === undefined;
  const policy = isDefault ? await askForPolicy(ask) : options.policy;
  const out = options.out ?? (await ask("File to write:", "genesis.json"));
  return { ...options, name, member, node, policy, out };
}

async function answered(ask: Ask, question: string): Promise<string> {
  const answer = await ask(question);
  if (answer === "") throw new CocoError("WrongUsage", `${question} nothing was answered`);
  return answer;
}

async function askForMembers(ask: Ask): Promise<readonly NamedValue[]> {
  let members: readonly NamedValue[] = [];
  for (;;) {
    const answer = await ask("A member and its certificate, as ID=FILE (empty: no more):");
    if (answer === "" && members.length > 0) return members;
    members = collectNamed(answer, members);
  }
}

async function askForNodes(ask: Ask): Promise<readonly string[]> {
  const files: string[] = [];
  for (;;) {
    const answer = await ask("File of a node's signed entry (empty: no more):");
    if (answer === "" && files.length > 0) return files;
    files.push(answer);
  }
}

async function askForPolicy(ask: Ask) {
  const rule = await ask(`What must agree to a change? (${RULE_FORMS})`, "majority");
  return collectPolicy(`default=${rule}`, []);
}
