import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { toHex } from "../../core/codec/bytes.ts";
import { keccak256 } from "./keccak.ts";
import { createRecovery, type RecoverAddress, recoverAddress, recoveryBackend, SECP256K1_ORDER } from "./recover.ts";
import { bigintOfBytes } from "./rlp.ts";

const pure = await createRecovery("pure");
/** Undefined on platforms without a binary. */
const native = await createRecovery("native").catch(() => undefined);

function signed(seed: number): { hash: Uint8Array; r: bigint; s: bigint; bit: number; address: string } {
  const key = keccak256(Uint8Array.of(seed));
  const hash = keccak256(Uint8Array.of(seed, seed));
  const bytes = secp256k1.sign(hash, key, { prehash: false, format: "recovered" });
  const address = toHex(keccak256(secp256k1.getPublicKey(key, false).subarray(1)).subarray(12));
  return {
    hash,
    bit: bytes[0] as number,
    r: bigintOfBytes(bytes.subarray(1, 33)),
    s: bigintOfBytes(bytes.subarray(33)),
    address,
  };
}

function recoversSigners(recover: RecoverAddress): void {
  for (let seed = 0; seed < 8; seed++) {
    const { hash, r, s, bit, address } = signed(seed);
    assert.equal(toHex(recover(hash, r, s, bit) as Uint8Array), address);
    assert.equal(
      toHex(recover(hash, r, SECP256K1_ORDER - s, 1 - bit) as Uint8Array),
      address,
      "the signature with the other s",
    );
    assert.notEqual(toHex(recover(hash, r, s, 1 - bit) as Uint8Array), address);
  }
}

function refusesImpossible(recover: RecoverAddress): void {
  const { hash, r, s } = signed(1);
  for (const bad of [0n, SECP256K1_ORDER, SECP256K1_ORDER + 1n, 2n ** 256n, -1n]) {
    assert.equal(recover(hash, bad, s, 0), undefined);
    assert.equal(recover(hash, r, bad, 0), undefined);
  }
  assert.equal(recover(hash, r, s, 2), undefined);
  assert.equal(recover(hash, 5n, s, 0), undefined, "5 is not the x coordinate of a point");
}

describe("recovery of the signer", () => {
  test("in JavaScript finds the signer and refuses impossible signatures", () => {
    assert.equal(pure.backend, "pure");
    recoversSigners(pure.recoverAddress);
    refusesImpossible(pure.recoverAddress);
  });

  test("by the native library finds the signer and refuses impossible signatures", {
    skip: native === undefined && "no native binary for this platform",
  }, () => {
    assert.equal(native?.backend, "native");
    recoversSigners((native ?? pure).recoverAddress);
    refusesImpossible((native ?? pure).recoverAddress);
  });

  test("the automatic choice says which implementation it took", async () => {
    const expected = native === undefined ? "pure" : "native";
    assert.equal((await createRecovery("auto")).backend, expected);
    assert.equal(recoveryBackend(), expected);
    recoversSigners(recoverAddress);
  });
});
