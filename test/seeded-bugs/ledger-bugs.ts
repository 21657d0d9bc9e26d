/** Bugs outside of the consensus core: sealing, ledger, epochs, snapshots, disk. */
import { type Detector, type SeededBug, sourceBug, tests } from "./bug.ts";

/** Seeds that the simulator plays before it gives up. */
const SEEDS = 20;

const SIMULATION: Detector = { type: "simulation", seeds: SEEDS };

/** Every bug outside of the consensus core. */
export const LEDGER_BUGS: readonly SeededBug[] = [
  sourceBug(
    "node-keys-in-a-file-where-the-enclave-gives-no-key",
    "host/tee/node-tee",
    {
      find: "  if (sealsByMachineKey(settings))\n",
      replace: "  if (sealsByMachineKey(settings) || !sealsItself(provider))\n",
    },
    tests("src/host/tee/node-sealing"),
  ),
  sourceBug(
    "node-keys-sealed-under-one-salt",
    "host/sealed-secret",
    { find: "const salt = entropy.bytes(SALT_BYTES);", replace: "const salt = new Uint8Array(SALT_BYTES);" },
    tests("src/host/sealed-secret"),
  ),
  sourceBug(
    "nonce-used-again-after-a-rollback",
    "enclave/manager/sealing",
    { find: "    this.#nonceCounter++;", replace: "    this.#nonceCounter = this.#tail.lastIndex + 1;" },
    tests("src/enclave/manager/sealing"),
    SIMULATION,
  ),
  sourceBug(
    "nonce-counter-stands-still",
    "enclave/manager/sealing",
    { find: "    this.#nonceCounter++;", replace: "    this.#nonceCounter = 1;" },
    tests("src/enclave/manager/sealing"),
    SIMULATION,
  ),
  sourceBug(
    "generation-not-grown-on-rollback",
    "enclave/manager/lane",
    {
      find: "    }\n    this.#generation++;\n    this.executor.send(",
      replace: "    }\n    this.executor.send(",
    },
    tests("src/enclave/manager/lane"),
    SIMULATION,
  ),
  sourceBug(
    "generation-not-grown-on-loss-of-leadership",
    "enclave/manager/lane",
    {
      find: "this.#undurableIndex = 0;\n    this.#generation++;",
      replace: "this.#undurableIndex = 0;",
    },
    tests("src/enclave/manager/lane"),
    SIMULATION,
  ),
  sourceBug(
    "late-result-of-an-older-generation-taken",
    "enclave/manager/lane",
    {
      find: "if (message.generation !== this.#generation || this.#executing === undefined) return;",
      replace: "if (this.#executing === undefined) return;",
    },
    tests("src/enclave/manager/lane"),
    SIMULATION,
  ),
  sourceBug(
    "merkle-root-not-compared",
    "core/ledger/tail",
    { find: "if (!bytesEqual(root, batch.root)) {", replace: "if (batch.root.length === 0) {" },
    tests("src/core/ledger/tail"),
    tests("src/core/ledger/batch"),
  ),
  sourceBug(
    "signature-of-a-batch-not-verified",
    "core/ledger/batch",
    {
      find: "if (!crypto.verify(publicKey, tail.rootPreimage(), batch.signature)) {",
      replace: "if (batch.signature.length === 0) {",
    },
    tests("src/core/ledger/batch"),
  ),
  sourceBug(
    "previous-digest-not-compared",
    "core/ledger/tail",
    {
      find: 'if (!bytesEqual(header.previousDigest, this.lastDigest)) throw refuse("previous digest does not fit");',
      replace: "",
    },
    tests("src/core/ledger/tail"),
    tests("src/core/ledger/batch"),
  ),
  sourceBug(
    "epoch-key-used-before-its-commit",
    "enclave/manager/epoch-keys",
    {
      find: "const newest = this.#parts.committed()?.epochs.length ?? 0;",
      replace: "const newest = (this.#parts.committed()?.epochs.length ?? 0) + 1;",
    },
    tests("src/enclave/manager/epoch-keys"),
    tests("src/enclave/manager/sealing"),
  ),
  sourceBug(
    "old-epoch-keys-are-kept",
    "enclave/manager/epoch-keys",
    { find: "if (ended !== undefined) ended.until = this.#parts.clock.now() + this.#cacheMs();", replace: "" },
    tests("src/enclave/manager/epoch-keys"),
  ),
  sourceBug(
    "epoch-key-not-overwritten",
    "enclave/manager/epoch-keys",
    { find: "this.#held.get(epoch)?.key.fill(0);", replace: "" },
    tests("src/enclave/manager/epoch-keys"),
  ),
  sourceBug(
    "ledger-of-the-own-disk-not-verified",
    "enclave/manager/node-core",
    {
      find: "    this.#log.append(batch);",
      replace: "    this.tail.append(batch);\n    this.administration.append(batch);",
    },
    tests("src/enclave/manager/node-core"),
  ),
  sourceBug(
    "conflicting-suffix-not-tried",
    "enclave/manager/replicator",
    {
      find: "const continues = first > log.tail.lastIndex;",
      replace: "const continues = first > log.tail.lastIndex;\n    if (!continues) return;",
    },
    tests("test/security/compromised-node"),
  ),
  sourceBug(
    "refused-batch-stays-in-the-tail",
    "enclave/manager/verified-log",
    { find: "      this.tail.truncate(batch.header.index);\n", replace: "" },
    tests("src/enclave/manager/verified-log"),
  ),
  sourceBug(
    "batch-time-without-a-bound",
    "core/ledger/batch-format",
    { find: "if (header.timeMs > MAX_BATCH_TIME_MS)", replace: "if (header.timeMs < 0)" },
    tests("test/security/number-bombs"),
  ),
  sourceBug(
    "batch-far-ahead-of-the-clock-taken-at-once",
    "enclave/manager/lease-watch",
    { find: "if (aheadMs <= BATCH_AHEAD_MAX_MS) return 0;", replace: "if (aheadMs <= Number.MAX_VALUE) return 0;" },
    tests("src/enclave/manager/lease-watch"),
  ),
  sourceBug(
    "arrived-batch-not-opened-before-it-is-taken",
    "enclave/manager/arrived-batch",
    { find: "      this.#checkApplication(batch, state);\n", replace: "" },
    tests("src/enclave/manager/arrived-batch"),
    tests("test/security/compromised-node"),
  ),
  sourceBug(
    "epoch-key-taken-from-what-is-not-committed",
    "enclave/manager/node-core",
    {
      find: "committed: () => this.administration.committed,\n      open:",
      replace: "committed: () => this.administration.appended,\n      open:",
    },
    tests("src/enclave/manager/node-core"),
  ),
  sourceBug(
    "own-snapshot-not-compared-with-the-evidence",
    "enclave/manager/snapshots",
    { find: "if (!bytesEqual(evidence.digest, own.digest)) {", replace: "if (evidence.digest.length === 0) {" },
    tests("src/enclave/manager/snapshots"),
    SIMULATION,
  ),
  sourceBug(
    "evidence-counts-before-it-is-durable",
    "enclave/manager/snapshots",
    { find: " || (this.#evidence?.index ?? 0) > this.#durableIndex) return;", replace: ") return;" },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "nonces-of-a-given-up-snapshot-used-again",
    "enclave/manager/snapshots",
    {
      find: "    this.#nonceCounter = writer.nextCounter;",
      replace: "    if (isFinished) this.#nonceCounter = writer.nextCounter;",
    },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "snapshot-of-a-state-that-waits-for-keys",
    "enclave/manager/snapshots",
    { find: "if (!applied || this.#making?.mark", replace: "if (this.#making?.mark" },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "batch-applied-before-those-that-wait-for-keys",
    "enclave/manager/unopened-batches",
    {
      find: "    return this.waiting;\n  }\n\n  /** Keys",
      replace: "    return !this.#parts.canOpen(header.epoch);\n  }\n\n  /** Keys",
    },
    tests("src/enclave/manager/unopened-batches"),
  ),
  sourceBug(
    "received-snapshot-not-the-announced-one",
    "enclave/manager/snapshot-receiver",
    { find: "requireMark(found.mark, part.snapshot);", replace: "" },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "received-snapshot-told-before-it-is-durable",
    "enclave/manager/snapshot-receiver",
    {
      find: "receiving.file.finish(() => {\n      if (this.#receiving === receiving) stored(mark);\n    });",
      replace: "receiving.file.finish(() => undefined);\n    stored(mark);",
    },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "received-snapshot-with-other-epochs",
    "enclave/manager/snapshot-continuation",
    { find: "if (!sameEpochs || later < version", replace: "if (later < version" },
    tests("src/enclave/manager/leader-snapshot"),
  ),
  sourceBug(
    "received-snapshot-with-another-constitution",
    "enclave/manager/snapshot-continuation",
    { find: "later < version || !sameConstitution ||", replace: "later < version ||" },
    tests("src/enclave/manager/leader-snapshot"),
  ),
  sourceBug(
    "received-snapshot-with-an-older-constitution",
    "enclave/manager/snapshot-continuation",
    {
      find: "if (!sameEpochs || later < version || !sameConstitution",
      replace: "if (!sameEpochs || (later === version && !sameConstitution)",
    },
    tests("src/enclave/manager/leader-snapshot"),
  ),
  sourceBug(
    "stored-snapshot-of-another-keeper-taken",
    "enclave/manager/stored-snapshot",
    { find: "if (!opened.isKeptBy(keeper)) throw", replace: "if (opened.complete === undefined) throw" },
    tests("src/enclave/manager/stored-snapshot"),
  ),
  sourceBug(
    "received-snapshot-that-undoes-what-is-committed",
    "core/ledger/tail",
    { find: "sameViews && this.#tree.sharesBlocks(other.#tree, committedSeqno)", replace: "sameViews" },
    tests("src/core/ledger/tail-compaction"),
  ),
  sourceBug(
    "stored-snapshot-taken-without-evidence",
    "enclave/manager/stored-snapshot",
    { find: "|| hasEvidence(content, snapshot);", replace: "|| snapshot.seqno > 0;" },
    tests("src/enclave/manager/stored-snapshot"),
    SIMULATION,
  ),
  sourceBug(
    "stored-snapshot-not-compared-with-its-evidence",
    "enclave/manager/stored-snapshot",
    { find: "return bytesEqual(transaction.digest, digest);", replace: "return true;" },
    tests("src/enclave/manager/stored-snapshot"),
    SIMULATION,
  ),
  sourceBug(
    "stored-snapshot-leaves-a-gap",
    "enclave/manager/stored-snapshot",
    { find: "if (stored.index + 1 < content.firstIndex) continue;", replace: "" },
    tests("src/enclave/manager/stored-snapshot"),
  ),
  sourceBug(
    "torn-tail-not-cut",
    "host/ledger-files",
    { find: "await cutTornTail(folder, torn);", replace: "" },
    tests("src/host/ledger-files"),
    tests("src/host/ledger-crash"),
  ),
  sourceBug(
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
  sourceBug(
    "acknowledged-before-fdatasync",
    "host/ledger-disk",
    { find: "      await this.#files.syncData(descriptor);\n", replace: "" },
    tests("src/host/ledger-crash"),
    tests("src/host/ledger-files"),
  ),
  sourceBug(
    "damaged-snapshot-sent-for-ever",
    "enclave/manager/snapshots",
    { find: "this.#doubts.begins(request.peer, newest.index);", replace: "return this.#sent.load(request, done);" },
    tests("test/simulation/snapshot-damage"),
  ),
  sourceBug(
    "silence-taken-for-a-damaged-snapshot",
    "enclave/manager/snapshots",
    { find: "request.offset === 0 && request.heard)", replace: "request.offset === 0)" },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "due-snapshot-left-out-for-a-doubted-one",
    "enclave/manager/snapshots",
    {
      find: "if (this.#making?.isDoubted === true) this",
      replace: "if (every < 0 && this.#making !== undefined) this",
    },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "part-of-a-given-up-snapshot-taken-for-the-next",
    "enclave/manager/snapshots",
    { find: "making === undefined || asked !== making)", replace: "making === undefined || asked === undefined)" },
    tests("src/enclave/manager/snapshots"),
  ),
  sourceBug(
    "doubted-snapshots-as-often-as-a-peer-likes",
    "enclave/manager/snapshot-doubts",
    { find: " || now - atMs < waitMs) return;", replace: " || waitMs < 0) return;" },
    tests("src/enclave/manager/snapshot-doubts"),
    tests("test/simulation/snapshot-damage"),
  ),
  sourceBug(
    "doubted-snapshots-all-the-time",
    "enclave/manager/snapshot-doubts",
    { find: "DOUBTED_SNAPSHOT_REST_FACTOR * this.#tookMs,", replace: "this.#tookMs," },
    tests("src/enclave/manager/snapshot-doubts"),
  ),
  sourceBug(
    "sparse-records-judged-by-their-zeros",
    "host/ledger-scan",
    { find: "(!header.sparse && hasZeroSector(", replace: "(hasZeroSector(" },
    tests("src/host/ledger-last-record"),
  ),
  sourceBug(
    "newest-chunk-named-before-it-is-there",
    "host/ledger-disk",
    {
      find: "      const chunk = await this.#chunkWithRoom(first.index);\n      await this.#nameNewest(chunk);\n",
      replace:
        "      await this.#nameNewest(new Chunk(this.#parts.directory, first.index));\n      const chunk = await this.#chunkWithRoom(first.index);\n",
    },
    tests("src/host/ledger-crash"),
    tests("src/host/ledger-damage"),
  ),
  sourceBug(
    "newest-chunk-still-named-when-it-goes",
    "host/ledger-disk",
    {
      find: "    await this.#nameNewest(this.#chunks.findLast(({ firstIndex }) => firstIndex < fromIndex));\n",
      replace: "",
    },
    tests("src/host/ledger-crash"),
  ),
];
