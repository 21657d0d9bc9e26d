/**
 * Everybody who may knock at a node's client port: the actors of a network, and each way of being none of them, with real
 * keys and certificates around the present time.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { RequestSigner } from "../../src/core/governance/request-signing.ts";
import { createActorSigner } from "../../src/enclave/manager/node-crypto.ts";
import type { ErrorCode } from "../../src/errors.ts";
import type { Founder } from "../../src/host/genesis.ts";
import {
  certificatesPem,
  DAY_MS,
  issue,
  issueRevocationList,
  makeKey,
  type CertificateOptions,
  type TestCertificate,
  USAGE,
} from "./issue-certificates.ts";

/** What an identity is to the network: a member or participant, perhaps a banned one, or why it is nobody (undefined: it shows nothing). */
export type Standing = "member" | "participant" | "banned" | ErrorCode | undefined;

/** Somebody with certificates and their key. */
export interface ClientIdentity {
  readonly name: string;
  readonly standing: Standing;
  /** Whom it speaks for; of a nobody, whom it claims to. */
  readonly actor: string;
  /** As TLS takes them; undefined: it shows no certificate. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly signer: RequestSigner | undefined;
}

/** Organisations around the present time, and who can be made of them. */
export interface Organisations {
  /** To be listed: `globex` and `hooli` are members, `umbrella` and `tyrell` are participants. */
  readonly founders: readonly Founder[];
  /** The list by which globex revokes a certificate of its staff, DER. */
  readonly revocations: Bytes;
  readonly identities: readonly ClientIdentity[];
  /** Signs for globex, with the certificate that is listed. */
  readonly globex: RequestSigner;
}

function identity(
  name: string,
  standing: Standing,
  actor: string,
  [leaf, ...others]: readonly [TestCertificate, ...TestCertificate[]],
): ClientIdentity {
  const { privateKey } = leaf.key;
  const chain = [leaf, ...others].map(({ der }) => der);
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const signer = { chain, ...createActorSigner(privateKey) };
  return { name, standing, actor, tls: { cert: certificatesPem(chain), key }, signer };
}

/** Makes the organisations; before they are asked about, `hooli` is to be removed and `tyrell` to be banned. */
export function makeOrganisations(nowMs: number): Organisations {
  const around = { fromMs: nowMs - 10 * DAY_MS, untilMs: nowMs + 10 * DAY_MS };
  const make = (options: CertificateOptions = {}): TestCertificate => issue({ ...around, ...options });
  const globex = make({ subject: "O=Globex, CN=Globex CA", ca: true });
  const umbrella = make({ subject: "O=Umbrella, CN=Umbrella CA", ca: true, key: makeKey("P-384") });
  const hooli = make({ subject: "CN=hooli" });
  const tyrell = make({ subject: "CN=tyrell" });
  const strange = make({ subject: "CN=Unknown CA", ca: true });
  const of = (options: CertificateOptions): TestCertificate =>
    make({ issuer: globex, subject: "CN=staff", ...options });
  const revoked = of({ subject: "CN=revoked" });
  // Its name and issuer are right, its signature is of another key.
  const forged = of({ signer: makeKey() });
  const middle = of({ subject: "CN=no CA" });
  const founder = (id: string, role: Founder["role"], { der }: TestCertificate): Founder => ({
    ...{ id, name: id, role, certificate: certificatesPem([der]) },
  });
  return {
    founders: [
      founder("globex", "member", globex),
      founder("hooli", "member", hooli),
      founder("umbrella", "participant", umbrella),
      founder("tyrell", "participant", tyrell),
    ],
    revocations: issueRevocationList({
      ...{ issuer: globex, revoked: [revoked], fromMs: nowMs - DAY_MS, untilMs: nowMs + 9 * DAY_MS },
    }),
    globex: { chain: [globex.der], ...createActorSigner(globex.key.privateKey) },
    identities: [
      { name: "nobody", standing: undefined, actor: "globex", tls: undefined, signer: undefined },
      identity("a stranger", "CertificateUnknown", "globex", [make({ subject: "CN=globex" })]),
      identity("staff of an unknown CA", "CertificateUnknown", "globex", [make({ issuer: strange }), strange]),
      identity("a forger", "CertificateUnknown", "globex", [forged, globex]),
      identity("a removed member", "CertificateUnknown", "hooli", [hooli]),
      identity("expired staff", "CertificateExpired", "globex", [of({ untilMs: nowMs - DAY_MS })]),
      identity("revoked staff", "CertificateRevoked", "globex", [revoked]),
      identity("staff of tomorrow", "CertificateInvalid", "globex", [of({ fromMs: nowMs + DAY_MS })]),
      identity("staff that may not sign", "CertificateInvalid", "globex", [of({ usage: USAGE.keyAgreement })]),
      identity("staff of staff", "CertificateInvalid", "globex", [make({ issuer: middle }), middle]),
      identity("a banned participant", "banned", "tyrell", [tyrell]),
      identity("staff of a participant", "participant", "umbrella", [make({ issuer: umbrella })]),
      identity("staff of a member", "member", "globex", [of({ key: makeKey("P-384") })]),
    ],
  };
}

/** An identity of certificates and a key that were made elsewhere, PEM. */
export function identityOf(
  parts: Pick<ClientIdentity, "name" | "standing" | "actor">,
  tls: { readonly cert: string; readonly key: string },
  signer: RequestSigner,
): ClientIdentity {
  return { ...parts, tls, signer };
}
