/**
 * Verification of SNP evidence: whether a report was signed by the key of a genuine chip (or provider), for the TCB and the
 * chip it names. What the report says is appraised elsewhere (appraise.ts).
 */
import { type Certificate, tryParseCertificate } from "../../core/certificates/certificate.ts";
import { type Bytes, bytesEqual } from "../../core/codec/bytes.ts";
import { type AttestationCrypto, type Check, Checks, reasonsOf, type Verification } from "../checks.ts";
import { evidenceRejected } from "../evidence.ts";
import { ecdsaSignature } from "../raw-keys.ts";
import type { ReasonCode } from "../reasons.ts";
import { checkChain, MAX_SNP_REVOCATION_LISTS } from "./chain.ts";
import { claimsOf, generationOf, signingKeyOf, type SnpClaims } from "./claims.ts";
import { isTcbAtLeast, tcbText } from "./product.ts";
import { parseSnpReport, type SnpReport } from "./report.ts";
import type { SnpRoots } from "./roots.ts";
import { isForChip, readVek, tcbOfVek, type Vek } from "./vek.ts";

/** Most certificates that evidence may carry. */
export const MAX_SNP_CERTIFICATES = 16;

/** A report with its endorsements. */
export interface SnpEvidence {
  readonly report: Bytes;
  /** DER, in any order; those that have nothing to do with the report are left aside. */
  readonly certificates: readonly Bytes[];
  /** Lists of revoked certificates by AMD's roots, DER. When there are any, one must be current and of the right root. */
  readonly revocations?: readonly Bytes[];
}

/** What evidence is verified against. */
export interface SnpOptions {
  readonly roots: SnpRoots;
  readonly nowMs: number;
}

/** Names of the checks of what a report says of itself: certificates and lists are not at fault when they fail. */
export const SNP_REPORT_CHECKS = ["signature algorithm", "committed TCB", "chip key"] as const;

const ECDSA_P384_SHA384 = 1;

/** Verifies a report. Throws `EvidenceRejected` with the reason `Malformed` when it cannot be read. */
export function verifySnp(
  evidence: SnpEvidence,
  { roots, nowMs }: SnpOptions,
  crypto: AttestationCrypto,
): Verification<SnpClaims> {
  const report = parseSnpReport(evidence.report);
  const { revocations = [] } = evidence;
  if (evidence.certificates.length > MAX_SNP_CERTIFICATES || revocations.length > MAX_SNP_REVOCATION_LISTS)
    throw evidenceRejected("Malformed", "SNP evidence: too many certificates or revocation lists");
  // What evidence repeats of what is known need be read and judged once only.
  const further = evidence.certificates.filter(
    (der) => !roots.certificates.some((known) => bytesEqual(known.der, der)),
  );
  const parsed = further.map(tryParseCertificate).filter((certificate) => certificate !== undefined);
  const certificates = [...parsed, ...roots.certificates];
  const checks = new Checks();
  checkReport(checks, report);
  const vek = signerOf(report, certificates, crypto);
  if (vek === undefined) {
    const detail = `there is no certificate of a key that signs reports (${signingKeyOf(report)})`;
    checks.require("signing key", false, "CertificateMissing", detail);
    return { claims: claimsOf(report, undefined, false), checks: checks.list };
  }
  const endorsement = new Checks();
  checkSigner(endorsement, report, vek);
  const isSigned = isSignedBy(report, vek, crypto);
  endorsement.require("signature", isSigned, "SignatureInvalid", "another key signed the report");
  const revocationChecked = checkChain(endorsement, vek, { certificates, revocations, roots, nowMs, crypto });
  checks.add(endorsement.list);
  // A report of version 2 does not name its processor: then there is only what came with it, for people to see what that was.
  const speaks = report.cpu === undefined || isGenuine(endorsement.list);
  return { claims: claimsOf(report, speaks ? vek : undefined, revocationChecked), checks: checks.list };
}

/** A certificate that is past its end, or without a list of revoked ones, still says what it said. */
const ABOUT_TIME: readonly ReasonCode[] = ["CertificateExpired", "RevocationMissing"];

/** Whether what an endorsement says of a chip is its maker's word. */
function isGenuine(checks: readonly Check[]): boolean {
  return reasonsOf(checks).every((reason) => ABOUT_TIME.includes(reason));
}

/** What a genuine report can't say. */
function checkReport(checks: Checks, report: SnpReport): void {
  const { signatureAlgorithm, committedTcb, reportedTcb } = report;
  const isEcdsa = signatureAlgorithm === ECDSA_P384_SHA384;
  const [algorithm, tcb, chipKey] = SNP_REPORT_CHECKS;
  checks.require(algorithm, isEcdsa, "AlgorithmNotAllowed", `signature algorithm ${signatureAlgorithm}`);
  const tcbs = `committed ${tcbText(committedTcb)}, reported ${tcbText(reportedTcb)}`;
  checks.require(tcb, isTcbAtLeast(committedTcb, reportedTcb), "TcbMismatch", tcbs);
  checks.require(chipKey, !report.chipKeyMasked, "ChipHidden", "the chip's key is masked");
}

/** The endorsement of the report's kind of key, by preference the one of the key that signed. */
function signerOf(report: SnpReport, certificates: readonly Certificate[], crypto: AttestationCrypto): Vek | undefined {
  const veks = certificates.map(readVek).filter((vek) => vek !== undefined);
  const ofKind = veks.filter(({ kind }) => kind === signingKeyOf(report));
  if (ofKind.length < 2) return ofKind[0] ?? veks[0];
  return ofKind.find((vek) => isSignedBy(report, vek, crypto)) ?? ofKind[0];
}

function isSignedBy(
  { signedBytes, signature }: SnpReport,
  { certificate }: Vek,
  { verify }: AttestationCrypto,
): boolean {
  const algorithm = { type: "ecdsa", hash: "sha384" } as const;
  return verify(algorithm, certificate.publicKey, signedBytes, ecdsaSignature(signature));
}

function checkSigner(checks: Checks, report: SnpReport, vek: Vek): void {
  const { certificate, kind } = vek;
  const named = signingKeyOf(report);
  checks.require(
    "kind of signing key",
    kind === named,
    "EndorsementMismatch",
    `report: ${named}, certificate: ${kind}`,
  );
  const { keyType } = certificate;
  const isP384 = keyType.type === "ec" && keyType.curve === "P-384";
  checks.require("curve of signing key", isP384, "AlgorithmNotAllowed", "expected a key on P-384");
  const isPlain = !certificate.isCa && certificate.unknownCritical.length === 0 && vek.unreadable.length === 0;
  const problem = certificate.isCa ? "it is a CA" : [...certificate.unknownCritical, ...vek.unreadable].join(", ");
  checks.require("signing key's certificate", isPlain, "ChainInvalid", problem);
  const { product } = vek;
  const generation = generationOf(report, vek);
  const isOfProduct = product !== undefined && product === generation;
  const products = `report: ${generation ?? "unknown"}, issuer: ${product ?? certificate.issuer.text}`;
  checks.require("product", isOfProduct, "EndorsementMismatch", products);
  const tcb = product && tcbOfVek(vek, product);
  const isOfTcb = tcb !== undefined && bytesEqual(tcb, report.reportedTcb);
  const tcbs = `report: ${tcbText(report.reportedTcb)}, certificate: ${tcb ? tcbText(tcb) : "a part is missing"}`;
  checks.require("TCB", isOfTcb, "TcbMismatch", tcbs);
  checkChip(checks, report, vek);
}

/** A chip's own key is of exactly that chip; a provider's key is of the provider, and of no chip. */
function checkChip(checks: Checks, { chipId }: SnpReport, vek: Vek): void {
  if (vek.kind === "vlek") {
    const isOfProvider = vek.providerId !== undefined && vek.hardwareId === undefined;
    checks.require("provider", isOfProvider, "EndorsementMismatch", vek.providerId ?? "it names no provider");
    return;
  }
  checks.require("provider", vek.providerId === undefined, "EndorsementMismatch", "a chip's key names a provider");
  const isShown = chipId.some((byte) => byte !== 0);
  checks.require("chip is named", isShown, "ChipHidden", "the chip's id is zero");
  const isOfChip = vek.product !== undefined && isForChip(vek, chipId, vek.product);
  checks.require("chip", isOfChip, "EndorsementMismatch", "the certificate is of another chip");
}
