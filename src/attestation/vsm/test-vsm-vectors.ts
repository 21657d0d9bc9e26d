/**
 * Test support: finds the public evidence of VSM and of Azure's virtual TPMs. The folder is named by COCO_VECTORS, or is
 * `shared/vectors` beside the working directory; tests that need it say so when it is absent, and those on made evidence
 * (test-vsm-evidence.ts) run anyway.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Bytes } from "../../core/codec/bytes.ts";

const folder = join(process.env["COCO_VECTORS"] ?? resolve("../shared/vectors"), "tee");

/** Why a test is skipped, or false when the data is there. */
export function missingTee(name: string): string | false {
  return existsSync(join(folder, name))
    ? false
    : `evidence not found: tee/${name} (set COCO_VECTORS); made evidence only`;
}

/** A file of the evidence. */
export function teeVector(name: string): Bytes {
  return new Uint8Array(readFileSync(join(folder, name)));
}
