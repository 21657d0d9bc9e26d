import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { NOW_MS } from "../../../test/support/issue-certificates.ts";
import { EMPTY, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { STRICT_VBS_POLICY, type VbsHgsPolicy } from "../../core/governance/policy-vsm.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import type { Endorsement, HardwareEvidence } from "../hardware-evidence.ts";
import { attacker, guest, guestPolicy, HEADER, token } from "../maa/test-tokens.ts";
import { judgeVsmEvidence } from "./evidence.ts";
import { makeGuardian, makeReport, rs256 } from "./test-vsm-evidence.ts";

const crypto = createAttestationCrypto();
const guardian = makeGuardian();
const vbsPolicy: VbsHgsPolicy = { ...STRICT_VBS_POLICY, roots: [guardian.root.der] };
const health: Endorsement = { kind: "health-certificate", content: guardian.health.der };
const report = makeReport(guardian.key);
const bound = new Uint8Array(64).fill(9);

function evidenceOf(evidence: Bytes, ...endorsements: readonly Endorsement[]): HardwareEvidence {
  return { tee: "vsm", evidence, endorsements };
}

function reasons(evidence: HardwareEvidence, policy: VbsHgsPolicy | typeof guestPolicy, reportData = bound) {
  return reasonsOf(judgeVsmEvidence(evidence, policy, { nowMs: NOW_MS, reportData }, crypto).checks);
}

function isMalformed(error: unknown): boolean {
  return error instanceof CocoError && error.code === "EvidenceRejected" && error.data["reason"] === "Malformed";
}

describe("VSM evidence as a whole", () => {
  test("is verified and appraised in the format of its policy", () => {
    assert.deepEqual(reasons(evidenceOf(report, health), vbsPolicy), []);
    assert.deepEqual(reasons(evidenceOf(report, health), vbsPolicy, new Uint8Array(64)), ["ReportDataMismatch"]);
    assert.deepEqual(reasons(evidenceOf(report, health), { ...vbsPolicy, minimumEnclaveSvn: 6 }), ["TcbTooOld"]);
    assert.deepEqual(reasons(evidenceOf(utf8Encode(token(guest))), guestPolicy), []);
    assert.deepEqual(reasons(evidenceOf(utf8Encode(token(guest))), guestPolicy, new Uint8Array(64)), [
      "ReportDataMismatch",
    ]);
    const forged = utf8Encode(token(guest, HEADER, rs256(attacker.privateKey)));
    assert.deepEqual(reasons(evidenceOf(forged), guestPolicy), ["TokenInvalid"]);
  });

  test("with a health certificate that cannot be read is refused, whatever the rest is", () => {
    const unreadable = evidenceOf(report, { kind: "health-certificate", content: EMPTY });
    assert.deepEqual(reasons(unreadable, vbsPolicy), ["Malformed"]);
  });

  test("is malformed when a part is missing, stands twice, or is of the other format", () => {
    for (const evidence of [
      evidenceOf(report),
      evidenceOf(report, health, health),
      evidenceOf(EMPTY, health),
      evidenceOf(utf8Encode(token(guest)), health),
    ])
      assert.throws(() => reasons(evidence, vbsPolicy), isMalformed);
    for (const evidence of [evidenceOf(report, health), evidenceOf(EMPTY), evidenceOf(Uint8Array.of(0xff))])
      assert.throws(() => reasons(evidence, guestPolicy), isMalformed);
  });
});
