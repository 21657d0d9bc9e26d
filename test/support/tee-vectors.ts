/**
 * Test support: finds real evidence of TEEs with what must come out of it. The folder is named by COCO_VECTORS, or is
 * `shared/vectors` beside the working directory; tests that need it say so when it is absent.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Bytes } from "../../src/core/codec/bytes.ts";

/** Where the vectors of TEEs are. */
export const TEE_VECTORS = join(process.env["COCO_VECTORS"] ?? resolve("../shared/vectors"), "tee");

/** Why a test is skipped, or false when the data is there. */
export function missingTeeVectors(name: string): string | false {
  return existsSync(join(TEE_VECTORS, name)) ? false : `test data not found: tee/${name} (set COCO_VECTORS)`;
}

/** The bytes of a vector. */
export function teeVector(name: string): Bytes {
  return new Uint8Array(readFileSync(join(TEE_VECTORS, name)));
}

/** A vector that is text. */
export function teeText(name: string): string {
  return readFileSync(join(TEE_VECTORS, name), "utf8");
}

/** A vector that is JSON, as whoever asks knows it. */
export function teeJson<T>(name: string): T {
  return JSON.parse(teeText(name)) as T;
}
