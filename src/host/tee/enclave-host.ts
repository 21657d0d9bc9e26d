/**
 * The enclave host: a program beside the node that runs a VBS enclave (which JavaScript cannot), and answers at a named pipe
 * (`\\.\pipe\name`, Windows) or a Unix socket. One request and one answer per connection, each one line of JSON:
 * `{"op":"attest","data64":…}`, `{"op":"seal","data64":…}`, `{"op":"unseal","data64":…}`; bytes are base64. A host without a pipe
 * answers in a file: the request stands in the file of the same name with `.request` behind it, and both are gone afterwards.
 * The host is untrusted: answers are read strictly, and bounded in size and time.
 */
import { rm } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { setTimeout as pauseFor } from "node:timers/promises";
import { fromBase64, toBase64 } from "../../core/codec/base64.ts";
import { concatBytes, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { type JsonFields, parseJsonFields } from "../../attestation/maa/token.ts";
import { hasErrorCode, readConfigurationFile, SECRET_FILE_MODE, writeFileAtomic } from "../files.ts";

/** Longest answer of an enclave host, in bytes. */
export const MAX_ENCLAVE_HOST_ANSWER_BYTES = 256 * 1024;
/** How long one request to an enclave host may take, in milliseconds; then it is `TeeUnavailable`. */
export const ENCLAVE_HOST_TIMEOUT_MS = 30_000;
/** Longest secret that is sealed by an enclave host, and longest sealed one, in bytes. */
export const MAX_ENCLAVE_SEALED_BYTES = 64 * 1024;

/** How often an enclave host's file is looked for while it has not answered, in milliseconds. */
export const ENCLAVE_HOST_FILE_POLL_MS = 100;

const LINE_END = 0x0a;

/** What an enclave host does. */
export type EnclaveOperation = "attest" | "seal" | "unseal";

/** Asks an enclave host, and gives its answer: a JSON object. */
export type AskEnclaveHost = (operation: EnclaveOperation, data: Bytes) => Promise<JsonFields>;

/** An error that says why the enclave host is of no use. */
export function enclaveHostUnavailable(message: string, cause?: unknown): CocoError {
  return new CocoError("TeeUnavailable", `enclave host: ${message}`, {}, { cause });
}

/** Asks at a named pipe or Unix socket. Rejects with `TeeUnavailable`. */
export function askAt(path: string, timeoutMs = ENCLAVE_HOST_TIMEOUT_MS): AskEnclaveHost {
  return async (operation, data) => {
    const request = `${JSON.stringify({ op: operation, data64: toBase64(data) })}\n`;
    const line = await exchange(createConnection({ path }), request, timeoutMs);
    return readAnswer(line);
  };
}

/**
 * Asks by a file, one request at a time: an answer of before is removed first, so that what is there then is for this request. The host
 * puts its file in place whole, by renaming it. Rejects with `TeeUnavailable`.
 */
export function askInFile(file: string, timeoutMs = ENCLAVE_HOST_TIMEOUT_MS): AskEnclaveHost {
  const request = `${file}.request`;
  return async (operation, data) => {
    try {
      await rm(file, { force: true });
      await writeFileAtomic(
        request,
        `${JSON.stringify({ op: operation, data64: toBase64(data) })}\n`,
        SECRET_FILE_MODE,
      );
      const answer = await waitFor(file, timeoutMs);
      // The request goes first: a host that found it without an answer would answer once more.
      await rm(request, { force: true });
      await rm(file, { force: true });
      return readAnswer(answer);
    } catch (error) {
      if (error instanceof CocoError && error.code === "TeeUnavailable") throw error;
      throw enclaveHostUnavailable(`${file}: request and answer cannot be written and read there`, error);
    } finally {
      await rm(request, { force: true }).catch(() => undefined);
    }
  };
}

async function waitFor(file: string, timeoutMs: number): Promise<Bytes> {
  for (let waitedMs = 0; waitedMs < timeoutMs; waitedMs += ENCLAVE_HOST_FILE_POLL_MS) {
    try {
      return await readConfigurationFile(file, MAX_ENCLAVE_HOST_ANSWER_BYTES);
    } catch (error) {
      if (!(error instanceof CocoError) || !hasErrorCode(error.cause, "ENOENT")) throw error;
    }
    await pauseFor(ENCLAVE_HOST_FILE_POLL_MS);
  }
  throw enclaveHostUnavailable(`no answer in ${file} in ${timeoutMs} ms`);
}

/** Sends a request and gives the line that answers it; the connection ends with it. */
function exchange(socket: Socket, request: string, timeoutMs: number): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    const pieces: Bytes[] = [];
    let length = 0;
    const end = (finish: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      finish();
    };
    const fail = (message: string, cause?: unknown): void => end(() => reject(enclaveHostUnavailable(message, cause)));
    const timer = setTimeout(() => fail(`no answer in ${timeoutMs} ms`), timeoutMs);
    socket.on("error", (error) => fail("cannot be reached", error));
    socket.on("end", () => fail("ended the connection before its answer"));
    socket.on("data", (piece: Bytes) => {
      length += piece.length;
      if (length > MAX_ENCLAVE_HOST_ANSWER_BYTES) return fail("the answer is too long");
      pieces.push(piece);
      const at = piece.indexOf(LINE_END);
      if (at < 0) return undefined;
      if (at !== piece.length - 1) return fail("something follows the answer");
      return end(() => resolve(concatBytes(...pieces).subarray(0, length - 1)));
    });
    socket.on("connect", () => socket.write(request));
  });
}

/** Reads an answer; one with the field `error` is a refusal. Throws `TeeUnavailable`. */
export function readAnswer(json: Bytes): JsonFields {
  let answer: JsonFields;
  try {
    answer = parseJsonFields(json, "answer");
  } catch (error) {
    throw enclaveHostUnavailable("its answer is no JSON object", error);
  }
  const refusal = answer.get("error");
  // What it says is not repeated: it is of an untrusted program, and for whoever runs that.
  if (refusal !== undefined) throw enclaveHostUnavailable("it refused the request; its own log says why");
  return answer;
}

/** The bytes of fields of an answer that has these and no others. Throws `TeeUnavailable`. */
export function answeredBytes<T extends string>(answer: JsonFields, names: readonly T[]): Readonly<Record<T, Bytes>> {
  if (answer.size !== names.length) throw enclaveHostUnavailable(`expected an answer of ${names.join(", ")}`);
  const bytes = names.map((name) => [name, bytesOf(answer.get(name), name)] as const);
  return Object.fromEntries(bytes) as Readonly<Record<T, Bytes>>;
}

/** The bytes of one value in base64, at least one. Throws `TeeUnavailable`. */
export function bytesOf(value: unknown, name: string): Bytes {
  try {
    if (typeof value === "string" && value !== "") return fromBase64(value);
  } catch (error) {
    throw enclaveHostUnavailable(`${name} is not base64`, error);
  }
  throw enclaveHostUnavailable(`${name} is missing`);
}
