/** The register of ids in docs/reference/ledger-format.md and the code say the same; ids are never used for two meanings. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { encodeCbor } from "../../src/core/codec/cbor.ts";
import { decodeAdministrative } from "../../src/core/governance/administrative-codec.ts";
import { COSE_ALGORITHMS } from "../../src/core/governance/cose.ts";
import type { Vote } from "../../src/core/governance/policy.ts";
import { REQUEST_TYPES } from "../../src/core/governance/signed-request.ts";
import { GOVERNANCE_STATE_VERSION } from "../../src/core/governance/state-codec.ts";
import { BATCH_FORMAT_VERSION, BATCH_KIND_CODES, TRANSACTION_FLAGS } from "../../src/core/ledger/batch-format.ts";
import { COSE_LABELS } from "../../src/core/ledger/cose-receipt.ts";
import { FRAME_CODES, MANIFEST_KEYS, SNAPSHOT_FORMAT_VERSION } from "../../src/core/ledger/snapshot-format.ts";
import { LEDGER_FORMAT_VERSION } from "../../src/host/ledger-record.ts";

/** The root of the package: the first folder above this file that holds the page. */
function rootOf(folder: string): string {
  const isRoot = fs.existsSync(join(folder, "docs/reference/ledger-format.md"));
  assert.ok(isRoot || folder !== "/", "docs/reference/ledger-format.md is not found");
  return isRoot ? folder : rootOf(join(folder, ".."));
}

const ROOT = rootOf(import.meta.dirname);
const PAGE = fs.readFileSync(join(ROOT, "docs/reference/ledger-format.md"), "utf8");
const REGISTER = PAGE.slice(PAGE.indexOf("## Register of ids"))
  .split("\n")
  .map((line) => /^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/.exec(line))
  .filter((match) => match !== null)
  .map(([, space = "", id = "", meaning = ""]) => ({ space, id, meaning }));

/** Ids of a space with their meanings. */
function registered(space: string): Readonly<Record<string, string>> {
  return Object.fromEntries(REGISTER.filter((row) => row.space === space).map(({ id, meaning }) => [id, meaning]));
}

/** Ids of a space that are still written, with their meanings. */
function current(space: string): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(registered(space)).filter(([, meaning]) => !meaning.startsWith("retired")));
}

/** Ids of a space that are still written. */
function inUse(space: string): readonly string[] {
  return Object.keys(current(space)).sort();
}

/** A table of codes by name, turned round. */
function byCode(codes: Readonly<Record<string, number>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(codes).map(([name, code]) => [String(code), name]));
}

describe("the register of ids of the ledger format", () => {
  test("has no id twice", () => {
    const ids = REGISTER.map(({ space, id }) => `${space} ${id}`);
    assert.ok(ids.length > 40);
    assert.deepEqual(
      ids.filter((id, at) => ids.indexOf(id) !== at),
      [],
    );
  });

  test("says of versions, kinds, flags, frames and manifest fields what the code says", () => {
    assert.deepEqual(inUse("batch version"), [String(BATCH_FORMAT_VERSION)]);
    assert.deepEqual(inUse("chunk version"), [String(LEDGER_FORMAT_VERSION)]);
    assert.deepEqual(inUse("snapshot version"), [String(SNAPSHOT_FORMAT_VERSION)]);
    assert.deepEqual(inUse("governance state version"), [String(GOVERNANCE_STATE_VERSION)]);
    assert.deepEqual(registered("batch kind"), byCode(BATCH_KIND_CODES));
    assert.deepEqual(registered("transaction flag"), byCode(TRANSACTION_FLAGS));
    assert.deepEqual(registered("snapshot frame"), byCode(FRAME_CODES));
    assert.deepEqual(current("snapshot manifest"), byCode(MANIFEST_KEYS));
  });

  test("is under the same versions as the table at the head of the page, which names each layout once", () => {
    const rows = PAGE.slice(0, PAGE.indexOf("## Folder"))
      .split("\n")
      .map((line) => /^\| ([a-z' ]+) \| (\d+) \| [^|]+ \|$/.exec(line))
      .filter((match) => match !== null);
    const versions = Object.fromEntries(rows.map(([, layout = "", version = ""]) => [layout, Number(version)]));
    assert.equal(Object.keys(versions).length, rows.length, "a layout is named twice");
    assert.deepEqual(versions, {
      "chunk file": LEDGER_FORMAT_VERSION,
      batch: BATCH_FORMAT_VERSION,
      "snapshot file": SNAPSHOT_FORMAT_VERSION,
      "governance state": GOVERNANCE_STATE_VERSION,
      "preface of an adapter's state": Number(inUse("preface format")[0]),
      "layout file": Number(inUse("layout version")[0]),
    });
  });

  test("says of members' signatures which types, headers and votes there are", () => {
    const signing = PAGE.slice(PAGE.indexOf("; payloads of the signed requests"), PAGE.indexOf("**Challenges.**"));
    for (const type of REQUEST_TYPES) assert.ok(signing.includes(`"${type}"`), type);
    const headers = new Set<string>();
    const source = fs.readFileSync(join(ROOT, "src/core/governance/signed-request.ts"), "utf8");
    for (const [, name = ""] of source.matchAll(/= "((?:ccf|coco)\.[a-z_.]+)";/g)) headers.add(name);
    assert.equal(headers.size, 4);
    for (const name of headers) assert.ok(signing.includes(`"${name}"`), name);
    for (const [name, { number }] of Object.entries(COSE_ALGORITHMS))
      assert.ok(signing.includes(`${name} (${number})`), name);
    const votes: readonly Vote[] = ["yes", "no", "abstain"];
    assert.ok(signing.includes(votes.map((vote) => `"${vote}"`).join(" / ")));
  });

  test("says of every label in a COSE receipt what it is for", () => {
    const labels = registered("COSE label");
    for (const [name, label] of Object.entries(COSE_LABELS))
      assert.match(labels[String(label)] ?? "", new RegExp(`\\b${name}\\b`), `${name}: ${label}`);
    assert.equal(Object.keys(labels).length, new Set(Object.values(COSE_LABELS).map(String)).size);
  });

  test("has exactly the types of administrative transactions that the code reads", () => {
    let message = "";
    try {
      decodeAdministrative(encodeCbor(new Map([["type", "none of them"]])));
    } catch (error) {
      message = String(error);
    }
    const known = /expected one of: ([a-zA-Z, ]+)/.exec(message)?.[1]?.split(", ") ?? [];
    assert.deepEqual(inUse("administrative type"), known.sort(), message);
  });

  test("has every name that ledger and snapshot keys are derived under", () => {
    const names = Object.keys(registered("derivation"));
    const folders = ["src/core/ledger", "src/enclave/manager"].map((folder) => join(ROOT, folder));
    const sources = folders.flatMap((folder) => fs.readdirSync(folder).map((file) => join(folder, file)));
    const text = sources
      .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
      .map((file) => fs.readFileSync(file, "utf8"))
      .join("\n");
    // Channels between nodes and code measurements have names of their own, which never stand in the ledger.
    const found = [...text.matchAll(/"(coco [a-z ]+ v[0-9]+)"/g)].map(([, name = ""]) => name);
    const used = new Set(found.filter((name) => name !== "coco channel v1"));
    assert.deepEqual([...used].sort(), names.toSorted());
  });
});
