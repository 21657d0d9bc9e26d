/**
 * Who a client is: the actor its certificates speak for under the constitution in force (R3), or why they speak for nobody.
 *
 * A verdict is kept with the connection's certificates. One that accepts holds until the actors change, or a certificate or
 * revocation list it rests on ends; one that refuses is looked at again after a second.
 */
import type { Caller } from "../../adapters/adapter.ts";
import { ActorIndex, type UnknownActor } from "../../core/certificates/actor-index.ts";
import type { VerifySignature } from "../../core/certificates/algorithm.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { createCertificateVerifier, sha256 } from "./node-crypto.ts";

/** How long a client is refused without another look at its certificates. */
export const CALLER_CACHE_MS = 1_000;

interface Verdict {
  readonly index: ActorIndex;
  readonly atMs: number;
  readonly untilMs: number;
  readonly caller: Caller | CocoError;
}

/** What a client is told whose certificate speaks for nobody. */
function certificateRefusal({ problem, subject }: UnknownActor): CocoError {
  const [code, words] = REFUSALS[problem];
  return new CocoError(code, subject === "" ? words : `${words}: ${subject}`, { problem });
}

const REFUSALS: Readonly<Record<UnknownActor["problem"], readonly [ErrorCode, string]>> = {
  UnknownIssuer: ["CertificateUnknown", "no certificate of the constitution, nor issued by a CA certificate of it"],
  BadSignature: ["CertificateUnknown", "not signed by the CA it names"],
  Expired: ["CertificateExpired", "expired"],
  Revoked: ["CertificateRevoked", "revoked by its organisation"],
  RevocationExpired: ["CertificateInvalid", "no current revocation list of its issuer"],
  NotYetValid: ["CertificateInvalid", "not valid yet"],
  NotACa: ["CertificateInvalid", "issued by a certificate that is no CA"],
  PathTooLong: ["CertificateInvalid", "too many certificates between it and the constitution's"],
  KeyUsage: ["CertificateInvalid", "its usage does not allow this"],
  NameConstraint: ["CertificateInvalid", "a name that a CA above it may not issue for"],
  UnsupportedCriticalExtension: ["CertificateInvalid", "a critical extension that is not supported"],
  WeakKey: ["CertificateInvalid", "a key or signature algorithm that is too weak or not supported"],
  Malformed: ["CertificateInvalid", "no X.509 certificate in strict DER, or too many of them"],
};

/** See the module's header. */
export class Callers {
  readonly #verify: VerifySignature;
  readonly #verdicts = new WeakMap<readonly Bytes[], Verdict>();
  #listed: Constitution["actors"];
  #index: ActorIndex;

  constructor(constitution: Constitution, verify = createCertificateVerifier()) {
    this.#verify = verify;
    this.#listed = constitution.actors;
    this.#index = this.#indexOf(constitution);
  }

  #indexOf(constitution: Constitution): ActorIndex {
    return new ActorIndex(constitution.actors, { sha256, verify: this.#verify });
  }

  /** From now on this constitution counts. */
  follow(constitution: Constitution): void {
    if (constitution.actors === this.#listed) return;
    this.#listed = constitution.actors;
    this.#index = this.#indexOf(constitution);
  }

  /** The caller behind a chain of certificates (DER), its own first; the same array for each request of a connection. */
  identify(chain: readonly Bytes[], nowMs: number): Caller | CocoError {
    const known = this.#verdicts.get(chain);
    if (known?.index === this.#index && known.atMs <= nowMs && nowMs <= known.untilMs) return known.caller;
    const found = this.#index.identify(chain, nowMs);
    const isRefused = "problem" in found;
    const caller = isRefused ? certificateRefusal(found) : { actor: found.actor, certificate: found.certificate };
    const untilMs = isRefused ? nowMs + CALLER_CACHE_MS : found.untilMs;
    this.#verdicts.set(chain, { index: this.#index, atMs: nowMs, untilMs, caller });
    return caller;
  }
}
