import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bls12_381 } from "@noble/curves/bls12-381.js";
import { verifyKzgProof } from "./kzg.ts";

const INFINITY = `0xc0${"00".repeat(47)}`;
const word = (value: bigint): string => `0x${value.toString(16).padStart(64, "0")}`;
/** Commitment to the polynomial that is 5 everywhere. */
const FIVE = `0x${bls12_381.G1.Point.BASE.multiply(5n).toHex(true)}`;
const ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;

describe("KZG point evaluation", () => {
  test("a constant polynomial has its value everywhere, proved by the point at infinity", () => {
    assert.equal(verifyKzgProof(FIVE, word(7n), word(5n), INFINITY), true);
    assert.equal(verifyKzgProof(FIVE, word(0n), word(5n), INFINITY), true);
    assert.equal(verifyKzgProof(INFINITY, word(3n), word(0n), INFINITY), true);
  });

  test("another value, proof or malformed input is not accepted", () => {
    assert.equal(verifyKzgProof(FIVE, word(7n), word(6n), INFINITY), false);
    assert.equal(verifyKzgProof(FIVE, word(7n), word(5n), FIVE), false);
    assert.equal(verifyKzgProof(FIVE, word(7n), word(5n + ORDER), INFINITY), false);
    assert.equal(verifyKzgProof(FIVE, word(ORDER), word(5n), INFINITY), false);
    assert.equal(verifyKzgProof(`0x${"11".repeat(48)}`, word(7n), word(5n), INFINITY), false);
  });
});
