/**
 * Finds the actor a certificate speaks for (R3): one that is listed with it, or with a CA certificate a path leads to.
 *
 * Made anew when the list of actors changes. Listed certificates are found by their fingerprint and by their subject's
 * name; revocation lists are read when the first certificate needs them. Actors are looked at in the order of the list,
 * so that every node comes to the same verdict; that no two of them list the same certificate is the constitution's rule.
 */
import { bytesKey, toHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import type { VerifySignature } from "./algorithm.ts";
import { type Certificate, parseCertificate, readOrNothing, tryParseCertificate } from "./certificate.ts";
import { parseRevocationList, type RevocationList } from "./crl.ts";
import { namesIssuer, type PathProblem, type RefusedPath, tellingRefusal, validatePath } from "./path.ts";

/** Most certificates presented together: the caller's own and what may lead to an anchor. */
export const MAX_PRESENTED_CERTIFICATES = 8;
/** Most actors whose certificates are tried for one caller; more can have the same name only by their own doing. */
export const MAX_CANDIDATE_ACTORS = 8;

/** Most issuers' keys whose verdicts on one revocation list are remembered: who makes more of them has them verified again. */
export const MAX_REMEMBERED_ISSUERS = 64;

/** An actor as the index needs it. */
export interface ListedActor {
  readonly id: string;
  readonly role: "member" | "participant";
  /** CA certificates or leaf certificates, DER. */
  readonly certificates: readonly Bytes[];
  /** Revocation lists of its CAs, DER. */
  readonly revocations: readonly Bytes[];
}

/** Who a certificate speaks for. */
export interface IdentifiedActor {
  readonly actor: string;
  readonly role: ListedActor["role"];
  /** Lower-case hex SHA-256 of the presented certificate (DER). */
  readonly certificate: string;
  /** The last millisecond until which this holds, as long as the list of actors stays the same. */
  readonly untilMs: number;
}

/** Why a certificate speaks for nobody. */
export interface UnknownActor {
  readonly problem: PathProblem | "Malformed";
  /** Subject of the certificate that has the problem, for people; empty when it could not be read. */
  readonly subject: string;
}

interface Entry {
  readonly actor: ListedActor;
  readonly anchors: readonly Certificate[];
  /** Undefined until they are needed. */
  revocations: readonly RevocationList[] | "unreadable" | undefined;
}

interface Anchor {
  readonly entry: Entry;
  readonly certificate: Certificate;
}

/** Keeps what was verified for as long as the data is kept: a revocation list's signature is looked at once. */
function remembering(verify: VerifySignature): VerifySignature {
  const verdicts = new WeakMap<Bytes, Map<string, boolean>>();
  return (algorithm, publicKey, data, signature) => {
    let byKey = verdicts.get(data);
    if (byKey === undefined) {
      byKey = new Map();
      verdicts.set(data, byKey);
    }
    const key = bytesKey(publicKey);
    const known = byKey.get(key) ?? verify(algorithm, publicKey, data, signature);
    if (byKey.size >= MAX_REMEMBERED_ISSUERS && !byKey.has(key)) byKey.clear();
    byKey.set(key, known);
    return known;
  };
}

/** See the module's header. */
export class ActorIndex {
  readonly #sha256: HashFunction;
  readonly #verify: VerifySignature;
  readonly #byFingerprint = new Map<string, Entry>();
  readonly #bySubject = new Map<string, Anchor[]>();

  /** A certificate that cannot be read, which a verified constitution does not have, speaks for nobody. */
  constructor(
    actors: readonly ListedActor[],
    crypto: { readonly sha256: HashFunction; readonly verify: VerifySignature },
  ) {
    this.#sha256 = crypto.sha256;
    this.#verify = remembering(crypto.verify);
    for (const actor of actors) this.#add(actor);
  }

  #add(actor: ListedActor): void {
    const anchors = actor.certificates.flatMap((der) => tryParseCertificate(der) ?? []);
    const entry: Entry = { actor, anchors, revocations: undefined };
    for (const certificate of anchors) {
      const fingerprint = toHex(this.#sha256(certificate.der));
      if (!this.#byFingerprint.has(fingerprint)) this.#byFingerprint.set(fingerprint, entry);
      const { key } = certificate.subject;
      const namesakes = this.#bySubject.get(key);
      if (namesakes === undefined) this.#bySubject.set(key, [{ entry, certificate }]);
      else namesakes.push({ entry, certificate });
    }
  }

  /** The actor a chain speaks for: the caller's certificate first, then what may lead from it to an anchor. */
  identify(chain: readonly Bytes[], nowMs: number): IdentifiedActor | UnknownActor {
    const malformed = { problem: "Malformed", subject: "" } as const;
    if (chain.length > MAX_PRESENTED_CERTIFICATES) return malformed;
    const certificates = readOrNothing(() => chain.map(parseCertificate));
    const [leaf, ...intermediates] = certificates ?? [];
    if (leaf === undefined) return malformed;
    const fingerprint = toHex(this.#sha256(leaf.der));
    let refusal: RefusedPath | undefined;
    for (const entry of this.#candidates(fingerprint, [leaf, ...intermediates])) {
      const revocations = revocationsOf(entry);
      const verdict =
        revocations === "unreadable"
          ? ({ problem: "RevocationExpired", certificate: leaf } as const)
          : validatePath({ leaf, intermediates, anchors: entry.anchors, revocations, nowMs, verify: this.#verify });
      if (!("problem" in verdict)) {
        const { id, role } = entry.actor;
        return { actor: id, role, certificate: fingerprint, untilMs: verdict.untilMs };
      }
      refusal = tellingRefusal(refusal, verdict);
    }
    const { problem, certificate } = refusal ?? { problem: "UnknownIssuer", certificate: leaf };
    return { problem, subject: certificate.subject.text };
  }

  #candidates(fingerprint: string, certificates: readonly Certificate[]): Iterable<Entry> {
    const listed = this.#byFingerprint.get(fingerprint);
    if (listed !== undefined) return [listed];
    const candidates = new Set<Entry>();
    for (const certificate of certificates) {
      for (const { entry, certificate: anchor } of this.#bySubject.get(certificate.issuer.key) ?? []) {
        if (candidates.size < MAX_CANDIDATE_ACTORS && namesIssuer(certificate, anchor)) candidates.add(entry);
      }
    }
    return candidates;
  }
}

/** Revocation lists that governance let in can be read; where one cannot, what it revokes is not known. */
function revocationsOf(entry: Entry): readonly RevocationList[] | "unreadable" {
  entry.revocations ??= readOrNothing(() => entry.actor.revocations.map(parseRevocationList)) ?? "unreadable";
  return entry.revocations;
}
