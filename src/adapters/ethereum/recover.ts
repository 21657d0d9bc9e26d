/**
 * Recovery of the signer's address from a secp256k1 signature (SEC 1, section 4.1.6; Yellow Paper, appendix F).
 * The native binding of libsecp256k1 is about 25 times faster than the JavaScript implementation and is used where a
 * binary for the platform exists. The binding is imported by its own path: the package's entry would otherwise fall back
 * to a slow implementation without a word.
 */
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { type Bytes, bytesEqual, fromHex } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { keccak256 } from "./keccak.ts";
import { bytes32OfBigint } from "./rlp.ts";

/** The order of the group. */
export const SECP256K1_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** Largest `s` of a transaction or authorization signature (EIP-2). */
export const SECP256K1_LOW_S_MAX = SECP256K1_ORDER / 2n;

/** Recovers an address (20 bytes) from a 32-byte hash and a signature; undefined when no key could have made it. */
export type RecoverAddress = (hash: Bytes, r: bigint, s: bigint, recoveryBit: number) => Bytes | undefined;

/** As {@link RecoverAddress}, but the public key itself: 64 bytes x ‖ y. */
export type RecoverPublicKey = (hash: Bytes, r: bigint, s: bigint, recoveryBit: number) => Bytes | undefined;

/** Implementations of recovery. */
export type RecoveryBackend = "native" | "pure";

/** A chosen implementation. */
export interface Recovery {
  readonly backend: RecoveryBackend;
  readonly recoverPublicKey: RecoverPublicKey;
  readonly recoverAddress: RecoverAddress;
}

/** 64 bytes x ‖ y of the public key; undefined or an exception where there is none. */
type RecoverKey = (hash: Bytes, signature: Bytes, recoveryBit: number) => Bytes | undefined;

const recoverKeyPure: RecoverKey = (hash, signature, recoveryBit) =>
  secp256k1.Signature.fromBytes(signature, "compact")
    .addRecoveryBit(recoveryBit)
    .recoverPublicKey(hash)
    .toBytes(false)
    .subarray(1);

/** The native binding, if there is one for this platform and it answers correctly. */
async function loadNative(): Promise<RecoverKey | undefined> {
  try {
    const { default: bindings } = await import("secp256k1/bindings.js");
    const recoverKey: RecoverKey = (hash, signature, bit) =>
      bindings.ecdsaRecover(signature, bit, hash, false).subarray(1);
    return answersCorrectly(recoverKey) ? recoverKey : undefined;
  } catch {
    return undefined;
  }
}

/** A known answer: a foreign library must not be trusted by its name alone. From go-ethereum's tests of the ecrecover contract. */
function answersCorrectly(recoverKey: RecoverKey): boolean {
  const hash = fromHex("18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c");
  const signature = fromHex(
    "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75feeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549",
  );
  const address = addressOf(recoverKey(hash, signature, 1));
  return address !== undefined && bytesEqual(address, fromHex("a94f5374fce5edbc8e2a8697c15331677e6ebf0b"));
}

function addressOf(publicKey: Bytes | undefined): Bytes | undefined {
  return publicKey === undefined ? undefined : keccak256(publicKey).subarray(12);
}

function recoveryOf(backend: RecoveryBackend, recoverKey: RecoverKey): Recovery {
  const recoverPublicKey: RecoverPublicKey = (hash, r, s, recoveryBit) => {
    if (recoveryBit !== 0 && recoveryBit !== 1) return undefined;
    if (r <= 0n || r >= SECP256K1_ORDER || s <= 0n || s >= SECP256K1_ORDER) return undefined;
    const signature = new Uint8Array(64);
    bytes32OfBigint(r, signature);
    bytes32OfBigint(s, signature, 32);
    try {
      return recoverKey(hash, signature, recoveryBit);
    } catch {
      return undefined; // `r` is not the x coordinate of a point, or the key is the point at infinity
    }
  };
  const recoverAddress: RecoverAddress = (hash, r, s, recoveryBit) =>
    addressOf(recoverPublicKey(hash, r, s, recoveryBit));
  return { backend, recoverPublicKey, recoverAddress };
}

/** The implementation asked for; "auto" takes the native one if it can. Throws `Internal` for "native" where there is none. */
export async function createRecovery(choice: RecoveryBackend | "auto"): Promise<Recovery> {
  const native = choice === "pure" ? undefined : await loadNative();
  if (native !== undefined) return recoveryOf("native", native);
  if (choice === "native") throw new CocoError("Internal", "no native secp256k1 binding for this platform");
  return recoveryOf("pure", recoverKeyPure);
}

const standard = await createRecovery("auto");

/** Recovers an address by the fastest implementation at hand; `hash` must have 32 bytes. High `s` values are accepted. */
export const recoverAddress: RecoverAddress = standard.recoverAddress;

/** Recovers a public key by the same implementation. */
export const recoverPublicKey: RecoverPublicKey = standard.recoverPublicKey;

/** Which implementation {@link recoverAddress} uses; "pure" is slow enough to be worth a line in the log. */
export function recoveryBackend(): RecoveryBackend {
  return standard.backend;
}
