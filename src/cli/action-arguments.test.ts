import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { actionsTree } from "../core/governance/action-codec.ts";
import { treeToJson } from "../core/governance/fields.ts";
import { createOrganisation } from "../host/organisation.ts";
import { readProposal } from "./action-arguments.ts";

const dir = await mkdtemp(join(tmpdir(), "coco-actions-"));
after(() => rm(dir, { recursive: true, force: true }));
const { certificate, privateKey } = createOrganisation("initech", "Initech", 1);
await writeFile(join(dir, "cert.pem"), certificate);
await writeFile(join(dir, "both.pem"), certificate + privateKey);
await writeFile(join(dir, "script.js"), "export function resolve () { return 'Open'; }");

function byArguments(action: string, ...given: readonly (readonly [string, string])[]) {
  return readProposal({ file: undefined, action, arguments: given.map(([name, value]) => ({ name, value })) });
}

async function ofFile(document: unknown) {
  const file = join(dir, "proposal.json");
  await writeFile(file, JSON.stringify(document));
  return readProposal({ file, arguments: [] });
}

describe("the actions of a proposal", () => {
  test("arguments are texts, JSON, files, and fields inside fields", async () => {
    const { actions } = await byArguments(
      "add_member",
      ["id", "initech"],
      ["name", "Initech Ltd"],
      ["certificates", `["@${join(dir, "cert.pem")}"]`],
    );
    assert.deepEqual(treeToJson(actionsTree(actions)), [
      {
        name: "add_member",
        args: { id: "initech", name: "Initech Ltd", certificates: [certificate] },
      },
    ]);
    const measurement = "22".repeat(32);
    const numbered = await byArguments(
      "approve_code",
      ["measurement", measurement],
      ["name", "7"],
      ["version", "1"],
      ["inForceFrom", "1900000000000"],
    );
    assert.deepEqual(treeToJson(actionsTree(numbered.actions)), [
      { name: "approve_code", args: { measurement, name: "7", version: "1", inForceFrom: 1_900_000_000_000 } },
    ]);
    const limited = await byArguments(
      "restrict_participant",
      ["actor", "initech"],
      ["restriction.type", "limited"],
      ["restriction.requestsPerMinute", "60"],
    );
    assert.deepEqual(limited.actions[0]?.args, {
      actor: "initech",
      restriction: { type: "limited", requestsPerMinute: 60 },
    });
  });

  test("files that a file names stand beside it", async () => {
    const added = { name: "add_certificate", args: { actor: "initech", certificate: "@cert.pem" } };
    const script = { name: "set_script", args: { source: "@script.js" } };
    const { actions, description } = await ofFile({ actions: [added, script], description: "roll over" });
    assert.equal(description, "roll over");
    assert.deepEqual(treeToJson(actionsTree(actions)), [
      { name: "add_certificate", args: { actor: "initech", certificate } },
      { name: "set_script", args: { source: "export function resolve () { return 'Open'; }" } },
    ]);
  });

  test("no private key and no other file gets into a proposal", async () => {
    await writeFile(join(dir, "secret"), "secret");
    for (const name of ["both.pem", "secret", "none.pem"])
      await assert.rejects(ofFile({ actions: [], description: `@${name}` }), { code: "ConfigurationInvalid" }, name);
  });

  test("each mistake names its field", async () => {
    const mistakes: readonly (readonly [unknown, RegExp])[] = [
      [{ actions: [{ name: "open_epoch", args: { now: true } }] }, /actions\[0\]\.args\.now: is not a field/],
      [{ actions: [{ name: "open_epoch" }] }, /actions\[0\]\.args: is missing/],
      [{ actions: [{ name: "open_sesame", args: {} }] }, /actions\[0\]\.name: open_sesame is not an action/],
      [{ actions: [] }, /at least one action/],
      [{ actions: [{ name: "open_epoch", args: {} }], descripton: "" }, /descripton: is not a field/],
    ];
    for (const [document, message] of mistakes)
      await assert.rejects(ofFile(document), (error: Error) => message.test(error.message), String(message));
    await assert.rejects(byArguments("open_sesame"), { code: "WrongUsage" });
    await assert.rejects(byArguments("open_epoch", ["__proto__.x", "1"]), { code: "WrongUsage" });
    await assert.rejects(readProposal({ file: undefined, arguments: [] }), { code: "WrongUsage" });
  });
});
