/**
 * Test support: real quotes with their collateral. The folder is named by COCO_VECTORS, or is `shared/vectors` beside the
 * working directory; tests that need it say so when it is absent, and what is made by test/support/intel-platform.ts
 * takes their place.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Bytes } from "../../core/codec/bytes.ts";

const folder = join(process.env["COCO_VECTORS"] ?? resolve("../shared/vectors"), "tee");

/** Why tests of real quotes are skipped, or false when they are there. */
export const quotesMissing: string | false = existsSync(join(folder, "tdx"))
  ? false
  : `real quotes not found in ${folder} (set COCO_VECTORS)`;

/** What verification of a real quote gives. */
export interface ExpectedQuote {
  readonly verify_at: string;
  readonly version: number;
  readonly tee: "sgx" | "tdx";
  readonly fmspc: string;
  readonly pce_svn: number;
  readonly cpu_svn: string;
  readonly measurement: string;
  readonly attributes: string;
  readonly report_data: string;
  readonly mrsigner?: string;
  readonly tee_tcb_svn?: string;
  readonly tee_tcb_svn2?: string;
  readonly mrservicetd_zero?: boolean;
  readonly tcb_status?: string;
  readonly platform_tcb_status?: string;
  readonly tcb_date?: string;
  readonly qe_status?: string;
  readonly module?: string;
  readonly advisories?: string;
  readonly tcb_eval_num?: number;
  readonly debug?: boolean;
  readonly trailing_zero?: number;
  readonly expect: string;
}

/** A real quote. */
export interface RealQuote {
  readonly name: string;
  readonly quote: Bytes;
  readonly collateral: Bytes;
  readonly expected: ExpectedQuote;
}

/** The real quotes that are there; none where the folder is absent. */
export function realQuotes(): readonly RealQuote[] {
  if (quotesMissing !== false) return [];
  return ["sgx", "tdx"].flatMap((tee) =>
    readdirSync(join(folder, tee), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => {
        const file = (part: string): Bytes => new Uint8Array(readFileSync(join(folder, tee, name, part)));
        const expected = JSON.parse(Buffer.from(file("expected.json")).toString("utf8")) as ExpectedQuote;
        return { name, quote: file("quote.bin"), collateral: file("collateral.json"), expected };
      }),
  );
}
