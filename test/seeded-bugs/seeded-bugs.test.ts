/** The table itself: each bug can be planted in the sources as they are, so that a change of them is noticed at once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ELECTION_BUGS } from "./election-bugs.ts";
import { LEASE_BUGS } from "./lease-bugs.ts";
import { LEDGER_BUGS } from "./ledger-bugs.ts";
import { LOG_BUGS } from "./log-bugs.ts";
import { compiled, patched } from "./rig.ts";

const BUGS = [...ELECTION_BUGS, ...LOG_BUGS, ...LEDGER_BUGS, ...LEASE_BUGS];

test("every bug can be planted, changes a file, and has somebody to look for it", () => {
  assert.equal(new Set(BUGS.map(({ name }) => name)).size, BUGS.length);
  for (const bug of BUGS) {
    assert.ok(compiled(bug).size > 0);
    assert.ok(bug.detectors.length > 0 && bug.patches.every(({ find, replace }) => find !== replace), bug.name);
  }
});

test("a bug whose text is missing, or there twice, is not planted", () => {
  const patch = { file: "", find: "here", replace: "there" };
  assert.equal(patched("it is here", [patch], ""), "it is there");
  for (const source of ["it is gone", "here and here"])
    assert.throws(() => patched(source, [patch], ""), { code: "Internal" });
});
