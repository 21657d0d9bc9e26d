/** The first frame to a worker process: which adapter it runs. */
import { ByteReader, ByteWriter, type Bytes } from "../core/codec/bytes.ts";
import { readText, writeText } from "../enclave/worker/wire-parts.ts";
import { readOptions } from "../enclave/worker/wire-to-worker.ts";
import type { AdapterWorkerData } from "./adapter-worker.ts";

const NAME_LENGTH_MAX = 256;

/** Bytes of the first frame. */
export function encodeStart({ adapter, version, options }: AdapterWorkerData): Bytes {
  const writer = writeText(writeText(new ByteWriter(), adapter), version);
  return writeText(writer, JSON.stringify(options)).finish();
}

/** What the first frame says; throws for anything else. */
export function decodeStart(bytes: Bytes): AdapterWorkerData {
  const reader = new ByteReader(bytes);
  const data = {
    adapter: readText(reader, NAME_LENGTH_MAX),
    version: readText(reader, NAME_LENGTH_MAX),
    options: readOptions(reader),
  };
  reader.end();
  return data;
}
