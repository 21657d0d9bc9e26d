/**
 * Verification of DCAP quotes of SGX and TDX: whether a quote is genuine, and how up to date its platform is. Whether what it
 * claims is accepted is appraise.ts's to say: a quote of a guest with debugging on verifies, and so does one of an old TCB.
 *
 * The order is that of Intel's verifier. Only a quote that can't be read is an exception; everything else is a check, and
 * one that fails makes the claims worthless.
 */
import { readOrNothing, type Certificate } from "../../core/certificates/certificate.ts";
import { bytesEqual, concatBytes, fromHex, toHex, type Bytes } from "../../core/codec/bytes.ts";
import { Checks, type AttestationCrypto, type Verification } from "../checks.ts";
import { ecdsaSignature, p256PublicKey } from "../raw-keys.ts";
import {
  judgeChain,
  judgeRevocationList,
  PCK_CHAIN,
  requireUnrevoked,
  TCB_CHAIN,
  type Chain,
  type ChainContext,
} from "./chains.ts";
import { claimsOf, type DcapClaims } from "./claims.ts";
import { judgeDocument, parseCollateral, type Collateral } from "./collateral.ts";
import { platformOf, type Platform } from "./pck.ts";
import { parseQuote, type EnclaveReport, type GuestReport, type Quote } from "./quote.ts";
import { levelOf, parseQuotingIdentity, parseTcbInfo, type PartLevel } from "./tcb-info.ts";
import type { QuotingIdentity, TcbInfo } from "./tcb-info.ts";
import { judgeTcb, moduleId, moduleVersion, type TcbVerdict } from "./tcb-level.ts";
import { certificatesOfChain } from "./text-forms.ts";

/** A quote with its collateral. */
export interface DcapEvidence {
  readonly quote: Bytes;
  /** JSON, as collateral.ts reads it; absent: nothing vouches for the quote. */
  readonly collateral?: Bytes;
}

/** What a quote is judged by. */
export interface DcapOptions {
  /** SHA-256 of the SubjectPublicKeyInfo of each trusted root, hex: `INTEL_SGX_ROOT` for genuine hardware. */
  readonly roots: readonly string[];
  /** The time at which certificates, lists and collateral must be valid. */
  readonly nowMs: number;
  /** The 64 bytes that the quote must bind; without them the caller compares those of the claims. */
  readonly expectedReportData?: Bytes;
}

const ECDSA_SHA256 = { type: "ecdsa", hash: "sha256" } as const;
const REPORT_DATA_TAIL = new Uint8Array(32);
const DEBUG = 0x02;

/** Verifies a quote; throws `EvidenceRejected` for the reason `Malformed` when it can't be read. */
export function verifyDcap(
  evidence: DcapEvidence,
  options: DcapOptions,
  crypto: AttestationCrypto,
): Verification<DcapClaims> {
  const quote = parseQuote(evidence.quote);
  const checks = new Checks();
  const context: ChainContext = { roots: options.roots, nowMs: options.nowMs, crypto, checks };
  const { collateral: bytes } = evidence;
  const collateral = bytes && readOrNothing(() => parseCollateral(bytes));
  const problem = bytes === undefined ? "there is none" : "not well-formed";
  checks.require("collateral", collateral !== undefined, "CollateralInvalid", problem);
  const pckChain = judgePckChain(quote, context);
  const platform = pckChain && readOrNothing(() => platformOf(pckChain[0] as Certificate));
  if (pckChain !== undefined)
    checks.require("pck certificate: platform", platform !== undefined, "ChainInvalid", "names no platform");
  const { info, identity } = judgeCollateral(collateral, pckChain, context);
  judgeSignatures(quote, pckChain?.[0], context);
  const isEnclave = quote.body.kind === "enclave";
  if (info !== undefined && platform !== undefined) requireSamePlatform(info, platform, isEnclave, checks);
  const quoting = identity && judgeQuotingEnclave(quote.quotingReport, identity, isEnclave, checks);
  const guest = quote.body.kind === "guest" ? quote.body : undefined;
  if (guest !== undefined && info !== undefined) requireModule(guest, info, checks);
  const verdict = judgeLevel({ info, platform, guest, quoting }, checks);
  const { expectedReportData } = options;
  if (expectedReportData !== undefined) {
    const isBound = bytesEqual(quote.body.reportData, expectedReportData);
    checks.require("report data", isBound, "ReportDataMismatch", "the quote binds other data");
  }
  return { claims: claimsOf(quote, { platform, info, identity, quoting, verdict }), checks: checks.list };
}

function judgePckChain({ certificates }: Quote, context: ChainContext): Chain | undefined {
  const problem = "the quote names its platform by an identifier and carries no certificates";
  if (!context.checks.require("quote: certificates", certificates !== undefined, "CertificateMissing", problem))
    return undefined;
  return judgeChain("pck chain", certificates ?? [], PCK_CHAIN, context);
}

interface Documents {
  readonly info: TcbInfo | undefined;
  readonly identity: QuotingIdentity | undefined;
}

/** Chains, signatures and dates of collateral, and every issuer's list of what it revoked. */
function judgeCollateral(
  collateral: Collateral | undefined,
  pckChain: Chain | undefined,
  context: ChainContext,
): Documents {
  if (collateral === undefined) return { info: undefined, identity: undefined };
  const { checks } = context;
  const tcbChain = judgeTextChain("tcb info chain", collateral.tcb_info_issuer_chain, context);
  const isSame = collateral.qe_identity_issuer_chain === collateral.tcb_info_issuer_chain;
  if (isSame) checks.skip("identity chain", "it is that of the TCB info");
  const identityChain = isSame
    ? tcbChain
    : judgeTextChain("identity chain", collateral.qe_identity_issuer_chain, context);
  judgeRevocations(collateral, [pckChain, tcbChain, isSame ? undefined : identityChain], context);
  const info = judgeDocument(
    {
      name: "tcb info",
      text: collateral.tcb_info,
      signature: collateral.tcb_info_signature,
      chain: tcbChain,
      parse: parseTcbInfo,
    },
    context,
  );
  const identity = judgeDocument(
    {
      name: "quoting enclave identity",
      text: collateral.qe_identity,
      signature: collateral.qe_identity_signature,
      chain: identityChain,
      parse: parseQuotingIdentity,
    },
    context,
  );
  return { info, identity };
}

function judgeTextChain(name: string, text: string, context: ChainContext): Chain | undefined {
  return judgeChain(name, readOrNothing(() => certificatesOfChain(text)) ?? [], TCB_CHAIN, context);
}

/** All chains have to end in roots of one key, whose one list knows about everything below it. */
function judgeRevocations(collateral: Collateral, chains: readonly (Chain | undefined)[], context: ChainContext): void {
  const { checks } = context;
  const roots = chains.flatMap((chain) => chain?.at(-1) ?? []);
  const [root] = roots;
  if (root === undefined) return;
  const isOne = roots.every(({ publicKey }) => bytesEqual(publicKey, root.publicKey));
  checks.require("one root", isOne, "ChainInvalid", "the chains end in roots of different keys");
  const rootList = judgeRevocationList("revocation list of the root", collateral.root_ca_crl, root, context);
  for (const chain of chains) {
    for (const certificate of chain?.filter(({ issuer }) => issuer.key === root.subject.key) ?? [])
      requireUnrevoked(`revocation of ${certificate.subject.text}`, certificate, rootList, checks);
  }
  const [leaf, issuer] = chains[0] ?? [];
  if (leaf === undefined || issuer === undefined) return;
  const list = judgeRevocationList("revocation list of the PCK CA", collateral.pck_crl, issuer, context);
  requireUnrevoked(`revocation of ${leaf.subject.text}`, leaf, list, checks);
}

/** PCK certificate, quoting enclave, attestation key, quote: each vouches for the next. */
function judgeSignatures(quote: Quote, pck: Certificate | undefined, { checks, crypto }: ChainContext): void {
  const { quotingReport, quotingReportSignature, attestationKey, authentication } = quote;
  const isVouchedFor =
    pck !== undefined &&
    crypto.verify(ECDSA_SHA256, pck.publicKey, quotingReport.encoding, ecdsaSignature(quotingReportSignature));
  const problem = "the PCK certificate's key did not sign the report";
  checks.require("quoting enclave: signature", isVouchedFor, "SignatureInvalid", problem);
  const bound = concatBytes(crypto.digest("sha256", concatBytes(attestationKey, authentication)), REPORT_DATA_TAIL);
  const isBound = bytesEqual(quotingReport.reportData, bound);
  checks.require("attestation key", isBound, "KeyNotBound", "the quoting enclave's report binds another key");
  const signature = ecdsaSignature(quote.signature);
  const isSigned = crypto.verify(ECDSA_SHA256, p256PublicKey(attestationKey), quote.signedBytes, signature);
  checks.require("quote: signature", isSigned, "SignatureInvalid", "not signed by the attestation key");
}

function requireSamePlatform(info: TcbInfo, platform: Platform, isEnclave: boolean, checks: Checks): void {
  const id = isEnclave ? "SGX" : "TDX";
  checks.require("tcb info: TEE", info.id === id, "CollateralInvalid", `of ${info.id}, expected ${id}`);
  const isSame = info.fmspc === platform.fmspc && info.pceId === platform.pceId;
  const found = `of ${info.fmspc} ${info.pceId}, the platform is ${platform.fmspc} ${platform.pceId}`;
  checks.require("tcb info: platform", isSame, "EndorsementMismatch", found);
}

/** Whether bytes under a mask are the expected ones; all but the first in hex. */
function matches(bytes: Bytes, maskHex: string, expectedHex: string): boolean {
  const mask = fromHex(maskHex);
  return toHex(bytes.map((byte, at) => byte & (mask[at] ?? 0))) === expectedHex;
}

function judgeQuotingEnclave(
  report: EnclaveReport,
  identity: QuotingIdentity,
  isEnclave: boolean,
  checks: Checks,
): PartLevel | undefined {
  const id = isEnclave ? "QE" : "TD_QE";
  const isOfTee = identity.id === id;
  checks.require("quoting enclave identity: TEE", isOfTee, "CollateralInvalid", `of ${identity.id}, expected ${id}`);
  const problems = [
    ...(toHex(report.mrSigner) === identity.signer ? [] : ["signer"]),
    ...(report.productId === identity.productId ? [] : ["product"]),
    ...(matches(report.miscSelect, identity.miscSelectMask, identity.miscSelect) ? [] : ["MISCSELECT"]),
    ...(matches(report.attributes, identity.attributesMask, identity.attributes) ? [] : ["ATTRIBUTES"]),
    ...(((report.attributes[0] ?? 0) & DEBUG) === 0 ? [] : ["debugging is on"]),
  ];
  const isIdentified = problems.length === 0;
  checks.require("quoting enclave: identity", isIdentified, "QuotingEnclaveInvalid", problems.join(", "));
  const level = levelOf(identity.levels, report.version);
  const problem = `no level is as low as version ${report.version}`;
  checks.require("quoting enclave: level", level !== undefined, "QuotingEnclaveInvalid", problem);
  return level;
}

/** The TDX module is Intel's: signer and attributes, by its own identity where modules have one. */
function requireModule(guest: GuestReport, info: TcbInfo, checks: Checks): void {
  const { major } = moduleVersion(guest.teeTcbSvn);
  const identity = major === 0 ? info.module : info.modules.find(({ id }) => id === moduleId(major));
  const isIdentified =
    identity !== undefined &&
    toHex(guest.mrSignerSeam) === identity.signer &&
    matches(guest.seamAttributes, identity.attributesMask, identity.attributes) &&
    guest.seamAttributes.every((byte) => byte === 0);
  const problem = identity === undefined ? `no identity ${moduleId(major)}` : "another signer, or other attributes";
  checks.require("TDX module: identity", isIdentified, "ModuleInvalid", problem);
}

interface Parts {
  readonly info: TcbInfo | undefined;
  readonly platform: Platform | undefined;
  readonly guest: GuestReport | undefined;
  readonly quoting: PartLevel | undefined;
}

function judgeLevel({ info, platform, guest, quoting }: Parts, checks: Checks): TcbVerdict | undefined {
  if (info === undefined || platform === undefined || (info.id === "TDX") !== (guest !== undefined)) {
    checks.skip("tcb level", "there is no TCB info of this TEE");
    return undefined;
  }
  const verdict = judgeTcb(info, platform.tcb, guest, quoting);
  const problem = typeof verdict === "string" ? verdict : undefined;
  checks.require("tcb level", problem === undefined, "TcbStatusNotAllowed", problem ?? "");
  return typeof verdict === "string" ? undefined : verdict;
}
