/**
 * Keccak-256 (the variant before FIPS 202, as Ethereum uses it), synchronous. WebAssembly does the work; where it is
 * unavailable, or gives a wrong answer to the check made while loading, a JavaScript implementation takes its place.
 */
import { keccak_256 } from "@noble/hashes/sha3.js";
import { createKeccak } from "hash-wasm";
import { type Bytes, bytesEqual, EMPTY, fromHex, type HashFunction } from "../../core/codec/bytes.ts";

/** keccak-256 of the empty byte string: the code hash of accounts without code. */
export const KECCAK_EMPTY: Bytes = fromHex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");

/** The implementation in JavaScript. */
export const keccak256Pure: HashFunction = (data) => keccak_256(data);

/** The implementation in WebAssembly; undefined where it cannot be used. */
async function loadWasm(): Promise<HashFunction | undefined> {
  try {
    const hasher = await createKeccak(256);
    const hash: HashFunction = (data) => hasher.init().update(data).digest("binary");
    return bytesEqual(hash(EMPTY), KECCAK_EMPTY) ? hash : undefined;
  } catch {
    return undefined;
  }
}

const wasm = await loadWasm();

/** Which implementation {@link keccak256} uses; the JavaScript one is about seven times slower. */
export const keccakBackend: "wasm" | "pure" = wasm === undefined ? "pure" : "wasm";

/** keccak-256 of a byte string: 32 bytes. */
export const keccak256: HashFunction = wasm ?? keccak256Pure;
