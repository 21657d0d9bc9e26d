/** Plays the virtual TPM of a confidential Azure machine behind its device: it takes commands strictly, and answers as TPMs do. */
import assert from "node:assert/strict";
import { sign } from "node:crypto";
import { makeQuoteMessage, PCRS } from "../../src/attestation/tpm/test-azure-vtpm.ts";
import { ByteReader, concatBytes, toHex, type Bytes } from "../../src/core/codec/bytes.ts";
import { AZURE_ATTESTATION_KEY, HCL_REPORT_INDEX } from "../../src/host/tee/azure-vtpm.ts";
import type { TpmFile } from "../../src/host/tee/tpm-device.ts";
import type { TestKey } from "./issue-certificates.ts";

const u16 = (value: number): Bytes => Uint8Array.of(value >> 8, value);
const u32 = (value: number): Bytes => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
const sized = (bytes: Bytes): Bytes => concatBytes(u16(bytes.length), bytes);

/** What a TPM answers. */
export function response(tag: number, body: Bytes, code = 0): Bytes {
  return concatBytes(u16(tag), u32(10 + body.length), u32(code), body);
}

/** With sessions: the parameters have a size, and the authorization's answer follows. */
function withSession(body: Bytes): Bytes {
  return response(0x8002, concatBytes(u32(body.length), body, u16(0), Uint8Array.of(1), u16(0)));
}

/** Takes the authorization by an empty password, as the specification writes it. */
function takePassword(reader: ByteReader): void {
  assert.equal(toHex(reader.bytes32()), "40000009" + "0000" + "00" + "0000");
}

function takeSelection(reader: ByteReader): readonly number[] {
  assert.deepEqual([reader.u32(), reader.u16(), reader.u8()], [1, 0x000b, 3]);
  const bitmap = reader.bytes(3);
  return Array.from({ length: 24 }, (_, at) => at).filter(
    (at) => ((bitmap[at >> 3] as number) & (1 << (at & 7))) !== 0,
  );
}

/** A TPM with what was asked of it. */
export interface PlayedTpm {
  readonly commands: number[];
  readonly closed: boolean[];
  readonly open: () => Promise<TpmFile>;
}

/** Alters what a TPM answers to its command of a code, which is the count-th. */
export type PlayedAnswer = (answer: Bytes, code: number, count: number) => Bytes;

/** What a TPM holds. */
export interface PlayedMachineTpm {
  readonly hclReport: Bytes;
  /** With which it attests. */
  readonly key: TestKey;
  /** What its registers hold; {@link PCRS} unless given. */
  readonly pcrs?: readonly Bytes[];
}

/** Plays a TPM that holds a report and a key; `change` may alter what it answers. */
export function playTpm(machine: PlayedMachineTpm, change: PlayedAnswer = (answer) => answer): PlayedTpm {
  const commands: number[] = [];
  const closed: boolean[] = [];
  const answers = answersOf(machine);
  let answer: Bytes | undefined;
  const handle = (command: Bytes): Bytes => {
    const reader = new ByteReader(command);
    const tag = reader.u16();
    assert.equal(reader.u32(), command.length);
    const code = reader.u32();
    commands.push(code);
    const answered = answers[code]?.(reader, tag);
    assert.ok(answered !== undefined, `command 0x${code.toString(16)}`);
    reader.end();
    return change(answered, code, commands.length);
  };
  const file: TpmFile = {
    write: async (command) => {
      assert.equal(answer, undefined, "a command before the response to the last one was read");
      answer = handle(command);
      return { bytesWritten: command.length };
    },
    read: async (buffer, offset, length) => {
      const given = answer ?? new Uint8Array(0);
      answer = undefined;
      assert.ok(given.length <= length);
      buffer.set(given, offset);
      return { bytesRead: given.length };
    },
    close: async () => void closed.push(true),
  };
  return { commands, closed, open: async () => file };
}

type Answers = Readonly<Record<number, (reader: ByteReader, tag: number) => Bytes>>;

function answersOf({ hclReport, key, pcrs = PCRS }: PlayedMachineTpm): Answers {
  return {
    361: (reader, tag) => {
      assert.deepEqual([tag, reader.u32()], [0x8001, HCL_REPORT_INDEX]);
      const area = concatBytes(
        u32(HCL_REPORT_INDEX),
        u16(0x000b),
        u32(0x42072001),
        sized(new Uint8Array(0)),
        u16(hclReport.length),
      );
      return response(0x8001, concatBytes(sized(area), sized(new Uint8Array(34))));
    },
    334: (reader, tag) => {
      assert.deepEqual([tag, reader.u32(), reader.u32()], [0x8002, 0x40000001, HCL_REPORT_INDEX]);
      takePassword(reader);
      const [length, offset] = [reader.u16(), reader.u16()];
      assert.ok(length <= 1024 && offset + length <= hclReport.length);
      return withSession(sized(hclReport.subarray(offset, offset + length)));
    },
    382: (reader, tag) => {
      assert.equal(tag, 0x8001);
      const selected = takeSelection(reader);
      assert.ok(selected.length <= 8);
      const bitmap = new Uint8Array(3);
      for (const at of selected) bitmap[at >> 3] = (bitmap[at >> 3] as number) | (1 << (at & 7));
      const values = selected.map((at) => sized(pcrs[at] as Bytes));
      const selection = concatBytes(u32(1), u16(0x000b), Uint8Array.of(3), bitmap);
      return response(0x8001, concatBytes(u32(21), selection, u32(values.length), ...values));
    },
    344: (reader, tag) => {
      assert.deepEqual([tag, reader.u32()], [0x8002, AZURE_ATTESTATION_KEY]);
      takePassword(reader);
      const nonce = reader.bytes16();
      assert.deepEqual([reader.u16(), reader.u16()], [0x0014, 0x000b]);
      assert.equal(takeSelection(reader).length, 24);
      const message = makeQuoteMessage({ nonce, pcrs });
      const signature = new Uint8Array(sign("sha256", message, key.privateKey));
      return withSession(concatBytes(sized(message), u16(0x0014), u16(0x000b), sized(signature)));
    },
  };
}
