import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { foundNetwork, makeFounder, TEST_TIME_MS, type TestFounder } from "../../../test/support/founders.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import { parseCertificate } from "../../core/certificates/certificate.ts";
import { toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { CALLER_CACHE_MS, Callers } from "./callers.ts";
import { CocoError } from "../../errors.ts";
import {
  certificateDer,
  createNodeCertificate,
  createOrganisationCertificate,
  createServiceCertificate,
  createStaffCertificate,
  endorseNodeCertificate,
  generateKeyPairPem,
  SERVICE_COMMON_NAME,
} from "./certificates.ts";
import { createCertificateVerifier, nodeEntropy, sha256 } from "./node-crypto.ts";

const issuance = { notBeforeMs: TEST_TIME_MS, days: 30, entropy: nodeEntropy };
const DAY_MS = 24 * 3600 * 1000;
const during = TEST_TIME_MS + DAY_MS;
const folder = mkdtempSync(join(tmpdir(), "coco-certificates-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const organisation = makeFounder("contoso");
const staffKeys = generateKeyPairPem();
const staff = createStaffCertificate({ commonName: "Ann" }, staffKeys.publicKey, organisation.issuer, issuance);
const serviceKeys = generateKeyPairPem();
const service = {
  certificate: createServiceCertificate(serviceKeys.privateKey, issuance),
  privateKey: serviceKeys.privateKey,
};
const nodeKeys = generateKeyPairPem();
const nodeId = "ab".repeat(32);
const hosts = ["localhost", "127.0.0.1", "::1", "vn1.example.org"];
const endorsed = endorseNodeCertificate({ nodeId, publicKey: nodeKeys.publicKey, hosts }, service, issuance);
const nodeCertificate = createNodeCertificate(nodeId, nodeKeys.privateKey, issuance);

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** Runs openssl; the certificates' own time is given to it, so that the test holds on any day. */
function opensslVerify(ca: string, certificate: string, ...options: readonly string[]) {
  const time = ["-attime", String(during / 1000)];
  const files = ["-CAfile", file("ca.pem", ca), file("certificate.pem", certificate)];
  return spawnSync("openssl", ["verify", "-x509_strict", "-check_ss_sig", ...time, ...options, ...files], {
    encoding: "utf8",
  });
}

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

describe("certificates, judged by openssl", { skip: !hasOpenssl }, () => {
  test("an organisation's certificate verifies its staff, for client authentication", () => {
    const result = opensslVerify(organisation.issuer.certificate, staff, "-purpose", "sslclient");
    assert.equal(result.status, 0, result.stdout + result.stderr);
    assert.notEqual(opensslVerify(organisation.issuer.certificate, staff, "-purpose", "sslserver").status, 0);
  });

  test("the service verifies a node's certificate for each of its names and addresses", () => {
    for (const option of [
      ["-verify_hostname", "localhost"],
      ["-verify_hostname", "vn1.example.org"],
      ["-verify_ip", "127.0.0.1"],
      ["-verify_ip", "::1"],
    ]) {
      const result = opensslVerify(service.certificate, endorsed, "-purpose", "sslserver", ...option);
      assert.equal(result.status, 0, result.stdout + result.stderr);
    }
    assert.notEqual(opensslVerify(service.certificate, endorsed, "-verify_hostname", "evil.example.org").status, 0);
  });

  test("self-signed certificates verify by themselves, and nothing by a stranger", () => {
    for (const certificate of [organisation.issuer.certificate, service.certificate]) {
      const result = opensslVerify(certificate, certificate);
      assert.equal(result.status, 0, result.stdout + result.stderr);
    }
    assert.notEqual(opensslVerify(service.certificate, staff).status, 0);
  });

  test("a staff certificate is no CA", () => {
    const impostor = createNodeCertificate("x", staffKeys.privateKey, issuance);
    assert.notEqual(opensslVerify(staff, impostor).status, 0);
  });
});

describe("certificates", () => {
  test("carry names, key, validity in whole seconds and a positive random serial number", () => {
    const certificate = new X509Certificate(service.certificate);
    assert.equal(certificate.subject, `CN=${SERVICE_COMMON_NAME}`);
    assert.equal(certificate.ca, true);
    assert.equal(Date.parse(certificate.validFrom), TEST_TIME_MS);
    assert.equal(Date.parse(certificate.validTo), TEST_TIME_MS + 30 * DAY_MS);
    assert.match(certificate.serialNumber, /^01[0-9A-F]{32}$/);
    assert.notEqual(new X509Certificate(endorsed).serialNumber, certificate.serialNumber);
    assert.ok(new X509Certificate(nodeCertificate).checkPrivateKey(createPrivateKey(nodeKeys.privateKey)));
    assert.equal(
      new X509Certificate(endorsed).subjectAltName,
      "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:vn1.example.org",
    );
  });

  test("name an organisation in strict DER, whatever its name", () => {
    for (const name of ["a", "member0", "an organisation with a long name"]) {
      const { privateKey } = generateKeyPairPem();
      const pem = createOrganisationCertificate({ commonName: "member0", organisation: name }, privateKey, issuance);
      assert.equal(parseCertificate(certificateDer(pem)).subject.text, `O=${name}, CN=member0`);
      assert.equal(new X509Certificate(pem).subject, `O=${name}\nCN=member0`);
    }
  });

  test("that end after 2049 keep their end", () => {
    const long = createServiceCertificate(serviceKeys.privateKey, { ...issuance, days: 365 * 30 });
    assert.equal(Date.parse(new X509Certificate(long).validTo), TEST_TIME_MS + 365 * 30 * DAY_MS);
  });

  test("are not issued by who is no CA, with a key that is not the issuer's, or for another kind of key", () => {
    const notCa = { certificate: staff, privateKey: staffKeys.privateKey };
    assert.throws(() => createStaffCertificate({ commonName: "x" }, staffKeys.publicKey, notCa, issuance), {
      code: "MalformedInput",
    });
    const wrongKey = { certificate: organisation.issuer.certificate, privateKey: staffKeys.privateKey };
    assert.throws(() => createStaffCertificate({ commonName: "x" }, staffKeys.publicKey, wrongKey, issuance), {
      code: "MalformedInput",
    });
    assert.throws(() => createServiceCertificate("no key", issuance), { code: "MalformedInput" });
    assert.throws(() => certificateDer("no certificate"), { code: "MalformedInput" });
    const badHost = { nodeId, publicKey: nodeKeys.publicKey, hosts: ["a b"] };
    assert.throws(() => endorseNodeCertificate(badHost, service, issuance), { code: "MalformedInput" });
  });
});

describe("the actor of a certificate", () => {
  const network = foundNetwork(2, 1);
  const [first, second] = network.founders as readonly [TestFounder, TestFounder];
  const callers = new Callers(network.constitution);
  /** The actor's id, or the code a client is refused with. */
  const find = (der: Bytes, at: number, among = callers) => {
    const found = among.identify([der], at);
    if (found instanceof CocoError) return found.code;
    assert.equal(found.certificate, toHex(sha256(der)));
    return found.actor;
  };
  const staffOf = (issuer: TestFounder, days = 30) =>
    certificateDer(
      createStaffCertificate({ commonName: "staff" }, staffKeys.publicKey, issuer.issuer, { ...issuance, days }),
    );

  test("is who is listed with it", () => {
    const der = certificateDer(first.issuer.certificate);
    assert.equal(find(der, during), "member1");
    const participant = network.founders[2];
    assert.ok(participant);
    assert.equal(find(certificateDer(participant.issuer.certificate), during), "participant1");
  });

  test("is the organisation that issued it", () => {
    const der = staffOf(second);
    assert.equal(find(der, during), "member2");
  });

  test("is nobody when it, or its issuer, is not valid at the time", () => {
    assert.equal(find(staffOf(first), TEST_TIME_MS - 1000), "CertificateInvalid");
    assert.equal(find(staffOf(first, 2), TEST_TIME_MS + 3 * DAY_MS), "CertificateExpired");
    assert.equal(find(staffOf(first, 800), TEST_TIME_MS + 700 * DAY_MS), "CertificateExpired");
    assert.equal(find(certificateDer(first.issuer.certificate), TEST_TIME_MS + 700 * DAY_MS), "CertificateExpired");
  });

  test("is nobody when a stranger of the same name issued it", () => {
    assert.equal(find(staffOf(makeFounder("member1")), during), "CertificateUnknown");
    assert.equal(find(certificateDer(makeFounder("member1").issuer.certificate), during), "CertificateUnknown");
  });

  test("is nobody when the listed certificate is no CA, or the certificate is for servers", () => {
    const listed = certificateDer(staff);
    const [actor] = network.constitution.actors;
    assert.ok(actor);
    const constitution: Constitution = { ...network.constitution, actors: [{ ...actor, certificates: [listed] }] };
    const lookup = new Callers(constitution);
    assert.equal(find(listed, during, lookup), "member1");
    const stranger = certificateDer(createNodeCertificate("x", staffKeys.privateKey, issuance));
    assert.equal(find(stranger, during, lookup), "CertificateUnknown");
    const forServers = endorseNodeCertificate({ nodeId, publicKey: nodeKeys.publicKey, hosts }, first.issuer, issuance);
    assert.equal(find(certificateDer(forServers), during), "CertificateInvalid");
  });

  test("is nobody for bytes that are no certificate, or hide one", () => {
    const der = certificateDer(first.issuer.certificate);
    assert.equal(find(utf8Encode(first.issuer.certificate), during), "CertificateInvalid");
    assert.equal(find(der.subarray(1), during), "CertificateInvalid");
    assert.equal(find(new Uint8Array(0), during), "CertificateInvalid");
    const changed = Uint8Array.from(der);
    changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1;
    assert.notEqual(find(changed, during), "member1");
  });

  test("stays known without another look until its certificate ends, the actors change, or the clock goes back", () => {
    let signatures = 0;
    const verify = createCertificateVerifier();
    const counted = new Callers(network.constitution, (...request) => {
      signatures++;
      return verify(...request);
    });
    const actorAt = (chain: readonly Bytes[], at: number) => {
      const found = counted.identify(chain, at);
      return found instanceof CocoError ? found.code : found.actor;
    };
    const chain = [staffOf(first, 2)];
    const end = TEST_TIME_MS + 2 * DAY_MS;
    assert.deepEqual(
      [actorAt(chain, during), actorAt(chain, during + 1), actorAt(chain, end)],
      ["member1", "member1", "member1"],
    );
    assert.equal(signatures, 1);
    assert.equal(actorAt(chain, end + 1), "CertificateExpired");
    assert.equal(signatures, 2);
    assert.equal(actorAt(chain, end + 1 + CALLER_CACHE_MS), "CertificateExpired");
    assert.equal(signatures, 2);
    assert.equal(actorAt(chain, during), "member1");
    counted.follow({ ...network.constitution });
    assert.equal(actorAt(chain, during + 2), "member1");
    assert.equal(signatures, 3, "the actors are the same");
    counted.follow({ ...network.constitution, actors: network.constitution.actors.slice(1) });
    assert.equal(actorAt(chain, during + 3), "CertificateUnknown");
  });
});
