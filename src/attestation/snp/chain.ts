/**
 * The chain of a signing key: VEK, signed by the product's intermediate (ASK, for VLEKs ASVK), signed by the product's root
 * (ARK), which is pinned. All of them sign by RSASSA-PSS with SHA-384. Certificates come in any order, with others among them.
 */
import { type Certificate, readOrNothing } from "../../core/certificates/certificate.ts";
import { parseRevocationList, type RevocationList } from "../../core/certificates/crl.ts";
import { commonNameOf } from "../../core/certificates/name.ts";
import { namesIssuer, signatureProblem } from "../../core/certificates/path.ts";
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { AttestationCrypto, Checks } from "../checks.ts";
import type { SnpRoots } from "./roots.ts";
import type { Vek } from "./vek.ts";

/** Most signatures of certificates that are verified for one report; a chain that is not found by then is none. */
export const MAX_CHAIN_SIGNATURES = 24;
/** Most lists of revoked certificates that evidence may carry. */
export const MAX_SNP_REVOCATION_LISTS = 8;

/** Name of the check whether there is a good list of revoked certificates: only lists are at fault when it fails. */
export const SNP_LIST_CHECK = "revocation list";

/** What a chain is judged by. */
export interface ChainContext {
  readonly certificates: readonly Certificate[];
  readonly revocations: readonly Bytes[];
  readonly roots: SnpRoots;
  readonly nowMs: number;
  readonly crypto: AttestationCrypto;
}

interface Chain {
  readonly intermediate: Certificate;
  readonly root: Certificate;
}

/** Judges the chain of a signing key; tells whether a current revocation list was looked at. */
export function checkChain(checks: Checks, vek: Vek, context: ChainContext): boolean {
  const chain = new ChainSearch(context).chainOf(checks, vek.certificate);
  if (chain === undefined) return false;
  const path = [vek.certificate, chain.intermediate, chain.root];
  checks.require(
    "chain's algorithms",
    path.every(isSignedAsAmdDoes),
    "AlgorithmNotAllowed",
    "expected RSASSA-PSS with SHA-384",
  );
  checkIssuer(checks, "intermediate", chain.intermediate);
  checkIssuer(checks, "root as issuer", chain.root);
  checkRoot(checks, chain.root, vek, context);
  const outside = path.find(({ notBeforeMs, notAfterMs }) => context.nowMs < notBeforeMs || context.nowMs > notAfterMs);
  checks.require("validity", outside === undefined, "CertificateExpired", outside ? validityOf(outside) : "");
  return checkRevocation(checks, chain, context);
}

class ChainSearch {
  readonly #context: ChainContext;
  #signaturesLeft = MAX_CHAIN_SIGNATURES;

  constructor(context: ChainContext) {
    this.#context = context;
  }

  /** Of the chains whose signatures hold, one that ends in a pin, or else any. */
  chainOf(checks: Checks, certificate: Certificate): Chain | undefined {
    let found: Chain | undefined;
    const intermediates = this.#issuersOf(certificate);
    for (const intermediate of intermediates) {
      for (const root of this.#issuersOf(intermediate)) {
        const chain = { intermediate, root };
        if (isPinned(root, this.#context)) return this.#note(checks, certificate, chain);
        found ??= chain;
      }
    }
    return this.#note(checks, intermediates[0] ?? certificate, found);
  }

  #note(checks: Checks, last: Certificate, chain: Chain | undefined): Chain | undefined {
    const isNamed = this.#candidatesFor(last).length > 0;
    const code = isNamed ? "ChainInvalid" : "CertificateMissing";
    const problem = isNamed ? "did not sign it" : "is not there";
    checks.require("chain", chain !== undefined, code, `${last.subject.text}: its issuer ${problem}`);
    return chain;
  }

  #candidatesFor(certificate: Certificate): readonly Certificate[] {
    return this.#context.certificates.filter((candidate) => namesIssuer(certificate, candidate));
  }

  #issuersOf(certificate: Certificate): readonly Certificate[] {
    return this.#candidatesFor(certificate).filter((candidate) => {
      if (this.#signaturesLeft-- <= 0) return false;
      return signatureProblem(certificate, candidate, this.#context.crypto.verify) === undefined;
    });
  }
}

function isSignedAsAmdDoes({ algorithm }: Certificate): boolean {
  return algorithm.type === "rsa-pss" && algorithm.hash === "sha384";
}

function isPinned(root: Certificate, { roots, crypto }: ChainContext): boolean {
  return Object.values(roots.pins).includes(toHex(crypto.digest("sha256", root.publicKey)));
}

function checkIssuer(checks: Checks, name: string, certificate: Certificate): void {
  const { isCa, keyUsage, unknownCritical, subject } = certificate;
  const mayIssue = isCa && keyUsage?.certificateSign !== false && unknownCritical.length === 0;
  checks.require(name, mayIssue, "ChainInvalid", `${subject.text} may not issue certificates`);
}

/** The root must be the pinned one of the signing key's own product, and say so itself. */
function checkRoot(checks: Checks, root: Certificate, { product }: Vek, { roots, crypto }: ChainContext): void {
  const digest = toHex(crypto.digest("sha256", root.publicKey));
  const isOwn = signatureProblem(root, root, crypto.verify) === undefined;
  const isTrusted = product !== undefined && roots.pins[product] === digest && isOwn;
  const isNamed = product !== undefined && commonNameOf(root.subject) === `ARK-${product}`;
  checks.require("root", isTrusted && isNamed, "RootNotTrusted", `${root.subject.text}, key ${digest}`);
}

function validityOf({ subject, notBeforeMs, notAfterMs }: Certificate): string {
  return `${subject.text} holds from ${dateText(notBeforeMs)} to ${dateText(notAfterMs)}`;
}

function dateText(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function checkRevocation(checks: Checks, { intermediate, root }: Chain, context: ChainContext): boolean {
  const { revocations, nowMs, crypto } = context;
  if (revocations.length === 0) {
    checks.skip("revocation", "no list of revoked certificates came with the evidence");
    return false;
  }
  const mayList = root.keyUsage?.revocationListSign !== false;
  const genuine = revocations
    .map((der) => readOrNothing(() => parseRevocationList(der)))
    .filter((list): list is RevocationList => list !== undefined && list.issuer.key === root.subject.key)
    .filter((list) => mayList && signatureProblem(list, root, crypto.verify) === undefined);
  const isRevoked = genuine.some(({ revoked }) => revoked.has(intermediate.serial));
  checks.require("revocation", !isRevoked, "CertificateRevoked", `${intermediate.subject.text} is revoked`);
  const isCurrent = genuine.some(({ thisUpdateMs, nextUpdateMs }) => thisUpdateMs <= nowMs && nowMs <= nextUpdateMs);
  checks.require(SNP_LIST_CHECK, isCurrent, "RevocationMissing", `no current list that ${root.subject.text} signed`);
  return isCurrent;
}
