/**
 * Test support: real quotes with their collateral, where they are (test/support/tee-vectors.ts). Where they are not, tests that
 * need them say so, and what test/support/intel-platform.ts makes takes their place.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { missingTeeVectors, TEE_VECTORS, teeJson, teeVector } from "../../../test/support/tee-vectors.ts";
import type { Bytes } from "../../core/codec/bytes.ts";

/** Why tests of real quotes are skipped, or false when they are there. */
export const quotesMissing: string | false = missingTeeVectors("tdx");

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
    readdirSync(join(TEE_VECTORS, tee), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => ({
        name,
        quote: teeVector(`${tee}/${name}/quote.bin`),
        collateral: teeVector(`${tee}/${name}/collateral.json`),
        expected: teeJson<ExpectedQuote>(`${tee}/${name}/expected.json`),
      })),
  );
}
