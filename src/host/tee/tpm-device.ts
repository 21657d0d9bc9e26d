/**
 * A TPM through a device file of Linux such as `/dev/tpmrm0`, whose driver keeps its users apart: one write is a command, one
 * read its response. Needs no native code; the node needs the right to open the file (group `tss`).
 */
import { open } from "node:fs/promises";
import type { Bytes } from "../../core/codec/bytes.ts";
import { hasErrorCode } from "../files.ts";
import { MAX_TPM_MESSAGE_BYTES, tpmUnavailable } from "./tpm-commands.ts";

/** The device whose driver keeps users apart. */
export const TPM_DEVICE = "/dev/tpmrm0";
/** How long a TPM may take for one command, in milliseconds; then it is `TeeUnavailable`. */
export const TPM_COMMAND_TIMEOUT_MS = 60_000;

/** An open device file, as far as it is used. */
export interface TpmFile {
  /** Writes everything by one call. */
  write(command: Bytes): Promise<{ readonly bytesWritten: number }>;
  /** Reads what one call gives. */
  read(buffer: Uint8Array, offset: number, length: number): Promise<{ readonly bytesRead: number }>;
  close(): Promise<void>;
}

/** Opens a device file. */
export type OpenTpm = (path: string) => Promise<TpmFile>;

/** Sends a command and gives its response. Rejects with `TeeUnavailable`. */
export type TransactTpm = (command: Bytes) => Promise<Bytes>;

const openFile: OpenTpm = async (path) => {
  const file = await open(path, "r+");
  return {
    write: (command) => file.write(command),
    read: (buffer, offset, length) => file.read(buffer, offset, length),
    close: () => file.close(),
  };
};

/** How a TPM is reached. */
export interface TpmOptions {
  /** {@link TPM_DEVICE} unless given. */
  readonly path?: string;
  readonly open?: OpenTpm;
  readonly timeoutMs?: number;
}

/** Opens a TPM for what `use` does, one command at a time, and closes it. Rejects with `TeeUnavailable`. */
export async function withTpm<T>(options: TpmOptions, use: (transact: TransactTpm) => Promise<T>): Promise<T> {
  const { path = TPM_DEVICE, timeoutMs = TPM_COMMAND_TIMEOUT_MS } = options;
  let file: TpmFile;
  try {
    file = await (options.open ?? openFile)(path);
  } catch (error) {
    throw tpmUnavailable(`${path} ${hasErrorCode(error, "ENOENT") ? "is not there" : "cannot be opened"}`, error);
  }
  try {
    return await use((command) => inTime(transact(file, command), timeoutMs));
  } finally {
    // A driver that does not answer does not let go of the file either: nothing waits for that.
    void file.close().catch(() => undefined);
  }
}

async function transact(file: TpmFile, command: Bytes): Promise<Bytes> {
  const buffer = new Uint8Array(MAX_TPM_MESSAGE_BYTES);
  let bytesRead: number;
  try {
    const { bytesWritten } = await file.write(command);
    if (bytesWritten !== command.length) throw tpmUnavailable("took a part of a command");
    ({ bytesRead } = await file.read(buffer, 0, buffer.length));
  } catch (error) {
    throw tpmUnavailable("the device failed", error);
  }
  return buffer.slice(0, bytesRead);
}

function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(tpmUnavailable(`no response in ${timeoutMs} ms`)), timeoutMs);
    void work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
