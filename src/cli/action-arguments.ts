/**
 * The actions of a proposal as the command line takes them: a JSON file as CCF has it, or names and arguments. A text `@file`
 * stands for what is in the file: a certificate or list of revoked ones in PEM, or a JSON document such as a signed node entry.
 */
import { dirname, resolve } from "node:path";
import { readActionList } from "../core/governance/action-codec.ts";
import { ACTION_NAMES, isActionName } from "../core/governance/action-names.ts";
import type { Action } from "../core/governance/actions.ts";
import { parseJson, readDocument, type FieldContext } from "../core/governance/fields.ts";
import { pemBlocks } from "../core/governance/pem.ts";
import { MAX_DESCRIPTION_LENGTH } from "../core/governance/action-codec.ts";
import { CocoError } from "../errors.ts";
import { readText } from "./arguments.ts";

const MAX_FILE_BYTES = 1024 * 1024;
const MAX_DEPTH = 64;
const CONTEXT: FieldContext = { form: "json", code: "ProposalInvalid", givesReasons: true };

/** Arguments that are texts in every action: `version=1` is one, too. */
const TEXTS: readonly string[] = ["actor", "id", "name", "note", "version"];

/** What a proposal says. */
export interface ProposalContent {
  readonly actions: readonly Action[];
  readonly description: string | undefined;
}

/** How a proposal was given. */
export interface ProposalArguments {
  /** JSON file. */
  readonly file: string | undefined;
  /** Name of an action, with its arguments `name=value`. */
  readonly action?: string;
  readonly arguments: readonly { readonly name: string; readonly value: string }[];
  readonly description?: string;
}

/** Reads a proposal strictly. Throws `WrongUsage`, `ConfigurationInvalid` for files, `ProposalInvalid` with the field. */
export async function readProposal(given: ProposalArguments): Promise<ProposalContent> {
  const { file, action } = given;
  if ((file === undefined) === (action === undefined))
    throw new CocoError("WrongUsage", "give the proposal either as a file or by --action");
  const document = file === undefined ? await ofArguments(given) : await ofFile(file, given.description);
  return readDocument(document, CONTEXT, (fields) => ({
    description: fields.has("description") ? fields.text("description", { max: MAX_DESCRIPTION_LENGTH }) : undefined,
    actions: readActionList(fields),
  }));
}

async function ofFile(file: string, description: string | undefined): Promise<unknown> {
  const text = await readText(file, MAX_FILE_BYTES);
  const document = await withFiles(parseJson(text, { ...CONTEXT, data: { file } }), dirname(file));
  if (description === undefined || typeof document !== "object" || document === null) return document;
  return { ...document, description };
}

async function ofArguments({ action = "", arguments: given, description }: ProposalArguments): Promise<unknown> {
  if (!isActionName(action))
    throw new CocoError("WrongUsage", `${action} is not an action; there are: ${ACTION_NAMES.join(", ")}`);
  const args: Record<string, unknown> = {};
  for (const { name, value } of given)
    if (TEXTS.includes(name)) args[name] = value.startsWith('"') ? await jsonOrText(value) : value;
    else await setAt(args, name.split("."), value);
  return { actions: [{ name: action, args: withMachine(args) }], ...(description !== undefined && { description }) };
}

/** Sets what a dotted name says: `restriction.type=banned`. */
async function setAt(record: Record<string, unknown>, path: readonly string[], value: string): Promise<void> {
  const [name = "", ...rest] = path;
  if (["__proto__", "constructor", "prototype"].includes(name))
    throw new CocoError("WrongUsage", `--arg ${name}: no such field`);
  if (rest.length === 0) {
    record[name] = await jsonOrText(value);
    return;
  }
  const inner = record[name];
  const next = isRecord(inner) ? { ...inner } : {};
  record[name] = next;
  await setAt(next, rest, value);
}

/** A JSON value where the text is one that is no number in disguise; else the text itself. */
async function jsonOrText(text: string): Promise<unknown> {
  if (text.startsWith("@")) return readReferenced(text.slice(1), ".");
  if (!/^(?:[[{"]|true$|false$|null$|-?(?:0|[1-9]\d{0,15})$)/.test(text)) return text;
  try {
    return await withFiles(JSON.parse(text), ".");
  } catch (error) {
    if (error instanceof CocoError) throw error;
    return text;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value with every text `@file` replaced; names of files count from `folder`. */
async function withFiles(value: unknown, folder: string, depth = 0): Promise<unknown> {
  if (depth > MAX_DEPTH) throw new CocoError("MalformedInput", "the proposal nests too deeply");
  if (typeof value === "string") return value.startsWith("@") ? readReferenced(value.slice(1), folder) : value;
  if (Array.isArray(value)) return await Promise.all(value.map((item) => withFiles(item, folder, depth + 1)));
  if (!isRecord(value)) return value;
  const fields = await Promise.all(
    Object.entries(value).map(async ([name, field]) => [name, await withFiles(field, folder, depth + 1)] as const),
  );
  return withMachine(Object.fromEntries(fields));
}

/** Only what belongs into proposals: a proposal that somebody else wrote must not fetch what it likes. */
async function readReferenced(name: string, folder: string): Promise<unknown> {
  const file = resolve(folder, name);
  const text = await readText(file, MAX_FILE_BYTES);
  if (file.endsWith(".json")) return parseJson(text, { ...CONTEXT, code: "ConfigurationInvalid", data: { file } });
  const isPem = pemBlocks(text, "CERTIFICATE").length + pemBlocks(text, "X509 CRL").length > 0;
  if ((isPem && !text.includes("PRIVATE KEY")) || file.endsWith(".js")) return text;
  const expected = "certificates or lists of revoked ones in PEM, a .json file, or a script (.js)";
  throw new CocoError("ConfigurationInvalid", `@${name}: expected ${expected}`, { file });
}

/** A file of `coco node sign` has the entry and its machine: where it stands for the entry, the machine comes along. */
function withMachine(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { entry } = value;
  if (!isRecord(entry) || !isRecord(entry["entry"])) return value;
  return { ...value, entry: entry["entry"], ...(value["tee"] === undefined && { tee: entry["tee"] }) };
}
