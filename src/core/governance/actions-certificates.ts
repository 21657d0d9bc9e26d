/** Actions on the certificates of an actor and on what it has revoked: keys roll over while the actor's id stays (R3). */
import { bytesEqual, fromHex, toHex, type Bytes } from "../codec/bytes.ts";
import {
  readActorId,
  requireActor,
  requireChange,
  withReplaced,
  type ActionContext,
  type ActionKind,
} from "./action-kind.ts";
import { readRevocations } from "./constitution-codec.ts";
import { MAX_ACTOR_CERTIFICATES, MAX_CERTIFICATE_BYTES, type Actor, type Constitution } from "./constitution.ts";
import { PemField } from "./fields.ts";
import { refused } from "./refusal.ts";

const FINGERPRINT_BYTES = 32;

/** One more certificate of an actor. */
export interface AddCertificateArgs {
  readonly actor: string;
  readonly certificate: Bytes;
}

/** A certificate of an actor, by its lower-case hex SHA-256. */
export interface RemoveCertificateArgs {
  readonly actor: string;
  readonly fingerprint: string;
}

/** All lists of revoked certificates of an actor. */
export interface SetRevocationsArgs {
  readonly actor: string;
  readonly revocations: readonly Bytes[];
}

/** Refuses a certificate that could not be used now. */
export function requireUsable(certificate: Bytes, { crypto, nowMs }: ActionContext): void {
  const description = crypto.describeCertificate(certificate);
  if (description === undefined) throw refused("CertificateMalformed", "expected an X.509 certificate");
  const { subject, notAfterMs, keyType, isCa, canSign } = description;
  if (notAfterMs < nowMs)
    throw refused(
      "CertificateExpired",
      `the certificate of ${subject} expired at ${new Date(notAfterMs).toISOString()}`,
    );
  if (keyType === "other")
    throw refused("CertificateKeyType", `the key of the certificate of ${subject} is neither P-256 nor P-384`);
  const lacks = isCa ? "its key may not sign certificates" : "its key may not sign";
  if (!canSign) throw refused("CertificateUsage", `the certificate of ${subject} can't speak for an actor: ${lacks}`);
}

/** Refuses a certificate that somebody is listed with: it would speak for two. */
export function requireUnlisted(
  { actors }: { readonly actors: readonly Pick<Actor, "id" | "certificates">[] },
  certificate: Bytes,
): void {
  const holder = actors.find(({ certificates }) => certificates.some((other) => bytesEqual(other, certificate)));
  if (holder !== undefined) throw refused("CertificateInUse", `${holder.id} is listed with the certificate already`);
}

function withActor(constitution: Constitution, actor: Actor, change: Partial<Actor>): Constitution {
  return { ...constitution, actors: withReplaced(constitution.actors, actor, { ...actor, ...change }) };
}

const ADD: ActionKind<AddCertificateArgs> = {
  read: (fields) => ({
    actor: readActorId(fields),
    certificate: fields.certificate("certificate", MAX_CERTIFICATE_BYTES),
  }),
  tree: ({ actor, certificate }) => ({ actor, certificate: new PemField(certificate, "CERTIFICATE") }),
  apply: (constitution, { actor: id, certificate }, context) => {
    const actor = requireActor(constitution, id);
    requireUsable(certificate, context);
    requireUnlisted(constitution, certificate);
    const certificates = [...actor.certificates, certificate];
    return withActor(constitution, actor, { certificates });
  },
};

const REMOVE: ActionKind<RemoveCertificateArgs> = {
  read: (fields) => ({ actor: readActorId(fields), fingerprint: fields.hex("fingerprint", FINGERPRINT_BYTES) }),
  tree: ({ actor, fingerprint }) => ({ actor, fingerprint: fromHex(fingerprint) }),
  apply: (constitution, { actor: id, fingerprint }, { crypto }) => {
    const actor = requireActor(constitution, id);
    const certificates = actor.certificates.filter((der) => toHex(crypto.sha256(der)) !== fingerprint);
    if (certificates.length === actor.certificates.length)
      throw refused("CertificateUnknown", `${id} has no certificate with SHA-256 ${fingerprint}`);
    return withActor(constitution, actor, { certificates });
  },
};

const SET_REVOCATIONS: ActionKind<SetRevocationsArgs> = {
  read: (fields) => ({ actor: readActorId(fields), revocations: readRevocations(fields) }),
  tree: ({ actor, revocations }) => ({ actor, revocations: revocations.map((list) => new PemField(list, "X509 CRL")) }),
  apply: (constitution, { actor: id, revocations }) => {
    const actor = requireActor(constitution, id);
    requireChange(actor.revocations, revocations, `what ${id} has revoked`);
    return withActor(constitution, actor, { revocations });
  },
};

/** Refuses actors that are listed without a certificate, with too many, or with lists that count for nothing. */
export function checkCertificates({ actors }: Constitution, before: Constitution, context: ActionContext): void {
  const { crypto } = context;
  for (const actor of actors) {
    if (before.actors.includes(actor)) continue;
    const { id, certificates, revocations } = actor;
    if (certificates.length === 0) throw refused("LastCertificate", `${id} would be left without a certificate`);
    if (certificates.length > MAX_ACTOR_CERTIFICATES)
      throw refused(
        "CertificatesFull",
        `${id} would have ${certificates.length} of ${MAX_ACTOR_CERTIFICATES} certificates`,
      );
    const authorities = certificates.filter((certificate) => crypto.describeCertificate(certificate)?.isCa === true);
    for (const [at, list] of revocations.entries()) {
      if (!authorities.some((certificate) => crypto.revocationListOf(list, certificate) !== undefined))
        throw refused("RevocationsNotSigned", `list ${at + 1} of ${id} is signed by none of its CA certificates`);
    }
    const isNew = !before.actors.some((other) => other.revocations === revocations);
    if (isNew) for (const authority of authorities) requireCurrent(actor, authority, context);
  }
}

/** Refuses lists of a CA none of which is current: from then on everything the CA issued would be refused. */
function requireCurrent({ id, revocations }: Actor, authority: Bytes, { crypto, nowMs }: ActionContext): void {
  const lists = revocations.flatMap((list) => crypto.revocationListOf(list, authority) ?? []);
  if (lists.length === 0) return;
  if (lists.some(({ thisUpdateMs, nextUpdateMs }) => thisUpdateMs <= nowMs && nowMs <= nextUpdateMs)) return;
  const subject = crypto.describeCertificate(authority)?.subject ?? "";
  const [from, until] = [
    Math.min(...lists.map(({ thisUpdateMs }) => thisUpdateMs)),
    Math.max(...lists.map(({ nextUpdateMs }) => nextUpdateMs)),
  ];
  throw refused(
    "RevocationsNotCurrent",
    `no list of ${subject} of ${id} is current at ${timeText(nowMs)}: issued at ${timeText(from)}, next update at ${timeText(until)}`,
  );
}

const timeText = (timeMs: number): string => new Date(timeMs).toISOString();

/** The actions of this file. */
export const CERTIFICATE_ACTIONS = {
  add_certificate: ADD,
  remove_certificate: REMOVE,
  set_revocations: SET_REVOCATIONS,
};
