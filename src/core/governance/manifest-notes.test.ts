import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { CodeEntry, TeeEntry } from "./manifest-entries.ts";
import { manifestNotes } from "./manifest-notes.ts";
import { STRICT_SNP_POLICY } from "./policy-snp.ts";
import { TOKEN_POLICY } from "./test-tee-policies.ts";

const NOW_MS = Date.UTC(2030, 0, 15);
const DAY_MS = 24 * 3600 * 1000;

const machine: TeeEntry = { tee: "virtual", machineKey: new Uint8Array(1), note: "rack 1" };
const own: CodeEntry = { measurement: "11".repeat(32), name: "coco-framework", version: "1" };
const snp: TeeEntry = { tee: "snp", id: "cloud", note: "", policy: STRICT_SNP_POLICY };
const onSnp: CodeEntry = { ...own, measurement: "22".repeat(48), reference: { tee: "snp" } };

const notes = (teeManifest: readonly TeeEntry[], codeManifest: readonly CodeEntry[]): readonly string[] =>
  manifestNotes({ teeManifest, codeManifest }, NOW_MS);

describe("notes on manifests", () => {
  test("there are none where each entry can be met", () => {
    assert.deepEqual(notes([machine], [own]), []);
    assert.deepEqual(notes([machine, snp], [own, onSnp]), []);
    const turn = NOW_MS + DAY_MS;
    const [first, second] = [{ inForceUntil: turn }, { inForceFrom: turn }];
    assert.deepEqual(
      notes(
        [machine],
        [
          { ...own, ...first },
          { ...own, version: "2", ...second },
        ],
      ),
      [],
    );
  });

  test("a TEE without code of it, and code without a TEE, name what is missing", () => {
    const [alone, ...none] = notes([machine, snp], [own]);
    assert.match(
      alone ?? "",
      /^the entry cloud of AMD SEV-SNP can be met by no node: no code has reference values of snp/,
    );
    assert.deepEqual(none, []);
    assert.match(
      notes([machine], [own, onSnp])[0] ?? "",
      /^code coco-framework 1 \(2{16}…\) can be run by no node: .*for snp$/,
    );
    const swapped = notes([machine], [onSnp]);
    assert.equal(swapped.length, 2);
    assert.match(
      swapped[0] ?? "",
      /^the machine rack 1 can be met by no node: no code is listed without reference values/,
    );
    assert.match(notes([snp], [own, onSnp])[0] ?? "", /no machine of the virtual TEE$/);
  });

  test("an entry that has ended, and entries that are never in force together", () => {
    const ended = { inForceUntil: NOW_MS };
    assert.deepEqual(notes([machine, { ...snp, ...ended }], [own, onSnp]), [
      "the entry cloud of AMD SEV-SNP ended on 2030-01-15 00:00:00 UTC: retire it, or approve it anew",
      "code coco-framework 1 (2222222222222222…) is in force only when no TEE entry of snp is",
    ]);
    const [early, late] = [{ inForceUntil: NOW_MS + DAY_MS }, { inForceFrom: NOW_MS + DAY_MS }];
    const never = notes([{ ...machine, ...early }], [{ ...own, ...late }]);
    assert.deepEqual(never, [
      "the machine rack 1 is in force only when no code of virtual is",
      "code coco-framework 1 (1111111111111111…) is in force only when no TEE entry of virtual is",
    ]);
  });

  test("policies that accept nothing", () => {
    const tdx = (policy: object): TeeEntry => ({ tee: "tdx", id: "t", note: "", policy });
    const code: CodeEntry = { ...onSnp, reference: { tee: "tdx" } };
    for (const [policy, says] of [
      [{}, undefined],
      [{ enclaves: [] }, undefined],
      [{ statuses: [] }, /names no statuses/],
      [{ moduleMeasurements: [] }, /names no moduleMeasurements/],
    ] as const) {
      const [note, ...more] = notes([machine, tdx(policy)], [own, code]);
      if (says === undefined) assert.equal(note, undefined);
      else assert.match(note ?? "", says);
      assert.deepEqual(more, []);
    }
    const tokens: TeeEntry = { tee: "vsm", id: "maa", note: "", policy: TOKEN_POLICY };
    const enclave: CodeEntry = { ...own, reference: { tee: "vsm" } };
    assert.match(
      notes([machine, tokens], [own, enclave])[0] ?? "",
      /^the entry maa of Windows VSM accepts nothing: .*authorIds/,
    );
  });
});
