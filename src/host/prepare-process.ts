/**
 * The process that prepares the transactions of one adapter: `node prepare-process.js <adapter>`. It talks to the adapter's
 * worker only, holds no state, and may load native code, which the worker may not (worker-commands.ts).
 */
import { ByteReader, ByteWriter } from "../core/codec/bytes.ts";
import { packResults, unpackList } from "../enclave/worker/packing.ts";
import type { Preparer } from "../enclave/worker/request-desk.ts";
import { CocoError, invariant } from "../errors.ts";
import { inPlace } from "./adapter-worker.ts";
import { availableAdapter } from "./adapters.ts";
import { PreparePool, prepareThreads } from "./prepare-pool.ts";
import { NODE_PIPE, openPipe } from "./worker-pipe.ts";

const adapter = process.argv[2];
invariant(adapter, "the adapter is named on the command line");

async function createPreparer(name: string): Promise<Preparer> {
  const available = availableAdapter(name);
  const prepare = await available.loadPrepare();
  const notice = await available.prepareNotice();
  // Its standard error is the node's log.
  if (notice !== undefined) process.stderr.write(`${notice}\n`);
  const threads = prepareThreads();
  return threads === 1 ? inPlace(prepare) : new PreparePool(name, prepare, threads, () => process.exit(1));
}

const preparer = createPreparer(adapter);
// Of an adapter that this build cannot run the worker tells; there is nothing to prepare then, and nothing to end it for.
preparer.catch((error: unknown) => {
  if (!(error instanceof CocoError) || error.code !== "ConstitutionInvalid") throw error;
});
const toWorker = openPipe(NODE_PIPE, (payload) => {
  const reader = new ByteReader(payload);
  const id = reader.u32();
  const transactions = unpackList(reader.rest());
  void preparer.then((pool) =>
    pool.prepare(transactions, (results) => toWorker(new ByteWriter().u32(id).bytes(packResults(results)).finish())),
  );
});
