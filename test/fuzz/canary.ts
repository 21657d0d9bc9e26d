/** A decoder with a fault that only coverage leads to: the fuzzer must find it, or it finds nothing elsewhere either. */
import type { Bytes } from "../../src/core/codec/bytes.ts";

/** Breaks on inputs that begin with four particular bytes, each looked at only after the one before. */
export function breakOnMagic(input: Bytes): void {
  if (input[0] !== 0xc0) return;
  if (input[1] !== 0x0c) return;
  if (input[2] !== 0x5e) return;
  if (input[3] !== 0xa7) return;
  throw new Error("the canary's fault");
}
