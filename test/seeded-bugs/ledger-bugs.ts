/** Bugs outside of the consensus core: sealing, ledger, epochs, snapshots, disk. */
import type { Detector, SeededBug } from "./bug.ts";

/** Seeds that the simulator plays before it gives up. */
const SEEDS = 30;

const SIMULATION: Detector = { type: "simulation", seeds: SEEDS };

const tests = (file: string): Detector => ({ type: "tests", file: `${file}.test.js` });

/** Bugs for which no detector is good enough yet, with what they wait for: they are listed, and not counted as found. */
const WAITING: Readonly<Record<string, string>> = {
  "nonce-used-again-after-a-rollback": "a unit test of sealing that undoes a batch and builds another in its place",
  "late-result-of-an-older-generation-taken":
    "a unit test of the lane in which a result comes after a loss of leadership",
  "epoch-key-used-before-its-commit": "epoch-keys.test.ts to pass without a bug",
  "old-epoch-keys-are-kept": "epoch-keys.test.ts to pass without a bug",
  "own-snapshot-not-compared-with-the-evidence": "a test in which a node's state differs from the network's",
  "stored-snapshot-taken-without-evidence": "a test that restarts a node from a snapshot without evidence",
};

function bug(
  name: string,
  file: string,
  change: { readonly find: string; readonly replace: string },
  ...detectors: readonly Detector[]
): SeededBug {
  const waitsFor = WAITING[name];
  return { name, patches: [{ file: `src/${file}.ts`, ...change }], detectors, ...(waitsFor && { waitsFor }) };
}

/** Every bug outside of the consensus core. */
export const LEDGER_BUGS: readonly SeededBug[] = [
  bug(
    "nonce-used-again-after-a-rollback",
    "enclave/manager/sealing",
    { find: "    this.#nonceCounter++;", replace: "    this.#nonceCounter = this.#tail.lastIndex + 1;" },
    SIMULATION,
  ),
  bug(
    "nonce-counter-stands-still",
    "enclave/manager/sealing",
    { find: "    this.#nonceCounter++;", replace: "    this.#nonceCounter = 1;" },
    tests("src/enclave/manager/epoch-keys"),
    SIMULATION,
  ),
  bug(
    "generation-not-grown-on-rollback",
    "enclave/manager/lane",
    {
      find: "this.#headVersion--;\n    this.#generation++;",
      replace: "this.#headVersion--;",
    },
    tests("src/enclave/manager/lane"),
    SIMULATION,
  ),
  bug(
    "generation-not-grown-on-loss-of-leadership",
    "enclave/manager/lane",
    {
      find: "this.#undurableIndex = 0;\n    this.#generation++;",
      replace: "this.#undurableIndex = 0;",
    },
    tests("src/enclave/manager/lane"),
    SIMULATION,
  ),
  bug(
    "late-result-of-an-older-generation-taken",
    "enclave/manager/lane",
    {
      find: "if (message.generation !== this.#generation || this.#executing === undefined) return;",
      replace: "if (this.#executing === undefined) return;",
    },
    tests("src/enclave/manager/lane"),
    SIMULATION,
  ),
  bug(
    "merkle-root-not-compared",
    "core/ledger/tail",
    { find: "if (!bytesEqual(root, batch.root)) {", replace: "if (batch.root.length === 0) {" },
    tests("src/core/ledger/tail"),
    tests("src/core/ledger/batch"),
  ),
  bug(
    "signature-of-a-batch-not-verified",
    "core/ledger/batch",
    {
      find: "if (!crypto.verify(publicKey, tail.rootPreimage(), batch.signature)) {",
      replace: "if (batch.signature.length === 0) {",
    },
    tests("src/core/ledger/batch"),
  ),
  bug(
    "previous-digest-not-compared",
    "core/ledger/tail",
    {
      find: 'if (!bytesEqual(header.previousDigest, this.lastDigest)) throw refuse("previous digest does not fit");',
      replace: "",
    },
    tests("src/core/ledger/tail"),
    tests("src/core/ledger/batch"),
  ),
  bug(
    "epoch-key-used-before-its-commit",
    "enclave/manager/epoch-keys",
    {
      find: "const newest = this.#parts.committed()?.epochs.length ?? 0;",
      replace: "const newest = (this.#parts.committed()?.epochs.length ?? 0) + 1;",
    },
    tests("src/enclave/manager/epoch-keys"),
  ),
  bug(
    "old-epoch-keys-are-kept",
    "enclave/manager/epoch-keys",
    { find: "this.#held.get(epoch)?.key.fill(0);\n    this.#held.delete(epoch);", replace: "" },
    tests("src/enclave/manager/epoch-keys"),
  ),
  bug(
    "own-snapshot-not-compared-with-the-evidence",
    "enclave/manager/snapshots",
    { find: "if (!bytesEqual(evidence.digest, own.digest)) {", replace: "if (evidence.digest.length === 0) {" },
    SIMULATION,
  ),
  bug(
    "stored-snapshot-taken-without-evidence",
    "enclave/manager/stored-snapshot",
    { find: "return bytesEqual(transaction.digest, digest);", replace: "return true;" },
    tests("test/security/tampering"),
    SIMULATION,
  ),
  bug(
    "torn-tail-not-cut",
    "host/ledger-files",
    { find: "await cutTornTail(folder, torn);", replace: "" },
    tests("src/host/ledger-files"),
    tests("src/host/ledger-crash"),
  ),
  bug(
    "hard-state-written-after-the-entries",
    "host/ledger-disk",
    {
      find: "if (hardState !== undefined) await writeHardState(this.#parts.directory, hardState, this.#files);\n    group.hardState = undefined;",
      replace:
        "if (hardState !== undefined) {\n      await this.#append(group.entries);\n      await writeHardState(this.#parts.directory, hardState, this.#files);\n    }\n    group.hardState = undefined;",
    },
    tests("src/host/ledger-crash"),
    tests("src/host/ledger-files"),
  ),
  bug(
    "acknowledged-before-fdatasync",
    "host/ledger-disk",
    { find: "      await this.#files.syncData(descriptor);\n", replace: "" },
    tests("src/host/ledger-crash"),
    tests("src/host/ledger-files"),
  ),
];
