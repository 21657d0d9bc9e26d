/**
 * The entry for clients in browsers, `coco-framework/attestation`: judges evidence of a node by the verifiers and the appraisal that
 * nodes run, over WebCrypto. It asks no network and believes nobody: the constitution and the time come from whoever asks.
 */
import { type AppraisalReason, appraise } from "./appraise.ts";
import type { AttestationCrypto } from "./checks.ts";
import { withDeferredSignatures, type VerifySignatureLater } from "./deferred-signatures.ts";
import type { Claims, EvidenceCrypto, EvidenceRejection, HardwareRoots } from "./evidence.ts";
import { pinnedRoots } from "./pinned-roots.ts";
import { ecdsaSignature } from "./raw-keys.ts";
import { commonClaims, verifyEvidence } from "./verify-evidence.ts";
import { createWebVerifier, webDigest, type WebKey, type WebSignatures } from "./web-crypto.ts";
import { readKeyType, type VerifySignature } from "../core/certificates/algorithm.ts";
import { readOrNothing } from "../core/certificates/certificate.ts";
import type { Bytes } from "../core/codec/bytes.ts";
import { readDer } from "../core/codec/der.ts";
import { constitutionFromJson } from "../core/governance/constitution-codec.ts";
import type { EvidenceClaims } from "../core/governance/governance-crypto.ts";
import { CocoError } from "../errors.ts";

const RAW_SIGNATURE_BYTES = 64;

/** What evidence is judged by. */
export interface EvidenceQuestion {
  /** The constitution as JSON, from somebody who is trusted: its manifests say what is accepted. */
  readonly constitution: string;
  /** The 64 bytes that the evidence must be made for; undefined: they are compared by whoever asks. */
  readonly reportData?: Bytes;
  /** The time at which it must hold, in milliseconds since 1970. */
  readonly nowMs: number;
}

/** The Attestation Result. */
export interface EvidenceResult {
  readonly accepted: boolean;
  /** Why not; empty when accepted. */
  readonly reasons: readonly AppraisalReason[];
  /** What the evidence claims; undefined when it is not genuine. */
  readonly claims?: EvidenceClaims & { readonly reportData: Bytes };
}

/**
 * Judges evidence in its recorded form (`raw` of `GET /node/evidence`) with `crypto.subtle`. Throws `ConfigurationInvalid` for what
 * is no constitution.
 */
export async function judgeEvidence<Key extends WebKey>(
  evidence: Bytes,
  { constitution, reportData, nowMs }: EvidenceQuestion,
  subtle: WebSignatures<Key>,
): Promise<EvidenceResult> {
  const manifests = constitutionFromJson(constitution);
  return judgeLater(createWebVerifier(subtle), pinnedRoots(), (crypto) => {
    const claims = claimsOf(() => verifyEvidence(evidence, reportData, crypto, nowMs));
    if (!("tee" in claims)) return { accepted: false, reasons: [claims] };
    const common = commonClaims(claims);
    if ("problem" in common) throw new CocoError("Internal", "claims without what all claim");
    return { ...appraise(claims, manifests, nowMs), claims: { ...common, reportData: claims.reportData } };
  });
}

/**
 * Runs a judgement that asks for cryptography at once where signatures are verified later.
 * @param roots those pinned in this program; nothing but a test gives others
 */
export function judgeLater<T>(
  verifyLater: VerifySignatureLater,
  roots: HardwareRoots,
  judge: (crypto: EvidenceCrypto & { readonly hardware: { readonly crypto: AttestationCrypto } }) => T,
): Promise<T> {
  return withDeferredSignatures((verify) => {
    const sha256 = (data: Bytes): Bytes => webDigest("sha256", data);
    return judge({ sha256, verify: rawVerifier(verify), hardware: { crypto: { digest: webDigest, verify }, roots } });
  }, verifyLater);
}

function rawVerifier(verify: VerifySignature): EvidenceCrypto["verify"] {
  return (publicKey, data, signature) => {
    const key = readOrNothing(() => readDer(publicKey, readKeyType));
    if (key?.type !== "ec" || key.curve !== "P-256" || signature.length !== RAW_SIGNATURE_BYTES) return false;
    return verify({ type: "ecdsa", hash: "sha256" }, publicKey, data, ecdsaSignature(signature));
  };
}

function claimsOf(verify: () => Claims): Claims | AppraisalReason {
  try {
    return verify();
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "EvidenceRejected") throw error;
    const reason = String(error.data["reason"]) as EvidenceRejection;
    return { code: error.code, reason, message: error.message };
  }
}
