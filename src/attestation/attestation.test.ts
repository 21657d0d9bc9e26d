import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { describe, test } from "node:test";
import { foundNetwork, makeMachine, TEST_CODE } from "../../test/support/founders.ts";
import { decodeCbor, encodeCbor, type CborValue } from "../core/codec/cbor.ts";
import { concatBytes, toHex, type Bytes } from "../core/codec/bytes.ts";
import { createGovernanceCrypto, createSignFunction, sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { appraise, requireAccepted } from "./appraise.ts";
import { MAX_EVIDENCE_BYTES } from "./evidence.ts";
import { channelReportData, type ChannelBinding } from "./report-data.ts";
import { verifyEvidence } from "./verify-evidence.ts";
import { encodeVirtualEvidence } from "./virtual.ts";

const crypto = createGovernanceCrypto();
const network = foundNetwork(1, 1);
const { machine } = network;
const binding: ChannelBinding = {
  networkId: network.networkId,
  sender: network.constitution.nodes[0]?.nodeId ?? "",
  senderEncryptionKey: new Uint8Array(32).fill(1),
  challenge: new Uint8Array(32).fill(2),
  exporter: new Uint8Array(32).fill(3),
  constitutionDigest: network.digest,
};
const reportData = channelReportData(binding, sha256);
const evidence = makeEvidence(TEST_CODE.measurement);

function makeEvidence(measurement: string, by = machine): Bytes {
  return encodeVirtualEvidence({ measurement, reportData, machineKey: by.machineKey }, by.sign);
}

function rejectedFor(...reasons: readonly string[]) {
  return (error: unknown) => {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "EvidenceRejected", error.message);
    assert.ok(reasons.includes(String(error.data["reason"])), `reason ${String(error.data["reason"])}`);
    return true;
  };
}

function withField(name: string, value: CborValue | undefined): Bytes {
  const fields = decodeCbor(evidence);
  assert.ok(fields instanceof Map);
  const changed = new Map<string | number, CborValue>(fields);
  if (value === undefined) changed.delete(name);
  else changed.set(name, value);
  return encodeCbor(changed);
}

describe("verification of virtual evidence", () => {
  test("gives the claims of genuine evidence", () => {
    const claims = verifyEvidence(evidence, reportData, crypto, 0);
    assert.deepEqual(claims, {
      tee: "virtual",
      measurement: TEST_CODE.measurement,
      reportData,
      machineKey: machine.machineKey,
    });
  });

  test("rejects every flipped byte, cut and addition, with a reason", () => {
    for (let at = 0; at < evidence.length; at++) {
      const changed = Uint8Array.from(evidence);
      changed[at] = (changed[at] as number) ^ (1 + (at % 255));
      const reasons = ["Malformed", "UnknownTee", "SignatureInvalid"];
      assert.throws(() => verifyEvidence(changed, reportData, crypto, 0), rejectedFor(...reasons), `byte ${at}`);
      assert.throws(() => verifyEvidence(evidence.subarray(0, at), reportData, crypto, 0), rejectedFor("Malformed"));
    }
    assert.throws(
      () => verifyEvidence(concatBytes(evidence, Uint8Array.of(0)), reportData, crypto, 0),
      rejectedFor("Malformed"),
    );
    assert.throws(
      () => verifyEvidence(new Uint8Array(MAX_EVIDENCE_BYTES + 1), reportData, crypto, 0),
      rejectedFor("Malformed"),
    );
  });

  test("rejects missing, unknown and mistyped fields", () => {
    for (const name of ["tee", "statement", "signature"]) {
      assert.throws(() => verifyEvidence(withField(name, undefined), reportData, crypto, 0), rejectedFor("Malformed"));
    }
    assert.throws(() => verifyEvidence(withField("more", 1), reportData, crypto, 0), rejectedFor("Malformed"));
    assert.throws(
      () => verifyEvidence(withField("statement", "text"), reportData, crypto, 0),
      rejectedFor("Malformed"),
    );
    assert.throws(() => verifyEvidence(withField("tee", "sgx"), reportData, crypto, 0), rejectedFor("UnknownTee"));
    assert.throws(
      () => verifyEvidence(withField("signature", new Uint8Array(64)), reportData, crypto, 0),
      rejectedFor("SignatureInvalid"),
    );
  });

  test("rejects a statement signed by another key than it names", () => {
    const forged = encodeVirtualEvidence(
      { measurement: TEST_CODE.measurement, reportData, machineKey: machine.machineKey },
      makeMachine().sign,
    );
    assert.throws(() => verifyEvidence(forged, reportData, crypto, 0), rejectedFor("SignatureInvalid"));
  });

  test("rejects a machine key of another curve", () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    assert.throws(() => createSignFunction(privateKey), { code: "ConfigurationInvalid" });
    const machineKey = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
    const forged = encodeVirtualEvidence({ measurement: TEST_CODE.measurement, reportData, machineKey }, machine.sign);
    assert.throws(() => verifyEvidence(forged, reportData, crypto, 0), rejectedFor("SignatureInvalid"));
  });

  test("rejects evidence made for any other channel", () => {
    const changes: readonly Partial<ChannelBinding>[] = [
      { networkId: "00".repeat(32) },
      { sender: "00".repeat(32) },
      { senderEncryptionKey: new Uint8Array(32) },
      { challenge: new Uint8Array(32) },
      { exporter: new Uint8Array(32) },
      { constitutionDigest: new Uint8Array(32) },
    ];
    for (const change of changes) {
      const expected = channelReportData({ ...binding, ...change }, sha256);
      assert.throws(() => verifyEvidence(evidence, expected, crypto, 0), rejectedFor("ReportDataMismatch"));
    }
    assert.throws(
      () => verifyEvidence(evidence, reportData.subarray(0, 32), crypto, 0),
      rejectedFor("ReportDataMismatch"),
    );
  });

  test("report data of a channel have 64 bytes and refuse fields of another length", () => {
    assert.equal(reportData.length, 64);
    assert.equal(toHex(reportData.subarray(32)), "00".repeat(32));
    for (const name of ["senderEncryptionKey", "challenge", "exporter", "constitutionDigest"] as const) {
      assert.throws(() => channelReportData({ ...binding, [name]: new Uint8Array(31) }, sha256), {
        code: "MalformedInput",
      });
    }
  });
});

describe("appraisal", () => {
  test("accepts listed code on a listed machine", () => {
    const appraisal = appraise(verifyEvidence(evidence, reportData, crypto, 0), network.constitution, 0);
    assert.deepEqual(appraisal, { accepted: true, reasons: [] });
    assert.doesNotThrow(() => requireAccepted(appraisal));
  });

  test("names every reason against it", () => {
    const claims = verifyEvidence(makeEvidence("99".repeat(32), makeMachine()), reportData, crypto, 0);
    const appraisal = appraise(claims, network.constitution, 0);
    assert.equal(appraisal.accepted, false);
    assert.deepEqual(
      appraisal.reasons.map(({ code, reason }) => [code, reason]),
      [
        ["EvidenceRejected", "TeeNotListed"],
        ["CodeNotApproved", "MeasurementNotListed"],
      ],
    );
    assert.throws(() => requireAccepted(appraisal), rejectedFor("TeeNotListed"));
  });

  test("honours the dates of code and machine, at the ledger's time", () => {
    const claims = verifyEvidence(evidence, reportData, crypto, 0);
    const { codeManifest, teeManifest } = network.constitution;
    const dated = {
      ...network.constitution,
      codeManifest: codeManifest.map((code) => ({ ...code, inForceFrom: 10, inForceUntil: 30 })),
      teeManifest: teeManifest.map((tee) => ({ ...tee, inForceFrom: 20, inForceUntil: 40 })),
    };
    const reasonsAt = (nowMs: number | undefined) => appraise(claims, dated, nowMs).reasons.map(({ reason }) => reason);
    assert.deepEqual(reasonsAt(9), ["TeeNotInForce", "MeasurementNotInForce"]);
    assert.deepEqual(reasonsAt(10), ["TeeNotInForce"]);
    assert.deepEqual(reasonsAt(20), []);
    assert.deepEqual(reasonsAt(29), []);
    assert.deepEqual(reasonsAt(30), ["MeasurementNotInForce"]);
    assert.deepEqual(reasonsAt(undefined), [], "without a time the entries alone count");
  });

  test("code that is not approved is CodeNotApproved", () => {
    const claims = verifyEvidence(makeEvidence("99".repeat(32)), reportData, crypto, 0);
    assert.throws(() => requireAccepted(appraise(claims, network.constitution, 0)), { code: "CodeNotApproved" });
  });
});
