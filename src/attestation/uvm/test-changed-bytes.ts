/** What every endorsement has to stand, whatever its form. */
import assert from "node:assert/strict";
import type { Bytes } from "../../core/codec/bytes.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import { verifyUvm } from "./verify.ts";

const crypto = createAttestationCrypto();

function reasonsAgainst(message: Bytes): readonly string[] {
  try {
    return reasonsOf(verifyUvm(message, crypto).checks);
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code === "EvidenceRejected", String(error));
    return ["Malformed"];
  }
}

/** Asserts that a message is refused when one of its bytes is changed, whichever, or when it is cut off, wherever. */
export function assertEveryByteCounts(message: Bytes): void {
  for (let at = 0; at < message.length; at++) {
    const flipped = message.map((byte, each) => (each === at ? byte ^ (1 << (at % 8)) : byte));
    assert.notDeepEqual(reasonsAgainst(flipped), [], `${at}`);
    assert.deepEqual(reasonsAgainst(message.subarray(0, at)), ["Malformed"]);
  }
}
