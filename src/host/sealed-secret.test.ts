import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toHex, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { hkdf, nodeEntropy, open, seal } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { type SealName, sealWith, unsealWith } from "./sealed-secret.ts";

const MATERIAL = new Uint8Array(16).fill(7);
const SECRET = utf8Encode("the private keys of a node");
const SEALS: readonly SealName[] = ["machine", "enclave", "signer"];

function refusal(run: () => unknown): CocoError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code === "SealedElsewhere", String(error));
    return error;
  }
  return assert.fail("it opened");
}

describe("a sealed secret", () => {
  test("opens for whom it was sealed to, and says to whom that is where another opens it", () => {
    for (const to of SEALS) {
      const sealed = sealWith(MATERIAL, SECRET, to);
      assert.deepEqual(unsealWith(MATERIAL, sealed, to), SECRET);
      for (const other of SEALS.filter((name) => name !== to)) {
        const { message } = refusal(() => unsealWith(MATERIAL, sealed, other));
        assert.match(
          message,
          { machine: /machine key file, not/, enclave: /code of an enclave, not/, signer: /signer of/ }[to],
        );
      }
    }
  });

  test("is not opened by another seal whose byte was written over it", () => {
    for (const to of SEALS)
      for (const byte of [1, 2, 3]) {
        const relabelled = sealWith(MATERIAL, SECRET, to);
        if (relabelled[1] === byte) continue;
        relabelled[1] = byte;
        for (const name of SEALS) refusal(() => unsealWith(MATERIAL, relabelled, name));
      }
  });

  test("shows each byte that was changed, cut off or added", () => {
    const sealed = sealWith(MATERIAL, SECRET, "enclave");
    for (let at = 0; at < sealed.length; at++) {
      refusal(() =>
        unsealWith(
          MATERIAL,
          sealed.map((byte, index) => (index === at ? byte ^ 1 : byte)),
          "enclave",
        ),
      );
      refusal(() => unsealWith(MATERIAL, sealed.subarray(0, at), "enclave"));
    }
    refusal(() => unsealWith(MATERIAL, Uint8Array.from([...sealed, 0]), "enclave"));
  });

  test("has a key and a nonce that no other one has, from the randomness that is handed in", () => {
    const keys: string[] = [];
    const nonces: string[] = [];
    const crypto = {
      ...{ hkdf, open },
      seal: (key: Bytes, nonce: Bytes, plaintext: Bytes, data: Bytes) => {
        keys.push(toHex(key));
        nonces.push(toHex(nonce));
        return seal(key, nonce, plaintext, data);
      },
    };
    for (let run = 0; run < 50; run++) sealWith(MATERIAL, SECRET, "enclave", { crypto, entropy: nodeEntropy });
    assert.deepEqual([new Set(keys).size, new Set(nonces).size], [50, 50]);
    let drawn = 0;
    const entropy = { bytes: (length: number) => new Uint8Array(length).fill(++drawn) };
    const sealed = sealWith(MATERIAL, SECRET, "enclave", { crypto, entropy });
    assert.deepEqual(sealed.subarray(0, 46), Uint8Array.from([2, 2, ...Array(32).fill(1), ...Array(12).fill(2)]));
  });

  test("is refused without a word of key or content", () => {
    const other = new Uint8Array(16).fill(8);
    for (const to of SEALS) {
      const error = refusal(() => unsealWith(other, sealWith(MATERIAL, SECRET, to), to));
      const told = `${error.message} ${JSON.stringify(error.data)} ${String(error.stack)} ${String(error.cause)}`;
      for (const secret of [MATERIAL, other, SECRET])
        for (const form of ["hex", "base64", "latin1"] as const)
          assert.ok(!told.includes(Buffer.from(secret).toString(form)), `${to} ${form}`);
    }
  });
});
