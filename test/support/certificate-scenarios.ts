/**
 * Chains with their intended verdicts, and what `openssl verify` says where it differs, with the reason. Used by the tests of
 * path validation; made once per process.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { PathProblem } from "../../src/core/certificates/path.ts";
import {
  type CertificateOptions,
  DAY_MS,
  issue,
  issueRevocationList,
  makeKey,
  NOW_MS,
  PURPOSE,
  type TestCertificate,
  USAGE,
} from "./issue-certificates.ts";
import { nothing } from "./der-writer.ts";

export interface Scenario {
  readonly name: string;
  readonly leaf: Bytes;
  readonly intermediates?: readonly Bytes[];
  readonly anchors: readonly Bytes[];
  readonly revocations?: readonly Bytes[];
  readonly nowMs?: number;
  readonly expected: "accepted" | PathProblem;
  /** Why openssl comes to the other verdict on purpose. */
  readonly opensslDiffers?: string;
  /** How openssl is asked about revocation; it wants a list of every CA then. */
  readonly crlCheck?: "-crl_check" | "-crl_check_all";
}

const past = { fromMs: NOW_MS - 30 * DAY_MS, untilMs: NOW_MS - 20 * DAY_MS };
const future = { fromMs: NOW_MS + DAY_MS, untilMs: NOW_MS + 2 * DAY_MS };
const root = issue({ subject: "O=Contoso, CN=Root", ca: true });
const rsaKey = makeKey("rsa");
const rsaRoot = issue({ subject: "O=Contoso, CN=RSA Root", ca: true, key: rsaKey });

function chain(
  name: string,
  expected: Scenario["expected"],
  certificates: readonly TestCertificate[],
  more: Partial<Scenario> = {},
): Scenario {
  const [leaf, ...above] = certificates.map(({ der }) => der) as [Bytes, ...Bytes[]];
  return { name, expected, leaf, intermediates: above.slice(0, -1), anchors: above.slice(-1), ...more };
}

/** A leaf with these options under an intermediate and a root with theirs. */
function three(
  name: string,
  expected: Scenario["expected"],
  options: {
    readonly leaf?: CertificateOptions;
    readonly middle?: CertificateOptions;
    readonly top?: CertificateOptions;
  },
  more: Partial<Scenario> = {},
): Scenario {
  const top = options.top === undefined ? root : issue({ subject: "O=Contoso, CN=Top", ca: true, ...options.top });
  const middle = issue({ subject: "O=Contoso, CN=Issuing", ca: true, issuer: top, ...options.middle });
  const leaf = issue({ subject: "O=Contoso, CN=Ann Smith", issuer: middle, ...options.leaf });
  return chain(name, expected, [leaf, middle, top], more);
}

const named = (
  name: string,
  expected: Scenario["expected"],
  permitted: readonly string[],
  leaf: CertificateOptions,
): Scenario => three(name, expected, { middle: { permitted }, leaf });
const without = (
  name: string,
  expected: Scenario["expected"],
  excluded: readonly string[],
  leaf: CertificateOptions,
): Scenario => three(name, expected, { middle: { excluded }, leaf });

function plainChains(): Scenario[] {
  const deep = (depth: number): TestCertificate[] => {
    const path = [root];
    for (let at = 0; at < depth; at++)
      path.unshift(
        issue({ subject: `O=Contoso, CN=Level ${at}`, ca: at < depth - 1, issuer: path[0] as TestCertificate }),
      );
    return path;
  };
  const p384 = issue({ subject: "CN=P-384 Root", ca: true, key: makeKey("P-384") });
  const p521 = issue({ subject: "CN=P-521 Root", ca: true, key: makeKey("P-521") });
  const edwards = issue({ subject: "CN=Ed25519 Root", ca: true, key: makeKey("ed25519") });
  const weak = issue({ subject: "CN=Weak Root", ca: true, key: makeKey("rsa-1024") });
  return [
    chain("a certificate under a root", "accepted", deep(1)),
    chain("one intermediate", "accepted", deep(2)),
    chain("two intermediates", "accepted", deep(3)),
    chain("three intermediates", "PathTooLong", deep(4), {
      opensslDiffers: "a path has at most four certificates here",
    }),
    chain("P-384 throughout", "accepted", [issue({ issuer: p384, key: makeKey("P-384") }), p384]),
    chain("P-384 CA that signs with SHA-256", "accepted", [issue({ issuer: p384, hash: "sha256" }), p384]),
    chain("P-521 CA", "accepted", [issue({ issuer: p521 }), p521]),
    chain("RSA CA", "accepted", [issue({ issuer: rsaRoot }), rsaRoot]),
    chain("RSA-PSS signature", "accepted", [issue({ issuer: rsaRoot, algorithm: "pss" }), rsaRoot]),
    chain("RSA key of the leaf", "accepted", [issue({ issuer: root, key: rsaKey }), root]),
    chain("Ed25519 CA", "accepted", [issue({ issuer: edwards }), edwards]),
    chain("RSA CA of 1024 bits", "WeakKey", [issue({ issuer: weak }), weak]),
    chain("leaf key of 1024 bits", "WeakKey", [issue({ issuer: root, key: makeKey("rsa-1024") }), root]),
    chain("a signature over SHA-1", "WeakKey", [issue({ issuer: root, hash: "sha1" }), root]),
    chain("without key ids", "accepted", [issue({ issuer: root, keyIds: false }), root]),
    { name: "a listed leaf", expected: "accepted", leaf: rsaRoot.der, anchors: [root.der, rsaRoot.der] },
    { name: "an intermediate as anchor", expected: "accepted", ...anchoredAtIntermediate() },
    { name: "a stranger", expected: "UnknownIssuer", leaf: issue().der, anchors: [root.der] },
    { name: "a missing intermediate", expected: "UnknownIssuer", leaf: deep(2)[0]!.der, anchors: [root.der] },
    chain("a stranger of the root's name", "BadSignature", [
      issue({ issuer: { ...root, key: makeKey() }, keyIds: false }),
      root,
    ]),
    chain("a stranger of the root's name and key id", "BadSignature", [
      issue({ issuer: root, signer: makeKey(), keyIds: false }),
      root,
    ]),
    {
      ...chain("a superfluous root among the intermediates", "accepted", deep(2)),
      intermediates: deep(2).map(({ der }) => der),
      ...superfluousRoot(),
    },
  ];
}

function anchoredAtIntermediate(): Pick<Scenario, "leaf" | "anchors"> {
  const middle = issue({ subject: "CN=Listed Intermediate", ca: true, issuer: root });
  return { leaf: issue({ issuer: middle }).der, anchors: [middle.der] };
}

function superfluousRoot(): Pick<Scenario, "leaf" | "intermediates"> {
  const middle = issue({ subject: "CN=Issuing", ca: true, issuer: root });
  return { leaf: issue({ issuer: middle }).der, intermediates: [root.der, middle.der] };
}

function brokenChains(): Scenario[] {
  const ca = (options: CertificateOptions): CertificateOptions => ({
    subject: "CN=Issuing",
    ca: true,
    issuer: root,
    ...options,
  });
  const notCa = issue(ca({ ca: false }));
  const selfIssued = issue({ subject: "O=Contoso, CN=Root", ca: true, issuer: root, key: makeKey() });
  const shallow = issue({ subject: "CN=Shallow", ca: { pathLength: 0 } });
  const rolled = issue({ subject: "CN=Shallow", ca: true, issuer: shallow, key: makeKey() });
  const policy = { identifier: "1.2.3.4", critical: true, value: nothing() };
  return [
    three("an expired leaf", "Expired", { leaf: past }),
    three("an expired intermediate", "Expired", { middle: past }),
    three("an expired root", "Expired", { top: past }),
    three("a leaf of tomorrow", "NotYetValid", { leaf: future }),
    three("an intermediate of tomorrow", "NotYetValid", { middle: future }),
    three("the first second", "accepted", { leaf: { fromMs: NOW_MS } }),
    three(
      "the last second",
      "accepted",
      { leaf: { untilMs: NOW_MS } },
      { opensslDiffers: "the last second is inclusive (RFC 5280, 4.1.2.5)" },
    ),
    three("the second after the last", "Expired", { leaf: { untilMs: NOW_MS - 1000 } }),
    chain("a leaf used as CA", "NotACa", [issue({ issuer: notCa }), notCa, root]),
    three("a CA that must not sign certificates", "KeyUsage", { middle: { usage: USAGE.digitalSignature } }),
    three("a CA without key usage", "accepted", { middle: { usage: 0 } }),
    three("a leaf without key usage", "accepted", { leaf: { usage: 0 } }),
    three(
      "a leaf for key agreement only",
      "KeyUsage",
      { leaf: { usage: USAGE.keyAgreement } },
      { opensslDiffers: "TLS 1.3 and votes need signatures" },
    ),
    three("a leaf for certificates only", "KeyUsage", { leaf: { usage: USAGE.certificateSign } }),
    three("a leaf for servers", "KeyUsage", { leaf: { purposes: [PURPOSE.server] } }),
    three("a leaf for servers and clients", "accepted", { leaf: { purposes: [PURPOSE.server, PURPOSE.client] } }),
    three("a CA for servers", "KeyUsage", { middle: { purposes: [PURPOSE.server] } }),
    three("a CA for clients", "accepted", { middle: { purposes: [PURPOSE.client] } }),
    three("path length 0 with a CA below", "PathTooLong", { top: { ca: { pathLength: 0 } } }),
    three("path length 1 with a CA below", "accepted", { top: { ca: { pathLength: 1 } } }),
    three("path length 0 of the issuing CA", "accepted", { middle: { ca: { pathLength: 0 } } }),
    chain("path length 0 and the CA's own new key", "accepted", [issue({ issuer: rolled }), rolled, shallow]),
    chain("the CA's own new key", "accepted", [issue({ issuer: selfIssued }), selfIssued, root]),
    three("an unknown critical extension of the leaf", "UnsupportedCriticalExtension", { leaf: { more: [policy] } }),
    three("an unknown critical extension of a CA", "UnsupportedCriticalExtension", { middle: { more: [policy] } }),
    three("an unknown extension that is not critical", "accepted", {
      leaf: { more: [{ ...policy, critical: false }] },
    }),
    three("an anchor with an unknown critical extension", "UnsupportedCriticalExtension", { top: { more: [policy] } }),
  ];
}

function constrainedChains(): Scenario[] {
  const subject = "O=Contoso, CN=Ann Smith";
  return [
    named("a subject within the permitted directory", "accepted", ["dir:O=Contoso"], { subject }),
    named("a subject in other letters and spaces", "accepted", ["dir:O=CONTOSO  Ltd"], {
      subject: "O=contoso ltd, CN=Ann",
    }),
    named("a subject outside of the permitted directory", "NameConstraint", ["dir:O=Contoso"], {
      subject: "O=Fabrikam, CN=Ann",
    }),
    without("a subject in the excluded directory", "NameConstraint", ["dir:O=contoso"], { subject }),
    named("a host below the permitted domain", "accepted", ["dns:contoso.org"], { names: ["dns:vpn.contoso.org"] }),
    named("the permitted domain itself", "accepted", ["dns:contoso.org"], { names: ["dns:CONTOSO.org"] }),
    named("a host whose name ends alike", "NameConstraint", ["dns:contoso.org"], { names: ["dns:notcontoso.org"] }),
    named("one of two hosts outside", "NameConstraint", ["dns:contoso.org"], {
      names: ["dns:a.contoso.org", "dns:a.org"],
    }),
    without("an excluded host", "NameConstraint", ["dns:secret.contoso.org"], { names: ["dns:a.secret.contoso.org"] }),
    without("a host beside the excluded one", "accepted", ["dns:secret.contoso.org"], {
      names: ["dns:open.contoso.org"],
    }),
    {
      ...without("a wildcard over an excluded host", "NameConstraint", ["dns:secret.contoso.org"], {
        names: ["dns:*.contoso.org"],
      }),
      opensslDiffers: "the wildcard stands for the excluded host, too",
    },
    {
      ...without("an excluded host with a period at its end", "NameConstraint", ["dns:contoso.org"], {
        names: ["dns:contoso.org."],
      }),
      opensslDiffers: "a name that is not in its plain form is not let through",
    },
    named("an address of the permitted host", "accepted", ["email:contoso.org"], { names: ["email:ann@Contoso.org"] }),
    named("an address of a host below the permitted one", "NameConstraint", ["email:contoso.org"], {
      names: ["email:ann@a.contoso.org"],
    }),
    named("an address below the permitted domain", "accepted", ["email:.contoso.org"], {
      names: ["email:ann@a.contoso.org"],
    }),
    named("the permitted mailbox", "accepted", ["email:ann@contoso.org"], { names: ["email:ann@contoso.org"] }),
    named("another mailbox", "NameConstraint", ["email:ann@contoso.org"], { names: ["email:bob@contoso.org"] }),
    named("an address in the subject", "NameConstraint", ["email:contoso.org"], {
      subject: "CN=Ann, emailAddress=ann@fabrikam.org",
    }),
    named("a URI of the permitted host", "accepted", ["uri:contoso.org"], {
      names: ["uri:https://contoso.org:8443/a"],
    }),
    named("a URI of another host", "NameConstraint", ["uri:contoso.org"], {
      names: ["uri:https://contoso.org@evil.org/"],
    }),
    named("an address in the permitted range", "accepted", ["ip:0a000000ff000000"], { names: ["ip:0a010203"] }),
    named("an address outside of the permitted range", "NameConstraint", ["ip:0a000000ff000000"], {
      names: ["ip:0b010203"],
    }),
    without("an address in the excluded range", "NameConstraint", ["ip:0a000000ff000000"], { names: ["ip:0a010203"] }),
    named("a form nobody interprets", "NameConstraint", ["other:ann"], { names: ["other:ann"] }),
    named("a form nobody interprets, and no name of it", "accepted", ["other:ann"], {}),
    three("constraints of the root", "NameConstraint", { top: { permitted: ["dir:O=Fabrikam"] } }),
    three("an intermediate outside of the root's constraints", "NameConstraint", {
      top: { permitted: ["dir:O=Fabrikam"] },
      leaf: { subject: "O=Fabrikam, CN=Ann" },
    }),
  ];
}

function revokedChains(): Scenario[] {
  const middle = issue({ subject: "CN=Issuing", ca: true, issuer: root });
  const leaf = issue({ issuer: middle });
  const other = issue({ issuer: middle });
  const list = issueRevocationList;
  const empty = list({ issuer: root });
  const both = (revocations: readonly Bytes[]): Partial<Scenario> => ({ revocations, crlCheck: "-crl_check_all" });
  const mute = issue({ subject: "CN=Mute", ca: true, issuer: root, usage: USAGE.certificateSign });
  const path = [leaf, middle, root];
  return [
    chain("nothing revoked", "accepted", path, both([empty, list({ issuer: middle })])),
    chain("another certificate revoked", "accepted", path, both([empty, list({ issuer: middle, revoked: [other] })])),
    chain("a revoked leaf", "Revoked", path, both([empty, list({ issuer: middle, revoked: [other, leaf] })])),
    chain(
      "a revoked intermediate",
      "Revoked",
      path,
      both([list({ issuer: root, revoked: [middle] }), list({ issuer: middle })]),
    ),
    chain("a list of version 1", "Revoked", path, both([empty, list({ issuer: middle, revoked: [leaf], version: 1 })])),
    chain(
      "a list past its next update",
      "RevocationExpired",
      path,
      both([empty, list({ issuer: middle, untilMs: NOW_MS - 1000 })]),
    ),
    chain(
      "a list of tomorrow",
      "RevocationExpired",
      path,
      both([empty, list({ issuer: middle, fromMs: NOW_MS + 1000 })]),
    ),
    chain(
      "a list signed by another key",
      "BadSignature",
      path,
      both([empty, list({ issuer: middle, signer: makeKey() })]),
    ),
    chain(
      "a list by a CA that must not sign lists",
      "KeyUsage",
      [issue({ issuer: mute }), mute, root],
      both([empty, list({ issuer: mute })]),
    ),
    chain("a list of another CA only", "accepted", path, {
      revocations: [list({ issuer: rsaRoot, revoked: [leaf] })],
      crlCheck: "-crl_check",
      opensslDiffers: "openssl wants a list of every issuer; here an actor that gives no list has nothing revoked",
    }),
    {
      name: "a revoked leaf that is listed itself",
      expected: "Revoked",
      leaf: leaf.der,
      anchors: [middle.der, leaf.der],
      revocations: [list({ issuer: middle, revoked: [leaf] })],
      crlCheck: "-crl_check",
    },
    {
      name: "a listed leaf, and a list past its next update",
      expected: "accepted",
      leaf: leaf.der,
      anchors: [middle.der, leaf.der],
      revocations: [list({ issuer: middle, untilMs: NOW_MS - 1000 })],
      crlCheck: "-crl_check",
      opensslDiffers: "what members voted for goes on, so that its owner can put a new list in place",
    },
  ];
}

/** A CA that changed its key and kept its name: each key has its list. */
function rolledOver(): Scenario[] {
  const [older, newer] = [issue({ subject: "CN=Roll", ca: true }), issue({ subject: "CN=Roll", ca: true })];
  const leaf = issue({ issuer: newer });
  const under = (issuer: TestCertificate, revoked: TestCertificate[] = []): Bytes =>
    issueRevocationList({ issuer, revoked });
  const anchors = [older.der, newer.der];
  const more = { leaf: leaf.der, anchors };
  return [
    { name: "two keys of one CA", expected: "accepted", ...more },
    {
      name: "two keys of one CA without key ids",
      expected: "accepted",
      ...more,
      leaf: issue({ issuer: newer, keyIds: false }).der,
      opensslDiffers: "openssl tries one CA of the name only",
    },
    { name: "two keys with a list each", expected: "accepted", ...more, revocations: [under(older), under(newer)] },
    {
      name: "revoked by the list of the newer key",
      expected: "Revoked",
      ...more,
      revocations: [under(older), under(newer, [leaf])],
    },
    {
      name: "a list of the older key only",
      expected: "accepted",
      ...more,
      revocations: [under(older)],
    },
  ];
}

/** All of them. */
export function scenarios(): readonly Scenario[] {
  return [...plainChains(), ...brokenChains(), ...constrainedChains(), ...revokedChains(), ...rolledOver()];
}
