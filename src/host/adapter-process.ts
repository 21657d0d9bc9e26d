/**
 * The process an adapter lives in. It has two pipes, to the node and to the process that prepares its transactions, and nothing
 * else: worker-commands.ts says how it is started. The first frame names the adapter.
 */
import { ByteReader, ByteWriter, type Bytes } from "../core/codec/bytes.ts";
import type { PrepareResult } from "../adapters/adapter.ts";
import { packList, unpackResults } from "../enclave/worker/packing.ts";
import { encodeFromWorker, messagesFromWorker } from "../enclave/worker/wire-from-worker.ts";
import { decodeToWorker } from "../enclave/worker/wire-to-worker.ts";
import { invariant } from "../errors.ts";
import { AdapterWorker } from "./adapter-worker.ts";
import { decodeStart } from "./worker-start.ts";
import { NODE_PIPE, openPipe, PREPARE_PIPE } from "./worker-pipe.ts";

const jobs = new Map<number, { readonly count: number; done(results: readonly PrepareResult[]): void }>();
let nextJob = 0;

const toPrepare = openPipe(PREPARE_PIPE, (payload) => {
  const reader = new ByteReader(payload);
  const id = reader.u32();
  const job = jobs.get(id);
  const results = unpackResults(reader.rest());
  invariant(job?.count === results.length, "results are of a job, and as many as it has transactions");
  jobs.delete(id);
  job.done(results);
});

const worker = new AdapterWorker({
  emit: (message) => {
    for (const part of messagesFromWorker(message)) toNode(encodeFromWorker(part));
  },
  createPreparer: () => ({
    prepare: (transactions, done) => {
      const id = nextJob++ >>> 0;
      jobs.set(id, { count: transactions.length, done });
      toPrepare(new ByteWriter().u32(id).bytes(packList(transactions)).finish());
    },
  }),
});

let started = false;
const toNode = openPipe(NODE_PIPE, (payload: Bytes) => {
  if (started) {
    worker.handle(decodeToWorker(payload));
    return;
  }
  started = true;
  void worker.start(decodeStart(payload));
});
