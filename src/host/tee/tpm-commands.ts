/**
 * Commands to a TPM 2.0 and their responses (TCG, Part 3: commands), as far as evidence needs them: reading an index, reading
 * registers, and a quote. Big-endian. Responses are read strictly: tag, size, parameters and nothing behind them.
 */
import { ByteReader, ByteWriter, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";

/** Largest command or response, in bytes: what the resource manager of Linux takes. */
export const MAX_TPM_MESSAGE_BYTES = 4096;
/** Most bytes of an index that one command reads: what TPMs are sure to give. */
export const MAX_TPM_READ_BYTES = 1024;
/** Most registers that one command reads: the TPM's limit for a list of digests. */
export const MAX_TPM_REGISTERS_AT_ONCE = 8;

const NO_SESSIONS = 0x8001;
const SESSIONS = 0x8002;
const OWNER = 0x4000_0001;
const PASSWORD_SESSION = 0x4000_0009;
const RSASSA = 0x0014;
const SHA256 = 0x000b;
const DIGEST_BYTES = 32;
const SELECTION_BYTES = 3;
const HEADER_BYTES = 10;
const COMMANDS = { readIndex: 0x14e, quote: 0x158, readPublic: 0x169, readRegisters: 0x17e };

/** An error that says why the TPM is of no use. */
export function tpmUnavailable(message: string, cause?: unknown): CocoError {
  return new CocoError("TeeUnavailable", `TPM: ${message}`, {}, { cause });
}

function command(tag: number, code: number, body: Bytes): Bytes {
  return new ByteWriter()
    .u16(tag)
    .u32(HEADER_BYTES + body.length)
    .u32(code)
    .bytes(body)
    .finish();
}

/** An authorization by an empty password: what owner and attestation key of a virtual TPM ask for. */
function writeAuthorization(writer: ByteWriter): ByteWriter {
  return writer.u32(9).u32(PASSWORD_SESSION).u16(0).u8(0).u16(0);
}

function writeSelection(writer: ByteWriter, registers: readonly number[]): ByteWriter {
  const bitmap = new Uint8Array(SELECTION_BYTES);
  for (const register of registers) bitmap[register >> 3] = (bitmap[register >> 3] as number) | (1 << (register & 7));
  return writer.u32(1).u16(SHA256).u8(SELECTION_BYTES).bytes(bitmap);
}

/** The parameters of a response to a command with this tag. Throws `TeeUnavailable`. */
function parameters<T>(response: Bytes, tag: number, read: (reader: ByteReader) => T): T {
  try {
    const reader = new ByteReader(response);
    const actualTag = reader.u16();
    const size = reader.u32();
    const code = reader.u32();
    if (size !== response.length) throw tpmUnavailable("a response of another size than it says");
    if (code !== 0) throw tpmUnavailable(`the response code is 0x${code.toString(16)}`);
    if (actualTag !== tag) throw tpmUnavailable("a response with another tag than its command");
    if (tag === NO_SESSIONS) return toEnd(reader, read);
    const result = toEnd(new ByteReader(reader.bytes32(MAX_TPM_MESSAGE_BYTES)), read);
    toEnd(reader, readAuthorization);
    return result;
  } catch (error) {
    if (error instanceof CocoError && error.code === "TeeUnavailable") throw error;
    throw tpmUnavailable("a response that cannot be read", error);
  }
}

function toEnd<T>(reader: ByteReader, read: (reader: ByteReader) => T): T {
  const result = read(reader);
  reader.end();
  return result;
}

function readAuthorization(reader: ByteReader): void {
  reader.bytes16();
  reader.u8();
  reader.bytes16();
}

/** Asks for the size of an index (TPM2_NV_ReadPublic). */
export function readPublicCommand(index: number): Bytes {
  return command(NO_SESSIONS, COMMANDS.readPublic, new ByteWriter().u32(index).finish());
}

/** The size of an index. */
export function indexSizeOf(response: Bytes, index: number): number {
  return parameters(response, NO_SESSIONS, (reader) => {
    const size = toEnd(new ByteReader(reader.bytes16()), (area) => {
      if (area.u32() !== index) throw tpmUnavailable("a response about another index");
      area.bytes(6);
      area.bytes16();
      return area.u16();
    });
    reader.bytes16();
    return size;
  });
}

/** Asks for a part of an index (TPM2_NV_Read), with the owner's authorization. */
export function readIndexCommand(index: number, offset: number, length: number): Bytes {
  const writer = writeAuthorization(new ByteWriter().u32(OWNER).u32(index));
  return command(SESSIONS, COMMANDS.readIndex, writer.u16(length).u16(offset).finish());
}

/** The part of an index. */
export function indexPartOf(response: Bytes, length: number): Bytes {
  const part = parameters(response, SESSIONS, (reader) => reader.bytes16());
  if (part.length !== length) throw tpmUnavailable(`${part.length} bytes of an index, ${length} expected`);
  return part;
}

/** Asks for registers of the SHA-256 bank (TPM2_PCR_Read). */
export function readRegistersCommand(registers: readonly number[]): Bytes {
  return command(NO_SESSIONS, COMMANDS.readRegisters, writeSelection(new ByteWriter(), registers).finish());
}

/** The values of the registers that were asked for, all of them. */
export function registersOf(response: Bytes, registers: readonly number[]): readonly Bytes[] {
  return parameters(response, NO_SESSIONS, (reader) => {
    reader.u32();
    const expected = writeSelection(new ByteWriter(), registers).finish();
    const selection = reader.bytes(expected.length);
    const count = reader.u32();
    if (count !== registers.length || selection.some((byte, at) => byte !== expected[at]))
      throw tpmUnavailable("other registers than those asked for");
    return registers.map(() => {
      const value = reader.bytes16();
      if (value.length !== DIGEST_BYTES) throw tpmUnavailable("a register that is no SHA-256");
      return value;
    });
  });
}

/** Asks for a quote of registers (TPM2_Quote) by a key, RSASSA with SHA-256. */
export function quoteCommand(key: number, nonce: Bytes, registers: readonly number[]): Bytes {
  const writer = writeAuthorization(new ByteWriter().u32(key)).bytes16(nonce).u16(RSASSA).u16(SHA256);
  return command(SESSIONS, COMMANDS.quote, writeSelection(writer, registers).finish());
}

/** What was signed as a quote, and the signature. */
export function quoteOf(response: Bytes): { readonly message: Bytes; readonly signature: Bytes } {
  return parameters(response, SESSIONS, (reader) => {
    const message = reader.bytes16();
    if (reader.u16() !== RSASSA || reader.u16() !== SHA256) throw tpmUnavailable("a signature of another algorithm");
    return { message, signature: reader.bytes16() };
  });
}
