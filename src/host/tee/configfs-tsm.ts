/**
 * Reports through configfs-tsm, the Linux kernel's interface to the TEE of a confidential VM (from 6.7 on; described in
 * the kernel's Documentation/ABI/testing/configfs-tsm-report). It serves AMD SEV-SNP and Intel TDX.
 *
 * A request is a folder of its own: the kernel makes its files when the folder is made, one write sets the data to bind,
 * and reading has the report made. The kernel counts writes in `generation`; another count than ours means that somebody
 * else wrote, or that a write was lost (its error may come too late to be seen): then nothing that was read counts.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { hasErrorCode } from "../files.ts";
import { TSM_FILES, type TsmFiles } from "./tsm-files.ts";

/** Where the kernel has it, once configfs is mounted. */
export const TSM_REPORT_FOLDER = "/sys/kernel/config/tsm/report";
/** Largest report or table of certificates that is read, in bytes; larger ones are `TeeUnavailable`. */
export const MAX_TSM_BLOB_BYTES = 64 * 1024;
/** How often a report is asked for before `TeeUnavailable`; the time between attempts doubles. */
export const MAX_TSM_ATTEMPTS = 8;

const INBLOB_BYTES = 64;
const FIRST_PAUSE_MS = 20;
const MAX_TEXT_BYTES = 64;
/** The device is in use, or what was being made is not what was asked for last. */
const TRANSIENT = ["EBUSY", "EAGAIN", "EWOULDBLOCK", "EINTR", "ETIMEDOUT"];

/** What one request gave. */
export interface TsmReport {
  /** The kernel's driver: `sev_guest` or `tdx_guest`. */
  readonly provider: string;
  /** `outblob`: the report or quote. */
  readonly report: Bytes;
  /** `auxblob`: certificates the host put beside it; empty when there are none. */
  readonly auxiliary: Bytes;
}

/** How to ask. */
export interface TsmOptions {
  /** {@link TSM_REPORT_FOLDER} unless given. */
  readonly folder?: string;
  /** The privilege level the report is to name (VMPL), where the kernel's floor allows it. */
  readonly privilegeLevel?: 0 | 1 | 2 | 3;
  readonly files?: TsmFiles;
  readonly pause?: (durationMs: number) => Promise<void>;
}

function unavailable(message: string, cause?: unknown): CocoError {
  return new CocoError("TeeUnavailable", message, {}, { cause });
}

/** The folder is not ours alone, or the machine was busy: the next attempt may succeed. */
class TryAgain {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

function pauseFor(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

/** Asks for a report that binds 64 bytes; throws `TeeUnavailable`. */
export async function readTsmReport(reportData: Bytes, options: TsmOptions = {}): Promise<TsmReport> {
  if (reportData.length !== INBLOB_BYTES) throw unavailable(`report data have ${INBLOB_BYTES} bytes`);
  const { pause = pauseFor } = options;
  let last: unknown;
  for (let attempt = 0; attempt < MAX_TSM_ATTEMPTS; attempt++) {
    if (attempt > 0) await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1));
    const result = await inOwnFolder(reportData, options);
    if (!(result instanceof TryAgain)) return result;
    last = result.cause;
  }
  throw unavailable(`no report in ${MAX_TSM_ATTEMPTS} attempts`, last);
}

async function inOwnFolder(reportData: Bytes, options: TsmOptions): Promise<TsmReport | TryAgain> {
  const { folder = TSM_REPORT_FOLDER, files = TSM_FILES } = options;
  // A name nobody can guess: whoever else may write here can't prepare the folder for us.
  const own = join(folder, `coco-${randomBytes(16).toString("hex")}`);
  try {
    await files.makeFolder(own);
  } catch (error) {
    if (hasErrorCode(error, "EEXIST")) return new TryAgain(error);
    throw unavailable(`${folder}: no folder can be made for a report`, error);
  }
  try {
    return await askIn(own, reportData, { ...options, files });
  } catch (error) {
    if (TRANSIENT.some((code) => hasErrorCode(error, code))) return new TryAgain(error);
    if (error instanceof CocoError && error.code === "TeeUnavailable") throw error;
    const problem = hasErrorCode(error, "EFBIG") ? "the report is too large" : "the report cannot be read";
    throw unavailable(`${own}: ${problem}`, error);
  } finally {
    await removeQuietly(files, own);
  }
}

async function removeQuietly(files: TsmFiles, folder: string): Promise<void> {
  try {
    await files.removeFolder(folder);
  } catch {
    // A folder that stays takes a little kernel memory until the next start, and its name is never used again.
  }
}

async function askIn(
  own: string,
  reportData: Bytes,
  { files, privilegeLevel }: TsmOptions & { readonly files: TsmFiles },
): Promise<TsmReport | TryAgain> {
  const text = async (name: string): Promise<string> =>
    utf8Decode(await files.read(join(own, name), MAX_TEXT_BYTES)).trim();
  let writes = 0;
  if (privilegeLevel !== undefined) {
    const floor = await text("privlevel_floor");
    if (!/^[0-9]$/.test(floor) || privilegeLevel < Number(floor))
      throw unavailable(`${own}: privilege level ${privilegeLevel} is below the floor ${floor}`);
    await files.writeOnce(join(own, "privlevel"), utf8Encode(String(privilegeLevel)));
    writes++;
  }
  await files.writeOnce(join(own, "inblob"), reportData);
  writes++;
  const report = await files.read(join(own, "outblob"), MAX_TSM_BLOB_BYTES);
  const auxiliary = await readAuxiliary(files, join(own, "auxblob"));
  const provider = await text("provider");
  const generation = await text("generation");
  if (generation !== String(writes)) return new TryAgain(`generation ${generation} after ${writes} writes`);
  if (report.length === 0) return new TryAgain("an empty report");
  return { provider, report, auxiliary };
}

/** Not every TEE has it, and a host need not fill it. */
async function readAuxiliary(files: TsmFiles, file: string): Promise<Bytes> {
  try {
    return await files.read(file, MAX_TSM_BLOB_BYTES);
  } catch (error) {
    if (hasErrorCode(error, "ENOENT")) return EMPTY;
    throw error;
  }
}
