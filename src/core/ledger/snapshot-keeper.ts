/**
 * The keeper's seal at the end of a snapshot file: the node on whose disk it lies has made it of its own committed state, or
 * taken it from an attested leader. A snapshot proves nothing of its governance by itself, since the key that opens it is
 * wrapped in it: only this seal, made with the node's own key, keeps a host from putting one of its making in its place.
 *
 *   node id (32) ‖ ECDSA P-256 signature (64) over "coco snapshot keeper v1" ‖ network id (32) ‖ index u64 ‖ evidence digest (32)
 */
import { asciiBytes } from "../codec/ascii.ts";
import { type Bytes, bytesEqual, ByteWriter, concatBytes, fromHex } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { LedgerCrypto } from "./keys.ts";

/** Bytes of a keeper's seal. */
export const KEEPER_SEAL_LENGTH = 96;

const CONTEXT = asciiBytes("coco snapshot keeper v1");
const NODE_ID_LENGTH = 32;

/** What a keeper vouches for. */
export interface KeptSnapshot {
  /** Hex, 32 bytes. */
  readonly networkId: string;
  readonly index: number;
  /** Evidence digest, 32 bytes. */
  readonly digest: Bytes;
}

function message({ networkId, index, digest }: KeptSnapshot): Bytes {
  return concatBytes(CONTEXT, fromHex(networkId), new ByteWriter(8).u64(index).finish(), digest);
}

/** The seal of the node with this id (hex), whose key signs. */
export function makeKeeperSeal(snapshot: KeptSnapshot, nodeId: string, crypto: Pick<LedgerCrypto, "sign">): Bytes {
  const seal = concatBytes(fromHex(nodeId), crypto.sign(message(snapshot)));
  invariant(seal.length === KEEPER_SEAL_LENGTH, "length of a keeper's seal");
  return seal;
}

/** Whether a seal is the one of this node for this snapshot. */
export function isKeeperSeal(
  seal: Bytes,
  snapshot: KeptSnapshot,
  keeper: { readonly nodeId: string; readonly publicKey: Bytes },
  crypto: Pick<LedgerCrypto, "verify">,
): boolean {
  if (seal.length !== KEEPER_SEAL_LENGTH) return false;
  const signature = seal.subarray(NODE_ID_LENGTH);
  return (
    bytesEqual(seal.subarray(0, NODE_ID_LENGTH), fromHex(keeper.nodeId)) &&
    crypto.verify(keeper.publicKey, message(snapshot), signature)
  );
}

/** Parts the bytes of a file, which come in pieces, from the seal at its end. */
export class KeeperSealSplitter {
  #held: Bytes = new Uint8Array(0);

  /** Takes the next piece; returns what certainly stands before the seal. */
  push(piece: Bytes): Bytes {
    const all = this.#held.length === 0 ? piece : concatBytes(this.#held, piece);
    const before = Math.max(0, all.length - KEEPER_SEAL_LENGTH);
    this.#held = all.slice(before);
    return all.subarray(0, before);
  }

  /** The end of what was pushed: the seal, when that was all of the file. */
  get seal(): Bytes {
    return this.#held;
  }
}
