/** A thread of the prepare pool: takes packed transactions, gives packed results, holds no state. */
import { parentPort, workerData } from "node:worker_threads";
import type { Bytes } from "../core/codec/bytes.ts";
import { packResults, unpackList } from "../enclave/worker/packing.ts";
import { invariant } from "../errors.ts";
import { availableAdapter } from "./adapters.ts";

const port = parentPort;
invariant(port, "prepare-thread runs as a worker thread only");
const { adapter } = workerData as { adapter: string };
const prepare = await availableAdapter(adapter).loadPrepare();
port.on("message", (packed: Bytes) => port.postMessage(packResults(prepare(unpackList(packed)))));
