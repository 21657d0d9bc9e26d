import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { EpochTransaction } from "../../core/governance/administrative-codec.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { serviceCertificateOf } from "../../core/governance/service-chain.ts";
import { refusal } from "../../../test/support/governed-network.ts";
import type { TestNode } from "../../../test/support/founders.ts";
import { createServiceCertificate, endorseServiceCertificate, generateKeyPairPem } from "./certificates.ts";
import { nodeEntropy } from "./node-crypto.ts";
import {
  backEndorsementsOf,
  carriesServiceKey,
  createEpoch,
  endorsementsOf,
  openEpochKey,
  ServiceIdentity,
} from "./service-keys.ts";
import {
  decide,
  execute,
  keysOf,
  network,
  nextEpoch,
  ports,
  started,
  withoutLastNode,
} from "./test-service-network.ts";

const [node0, node1, node2] = network.nodes as readonly [TestNode, TestNode, TestNode];
const { networkId } = network;

const serviceOf = (state: GovernanceState, node: TestNode = node0) =>
  new ServiceIdentity(state, keysOf(state, node), ports);

/** The epoch that follows the removal of the last node. */
function rotation(state: GovernanceState): { due: GovernanceState; epoch: EpochTransaction; after: GovernanceState } {
  const due = withoutLastNode(state);
  const epoch = createEpoch(due, serviceOf(due), ports);
  return { due, epoch, after: execute(due, epoch) };
}

const first = rotation(started);

function hasKeyOf(service: ServiceIdentity, der: Bytes): boolean {
  const certificate = pemOfDer(der, "CERTIFICATE");
  const made = createServiceCertificate(service.secret.privateKey, { notBeforeMs: 0, days: 1, entropy: nodeEntropy });
  return keyIn(certificate) === keyIn(made);
}

function keyIn(pem: string): string {
  const file = fileOf("key.pem", pem);
  return execFileSync("openssl", ["x509", "-in", file, "-noout", "-pubkey"]).toString();
}

const folder = mkdtempSync(join(tmpdir(), "coco-rotation-"));

function fileOf(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** Whether `openssl verify` trusts a certificate by one anchor and what stands between; for TLS, if asked. */
function opensslVerifies(anchor: string, between: readonly string[], leaf: string, forTls = false): boolean {
  const anchors = fileOf("anchor.pem", anchor);
  const untrusted = between.length === 0 ? [] : ["-untrusted", fileOf("between.pem", between.join(""))];
  const purpose = forTls ? ["-purpose", "sslserver"] : [];
  const files = ["-CAfile", anchors, ...untrusted, fileOf("leaf.pem", leaf)];
  return spawnSync("openssl", ["verify", "-x509_strict", ...purpose, ...files]).status === 0;
}

describe("the service identity", () => {
  test("stays through an epoch that is asked for, and is another one after a removal", () => {
    const asked = nextEpoch(started, node1);
    assert.deepEqual(serviceCertificateOf(asked), serviceCertificateOf(started));
    assert.deepEqual([first.due.serviceRotationDue, first.after.serviceRotationDue], [true, false]);
    assert.equal(first.after.services.length, 2);
    const [before, after] = [serviceOf(first.due), serviceOf(first.after)];
    assert.notEqual(after.secret.privateKey, before.secret.privateKey);
    assert.deepEqual([before.isOf(first.after), after.isOf(first.after)], [false, true]);
    assert.equal(serviceOf(first.after, node1).secret.privateKey, after.secret.privateKey);
    assert.ok(hasKeyOf(after, first.epoch.serviceCertificate));
    assert.equal(first.after.services[1]?.fromSeqno, first.after.epochs[1]?.openedAtSeqno);
    assert.deepEqual(serviceCertificateOf(nextEpoch(first.after, node0)), serviceCertificateOf(first.after));
  });

  test("of after a removal is nothing the removed node can open, by its own key or the service's old one", () => {
    const { due, after, epoch } = first;
    const removed = { nodeId: node2.request.nodeId, decryptionKey: node2.decryptionKey };
    const [, opened] = after.epochs;
    assert.ok(opened);
    const before = keysOf(due, node2)(1);
    assert.ok(before, "it holds the key of the epoch before");
    assert.equal(openEpochKey(opened, networkId, removed), undefined);
    for (const wrap of opened.wraps)
      assert.equal(
        openEpochKey({ epoch: 2, wraps: [{ ...wrap, nodeId: removed.nodeId }] }, networkId, removed),
        undefined,
      );
    assert.throws(() => serviceOf(after, node2), { code: "LedgerCorrupt" });
    assert.equal(carriesServiceKey(epoch, networkId, before, ports.crypto), false);
    const theirs = serviceOf(started, node2);
    assert.equal(
      createPrivateKey(theirs.secret.privateKey).equals(createPrivateKey(serviceOf(after).secret.privateKey)),
      false,
    );
  });

  test("is not rotated without need, nor kept when it must be rotated", () => {
    const voted = decide(started, { name: "open_epoch", args: {} });
    const kept = createEpoch(voted, serviceOf(voted), ports);
    const { endorsement, backEndorsement, serviceCertificate } = first.epoch;
    assert.ok(endorsement && backEndorsement);
    const crossed = { endorsement, backEndorsement };
    assert.throws(() => execute(voted, { ...kept, ...crossed, serviceCertificate }), refusal("ServiceCertificate"));
    assert.throws(() => execute(voted, { ...kept, ...crossed }), refusal("ServiceEndorsement"));
    const same = { ...first.epoch, serviceCertificate: kept.serviceCertificate };
    assert.throws(() => execute(first.due, same), refusal("ServiceCertificate"));
  });

  test("is rotated with both cross certificates, each of the right key by the right key", () => {
    const { due, epoch } = first;
    const { endorsement, backEndorsement, ...bare } = epoch;
    assert.ok(endorsement && backEndorsement);
    const privateKey = generateKeyPairPem().privateKey;
    const issuance = { notBeforeMs: Date.now(), days: 1, entropy: nodeEntropy };
    const stranger = { privateKey, certificate: createServiceCertificate(privateKey, issuance) };
    const bytes = (pem: string) => Buffer.from(pem.split("\n").slice(1, -2).join(""), "base64");
    const certificate = pemOfDer(epoch.serviceCertificate, "CERTIFICATE");
    const forged = new Uint8Array(bytes(endorseServiceCertificate(certificate, stranger, issuance, "service")));
    const before = pemOfDer(serviceCertificateOf(due) as Bytes, "CERTIFICATE");
    const after = { certificate, privateKey: serviceOf(first.after).secret.privateKey };
    const forTls = new Uint8Array(bytes(endorseServiceCertificate(before, after, issuance, "service")));
    const wrong: readonly Partial<EpochTransaction>[] = [
      {},
      { endorsement },
      { backEndorsement },
      { endorsement: backEndorsement, backEndorsement: endorsement },
      { endorsement: forged, backEndorsement },
      { endorsement, backEndorsement: forged },
      { endorsement: epoch.serviceCertificate, backEndorsement },
      { endorsement, backEndorsement: forTls },
      { endorsement: endorsement.with(-1, (endorsement.at(-1) ?? 0) ^ 1), backEndorsement },
    ];
    for (const change of wrong)
      assert.throws(
        () => execute(due, { ...bare, ...change }),
        refusal("ServiceEndorsement"),
        Object.keys(change).join(),
      );
    assert.throws(
      () => execute(due, { ...epoch, serviceCertificate: endorsement }),
      refusal("ServiceCertificate"),
      "a certificate that another key signed",
    );
  });

  test("an older or a newer one is reached from any other by openssl", () => {
    const second = rotation(first.after);
    const { services } = second.after;
    assert.equal(services.length, 3);
    const anchors = services.map(({ certificate }) => pemOfDer(certificate, "CERTIFICATE"));
    const identities = [started, first.after, second.after].map((state) => serviceOf(state));
    const leaves = identities.map((identity) =>
      identity.endorse({ nodeId: node0.request.nodeId, publicKey: node0.request.publicKey, hosts: ["a.test"] }),
    );
    for (const [by, leaf] of leaves.entries()) {
      for (const [trusted, anchor] of anchors.entries()) {
        const between = trusted < by ? endorsementsOf(services) : backEndorsementsOf(services);
        assert.ok(opensslVerifies(anchor, between, leaf), `endorsed by ${by}, trusted ${trusted}`);
        assert.equal(
          opensslVerifies(anchor, between, leaf, true),
          trusted <= by,
          "no TLS by an old key to who trusts a newer",
        );
        assert.equal(opensslVerifies(anchor, [], leaf), by === trusted, `endorsed by ${by}, trusted ${trusted}, alone`);
      }
    }
    const [, ...shown] = serviceOf(second.after)
      .clientChain({ nodeId: node0.request.nodeId, publicKey: node0.request.publicKey, hosts: [] })
      .split(/(?<=END CERTIFICATE-----\n)/);
    assert.deepEqual(shown, endorsementsOf(services), "a client is shown the way back to each");
  });
});
