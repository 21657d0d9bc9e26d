/**
 * Plays machines of SEV-SNP, plain and behind the virtual TPM of a confidential Azure machine, and of TDX for whole nodes: evidence by roots of our own, valid now, for whatever a node wants bound. No
 * verifier takes it unless the roots are handed in by a constructor.
 */
import { toHex } from "../../src/core/codec/bytes.ts";
import type { HardwareRoots } from "../../src/attestation/evidence.ts";
import { makeHclReport, PCRS } from "../../src/attestation/tpm/test-azure-vtpm.ts";
import { createAzureVtpmProvider } from "../../src/host/tee/azure-vtpm.ts";
import type { TeeProvider } from "../../src/host/tee/provider.ts";
import { type Document, makeEvidence } from "./intel-platform.ts";
import { DAY_MS, makeKey } from "./issue-certificates.ts";
import { playTpm } from "./played-tpm.ts";
import { makeSnpPki, TEST_CHIP } from "./snp-pki.ts";

const NOW_MS = Date.now();
const DATES = { fromMs: NOW_MS - 10 * DAY_MS, untilMs: NOW_MS + 10 * DAY_MS };
const pki = makeSnpPki("Milan", {}, DATES);

const MEASUREMENT_AT = 0x90;
const POLICY_AT = 8;
const REPORT_DATA_AT = 80;
const CHIP_AT = 416;
/** In quotes of form `tdx-4`, behind their header. */
const GUEST_MEASUREMENT_AT = 136;
const GUEST_ATTRIBUTES_AT = 120;
const GUEST_REPORT_DATA_AT = 520;

/** What a played machine does otherwise than a good one. */
export interface PlayedCode {
  /** Each byte of what it measures. */
  readonly code?: number;
  /** The host may read its memory. */
  readonly debug?: boolean;
  /** Each byte of its chip's id; that of test reports unless given. One chip is for one node. */
  readonly chip?: number;
}

/** A machine of SEV-SNP. */
export function playedSnp({ code = 0x90, debug = false, chip }: PlayedCode = {}): TeeProvider {
  const chipId = chip === undefined ? TEST_CHIP : new Uint8Array(64).fill(chip);
  const endorsements = [pki.vek({ hardwareId: chipId }), pki.ask, pki.ark].map(({ der }) => ({
    kind: "certificates" as const,
    content: der,
  }));
  return {
    tee: "snp",
    attest: async (reportData) => ({
      tee: "snp",
      evidence: pki.report({
        [REPORT_DATA_AT]: reportData,
        [CHIP_AT]: chipId,
        [MEASUREMENT_AT]: new Uint8Array(48).fill(code),
        ...(debug && { [POLICY_AT]: Uint8Array.of(0x1f, 0, 0x0b) }),
      }),
      endorsements,
    }),
  };
}

/** What a played Azure machine does otherwise than a good one. */
export interface PlayedBoot extends PlayedCode {
  /** Each byte of what its TPM's registers hold; those of {@link PCRS} unless given. */
  readonly booted?: number;
}

const tpmKey = makeKey("rsa");

/** A confidential Azure machine: its firmware is what the report measures, what that booted is in the registers. */
export function playedVtpm({ code = 0x91, chip = 3, booted }: PlayedBoot = {}): TeeProvider {
  const chipId = new Uint8Array(64).fill(chip);
  const certificates = [pki.vek({ hardwareId: chipId }), pki.ask, pki.ark].map(({ der }) => ({
    kind: "certificates" as const,
    content: der,
  }));
  const hclReport = makeHclReport(tpmKey, {
    snpReport: (reportData) =>
      pki.report({
        [REPORT_DATA_AT]: reportData,
        [CHIP_AT]: chipId,
        [MEASUREMENT_AT]: new Uint8Array(48).fill(code),
      }),
  });
  const pcrs = booted === undefined ? PCRS : PCRS.map(() => new Uint8Array(32).fill(booted));
  return createAzureVtpmProvider({
    open: playTpm({ hclReport, key: tpmKey, pcrs }).open,
    certificates: async () => certificates,
  });
}

/** Makes a document of Intel one of yesterday, good until tomorrow. */
function dated(document: Document): void {
  document["issueDate"] = `${new Date(NOW_MS - DAY_MS).toISOString().slice(0, 19)}Z`;
  document["nextUpdate"] = `${new Date(NOW_MS + DAY_MS).toISOString().slice(0, 19)}Z`;
}

/** A quote of a played machine with its collateral, everything that Intel signs dated around now. */
export function playedQuote(form: "sgx-3" | "tdx-4", body: (body: Uint8Array) => void) {
  return makeEvidence({
    form,
    ...{ root: DATES, authority: { ...DATES }, leaf: { ...DATES }, tcbSigning: DATES },
    ...{ rootList: DATES, pckList: DATES, tcbInfo: dated, identity: dated },
    body,
  });
}

function quoteFor(reportData: Uint8Array, { code = 0xd1, debug = false }: PlayedCode) {
  return playedQuote("tdx-4", (body) => {
    body.set(reportData, GUEST_REPORT_DATA_AT);
    body.fill(code, GUEST_MEASUREMENT_AT, GUEST_MEASUREMENT_AT + 48);
    if (debug) body[GUEST_ATTRIBUTES_AT] = 1;
  });
}

/** A guest of TDX. */
export function playedTdx(code: PlayedCode = {}): TeeProvider {
  return {
    tee: "tdx",
    attest: async (reportData) => {
      const { quote, collateral } = quoteFor(reportData, code);
      return { tee: "tdx", evidence: quote, endorsements: [{ kind: "collateral", content: collateral }] };
    },
  };
}

/** The roots of these machines. */
export const PLAYED_ROOTS: HardwareRoots = { amd: pki.roots, intel: quoteFor(new Uint8Array(64), {}).roots };

/** What a played machine measures, as manifests have it. */
export function measuredOf(code: number): string {
  return toHex(new Uint8Array(48).fill(code));
}
