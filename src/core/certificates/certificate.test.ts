import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { boolean, element, integer, nothing, octets, printable, sequence } from "../../../test/support/der-writer.ts";
import {
  type CertificateOptions,
  distinguishedName,
  issue,
  issueRevocationList,
  makeKey,
  NOW_MS,
} from "../../../test/support/issue-certificates.ts";
import { createCertificateVerifier } from "../../enclave/manager/node-crypto.ts";
import { CocoError } from "../../errors.ts";
import { bytesEqual, toHex, utf8Encode, type Bytes } from "../codec/bytes.ts";
import { contextTag } from "../codec/der.ts";
import { derOfPem } from "../governance/pem.ts";
import { parseCertificate } from "./certificate.ts";
import { parseRevocationList } from "./crl.ts";
import { validatePath } from "./path.ts";

const FOLDER = fileURLToPath(new URL("../../../../test/fixtures/certificates/", import.meta.url));
const verify = createCertificateVerifier();

function fixture(name: string, label = "CERTIFICATE"): Bytes {
  const der = derOfPem(readFileSync(`${FOLDER}${name}.pem`, "utf8"), label);
  assert.ok(der);
  return der;
}

const [root, issuing, ann, revoked] = ["root", "issuing", "ann", "revoked"].map((name) => fixture(name)) as [
  Bytes,
  Bytes,
  Bytes,
  Bytes,
];
const list = fixture("issuing-crl", "X509 CRL");

function refused(options: CertificateOptions): void {
  const { der } = issue(options);
  assert.throws(() => parseCertificate(der), { code: "MalformedInput" });
}

/** What is read without any other error than `MalformedInput`. */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code === "MalformedInput", String(error));
    return undefined;
  }
}

describe("a certificate", () => {
  test("of openssl is read as the runtime reads it", () => {
    for (const der of [root, issuing, ann, revoked]) {
      const parsed = parseCertificate(der);
      const theirs = new X509Certificate(der);
      assert.equal(parsed.serial, theirs.serialNumber.toLowerCase());
      assert.equal(parsed.notBeforeMs, Date.parse(theirs.validFrom));
      assert.equal(parsed.notAfterMs, Date.parse(theirs.validTo));
      assert.equal(parsed.isCa, theirs.ca);
      assert.ok(bytesEqual(parsed.publicKey, theirs.publicKey.export({ type: "spki", format: "der" })));
    }
  });

  test("of openssl shows names, usages and constraints", () => {
    const authority = parseCertificate(issuing);
    assert.equal(authority.subject.text, "C=NL, O=Contoso, OU=Staff + CN=Issuing CA");
    assert.equal(authority.issuer.key, parseCertificate(root).subject.key);
    assert.deepEqual(authority.keyType, { type: "ec", curve: "P-384" });
    assert.deepEqual(authority.algorithm, { type: "rsa-pss", hash: "sha256", saltLength: 32 });
    assert.equal(authority.pathLength, 0);
    const usage = { digitalSignature: false, keyAgreement: false, certificateSign: true, revocationListSign: true };
    assert.deepEqual(authority.keyUsage, usage);
    assert.deepEqual(
      [authority.nameConstraints?.permitted.map(({ form }) => form), authority.nameConstraints?.excluded.length],
      [["directory", "dns", "email"], 2],
    );
    assert.deepEqual(authority.unknownCritical, []);
    const staff = parseCertificate(ann);
    assert.equal(staff.subject.text, "C=NL, O=Contoso, CN=ann Ångström");
    assert.deepEqual(staff.keyPurposes, ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.4"]);
    assert.deepEqual(staff.alternativeNames, [
      { form: "dns", text: "ann.contoso.example" },
      { form: "email", text: "ann@contoso.example" },
    ]);
    assert.equal(toHex(staff.authorityKeyId ?? new Uint8Array(0)), toHex(authority.subjectKeyId ?? new Uint8Array(1)));
    assert.deepEqual(parseCertificate(root).keyType, { type: "rsa", bits: 3072 });
  });

  test("of openssl has a path, and a revoked one has none", () => {
    const verdictOf = (leaf: Bytes) =>
      validatePath({
        leaf: parseCertificate(leaf),
        intermediates: [parseCertificate(issuing)],
        anchors: [parseCertificate(root)],
        revocations: [parseRevocationList(list)],
        nowMs: Date.UTC(2027, 0, 1),
        verify,
      });
    assert.equal("anchor" in verdictOf(ann), true);
    const verdict = verdictOf(revoked);
    assert.equal("problem" in verdict && verdict.problem, "Revoked");
  });

  test("that is cut off at any byte, or goes on, is malformed", () => {
    for (const [der, parse] of [
      [root, parseCertificate],
      [issuing, parseCertificate],
      [ann, parseCertificate],
      [list, parseRevocationList],
    ] as const) {
      for (let length = 0; length < der.length; length++)
        assert.throws(() => parse(der.subarray(0, length)), { code: "MalformedInput" });
      assert.throws(() => parse(Uint8Array.of(...der, 0)), { code: "MalformedInput" });
    }
  });

  test("with any byte changed is malformed, or its signature does not verify", () => {
    const issuer = parseCertificate(issuing);
    let read = 0;
    for (let at = 0; at < ann.length; at++) {
      for (const change of [0x01, 0x80, 0xff]) {
        const changed = Uint8Array.from(ann);
        changed[at] = (changed[at] as number) ^ change;
        const parsed = attempt(() => parseCertificate(changed));
        if (parsed === undefined) continue;
        read++;
        const { algorithm, signedBytes, signature } = parsed;
        assert.equal(verify(algorithm, issuer.publicKey, signedBytes, signature), false, `byte ${at}`);
      }
    }
    assert.ok(read > ann.length / 2, "most changes are of content");
  });

  test("is of version 3, with one algorithm, a short positive serial number and no default written", () => {
    refused({ version: 1 });
    refused({ serial: Uint8Array.of(0x80) });
    refused({ serial: Uint8Array.of(0, 1) });
    refused({ serial: new Uint8Array(21).fill(1) });
    const { der } = issue({ ca: true });
    // The identifier of ECDSA with SHA-256 inside of the signed part only.
    const at = der.indexOf(0x02, toHex(der).indexOf("2a8648ce3d0403") / 2);
    const changed = Uint8Array.from(der);
    changed[at] = 0x03;
    assert.throws(() => parseCertificate(changed), { code: "MalformedInput" });
    refused({
      more: [
        { identifier: "1.2.3.4", value: nothing() },
        { identifier: "1.2.3.4", value: nothing() },
      ],
    });
    refused({ basicConstraints: sequence(boolean(false)) });
    refused({ basicConstraints: sequence(integer(0)) });
    refused({ basicConstraints: sequence(boolean(true), integer(0x10000)) });
  });

  test("has extensions that hold what they should", () => {
    const more = (identifier: string, value: Bytes): CertificateOptions => ({
      keyIds: false,
      usage: 0,
      more: [{ identifier, value }],
    });
    refused(more("2.5.29.15", octets(Uint8Array.of(1))));
    refused(more("2.5.29.15", element(0x03, Uint8Array.of(0))));
    refused(more("2.5.29.37", sequence()));
    refused(more("2.5.29.17", sequence()));
    refused(more("2.5.29.17", sequence(element(contextTag(7, "primitive"), Uint8Array.of(1, 2, 3)))));
    refused(more("2.5.29.17", sequence(element(contextTag(9, "primitive")))));
    refused(more("2.5.29.30", sequence()));
    refused(more("2.5.29.14", octets(Uint8Array.of(1)).subarray(0, 2)));
    // A minimum distance, and a mask with a hole.
    const dns = element(contextTag(2, "primitive"), utf8Encode("a"));
    const distance = integer(1, contextTag(0, "primitive"));
    refused(more("2.5.29.30", sequence(element(contextTag(0, "constructed"), sequence(dns, distance)))));
    refused({ ca: true, permitted: ["ip:0a000000ff00ff00"] });
    refused({ ca: true, permitted: ["ip:0a000000"] });
  });

  test("names the same subject in other string types, letters and spaces, and another in other words", () => {
    const key = (encoded: Bytes) => parseCertificate(issue({ subjectName: encoded }).der).subject.key;
    const name = key(distinguishedName("O=Contoso Ltd, CN=Root"));
    assert.equal(key(distinguishedName("O=contoso  ltd , CN=ROOT", printable)), name);
    assert.notEqual(key(distinguishedName("CN=Root, O=Contoso Ltd")), name);
    assert.notEqual(key(distinguishedName("O=Contoso Ltd")), name);
    assert.notEqual(key(distinguishedName("O=ContosoLtd, CN=Root")), name);
  });

  test("shows no control characters and no false commas in its subject", () => {
    const { subject } = parseCertificate(issue({ subjectName: distinguishedName("CN=a\u001b[31m\u202eb,O=c") }).der);
    assert.equal(subject.text, "CN=a\\1b[31m\\202eb\\2cO=c");
  });

  test("has an uncompressed point of its curve, or an RSA key within bounds", () => {
    const key = makeKey();
    const compressed = Uint8Array.from(key.spki);
    compressed[compressed.length - 65] = 2;
    refused({ key: { ...key, spki: compressed } });
    assert.deepEqual(parseCertificate(issue({ key: makeKey("rsa-1024") }).der).keyType, { type: "rsa", bits: 1024 });
  });
});

describe("a revocation list", () => {
  const authority = issue({ ca: true });
  const leaf = issue({ issuer: authority });
  const parse = (options: Partial<Parameters<typeof issueRevocationList>[0]>) =>
    parseRevocationList(issueRevocationList({ issuer: authority, ...options }));

  test("of openssl names what it revokes, and until when", () => {
    const parsed = parseRevocationList(list);
    assert.deepEqual([...parsed.revoked], [parseCertificate(revoked).serial]);
    assert.equal(parsed.issuer.key, parseCertificate(issuing).subject.key);
    assert.equal(parsed.nextUpdateMs - parsed.thisUpdateMs, 3650 * 86_400_000);
    assert.ok(verify(parsed.algorithm, parseCertificate(issuing).publicKey, parsed.signedBytes, parsed.signature));
  });

  test("is of version 1 or 2", () => {
    assert.equal(parse({ revoked: [leaf], version: 1 }).revoked.size, 1);
    assert.equal(parse({ revoked: [leaf] }).thisUpdateMs, NOW_MS - 86_400_000);
    const reason = { identifier: "2.5.29.21", value: element(0x0a, Uint8Array.of(1)) };
    assert.equal(parse({ revoked: [leaf], entryMore: [reason] }).revoked.size, 1);
  });

  test("of another kind than a complete one, by the issuer itself, with an end, is refused", () => {
    const value = integer(1);
    for (const options of [
      { untilMs: undefined },
      { more: [{ identifier: "2.5.29.27", critical: true, value }] },
      { more: [{ identifier: "2.5.29.27", value }] },
      { more: [{ identifier: "2.5.29.28", value: sequence() }] },
      { more: [{ identifier: "1.2.3.4", critical: true, value }] },
      { revoked: [leaf], entryMore: [{ identifier: "2.5.29.29", value: sequence() }] },
      { revoked: [leaf], entryMore: [{ identifier: "1.2.3.4", critical: true, value }] },
      { revoked: [leaf], version: 1 as const, entryMore: [{ identifier: "2.5.29.21", value }] },
    ])
      assert.throws(() => parse(options), { code: "MalformedInput" }, JSON.stringify(options));
  });
});
