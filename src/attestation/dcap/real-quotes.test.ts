/** Real quotes of real machines: each gives exactly what is written down beside it, at the time it was looked at. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { allowingDcap, type DcapPolicy } from "../../core/governance/policy-dcap.ts";
import { isAccepted, reasonsOf } from "../checks.ts";
import { appraiseDcap } from "./appraise.ts";
import { INTEL_SGX_ROOT } from "./chains.ts";
import { crypto, failedNames } from "./test-refusals.ts";
import { quotesMissing, realQuotes, type ExpectedQuote, type RealQuote } from "./test-vectors.ts";
import { verifyDcap } from "./verify.ts";

const YEAR_MS = 365 * 86_400_000;

function verify(real: Pick<RealQuote, "quote" | "collateral">, nowMs: number) {
  return verifyDcap(real, { roots: [INTEL_SGX_ROOT], nowMs }, crypto);
}

/** What has to be allowed for it to be accepted: undefined where no policy accepts it. */
function policyFor({
  expect,
  tcb_status,
  attributes,
  debug,
  tee,
  mrservicetd_zero,
}: ExpectedQuote): DcapPolicy | undefined {
  if (tcb_status === undefined) return undefined;
  const names = [
    ...(tcb_status === "UpToDate" ? [] : [tcb_status]),
    ...(debug === true ? ["debug"] : []),
    ...(mrservicetd_zero === false ? ["mrservicetd"] : []),
    ...(tee === "tdx" && (Number.parseInt(attributes.slice(6, 8), 16) & 0x10) === 0 ? ["no-sept-ve-disable"] : []),
  ];
  assert.equal(names.length === 0, expect === "ACCEPT", expect);
  return allowingDcap({}, names);
}

describe("real quotes", { skip: quotesMissing }, () => {
  for (const real of realQuotes()) {
    const { name, expected } = real;
    const nowMs = Date.parse(expected.verify_at);

    test(`${name}: claims and status`, () => {
      const { claims, checks } = verify(real, nowMs);
      assert.deepEqual(failedNames(checks), expected.tcb_status === undefined ? ["tcb level"] : []);
      assert.equal(claims.tee, expected.tee);
      assert.equal(claims.quoteVersion, expected.version);
      assert.equal(claims.measurement, expected.measurement);
      assert.equal(claims.attributes, expected.attributes);
      assert.equal(claims.reportData, expected.report_data);
      assert.equal(claims.fmspc, expected.fmspc);
      assert.equal(claims.pceSvn, expected.pce_svn);
      assert.equal(claims.cpuSvn, expected.cpu_svn);
      if (claims.tee === "sgx") assert.equal(claims.signer, expected.mrsigner);
      else assert.deepEqual([claims.teeTcbSvn, claims.teeTcbSvn2], [expected.tee_tcb_svn, expected.tee_tcb_svn2]);
      assert.equal(claims.tcbStatus, expected.tcb_status);
      if (expected.tcb_status === undefined) return;
      assert.equal(claims.platformTcbStatus, expected.platform_tcb_status);
      assert.equal(claims.tcbDate, expected.tcb_date);
      assert.equal(claims.quotingEnclaveStatus, expected.qe_status);
      assert.equal(claims.module && `${claims.module.id}:${claims.module.status}`, expected.module);
      assert.equal(claims.advisories.join(","), expected.advisories);
      assert.equal(claims.evaluationNumber, expected.tcb_eval_num);
    });

    test(`${name}: ${expected.expect}`, () => {
      const { claims, checks } = verify(real, nowMs);
      const accepts = (policy: DcapPolicy): boolean => isAccepted([...checks, ...appraiseDcap(claims, policy)]);
      assert.equal(accepts({}), expected.expect === "ACCEPT");
      const policy = policyFor(expected);
      assert.equal(policy !== undefined && accepts(policy), policy !== undefined);
      // Each thing that has to be allowed is needed.
      for (const status of policy?.statuses ?? [])
        if (status !== "UpToDate") assert.equal(accepts({ ...policy, statuses: ["UpToDate"] }), false);
      for (const allowed of policy?.allow ?? [])
        assert.equal(accepts({ ...policy, allow: policy?.allow?.filter((each) => each !== allowed) ?? [] }), false);
    });

    test(`${name}: neither before nor after its time, and under no other root`, () => {
      assert.ok(reasonsOf(verify(real, nowMs + YEAR_MS).checks).includes("CollateralExpired"));
      assert.ok(reasonsOf(verify(real, nowMs + YEAR_MS).checks).includes("RevocationMissing"));
      assert.ok(reasonsOf(verify(real, nowMs - YEAR_MS).checks).includes("CollateralExpired"));
      const other = verifyDcap(real, { roots: ["00".repeat(32)], nowMs }, crypto);
      assert.ok(reasonsOf(other.checks).includes("RootNotTrusted"));
    });

    test(`${name}: without a list of revoked certificates, or with one of another time, it is refused`, () => {
      for (const field of ["root_ca_crl", "pck_crl"]) {
        for (const value of ["", "00", "garbage"]) {
          const fields = JSON.parse(utf8Decode(real.collateral)) as Record<string, unknown>;
          const collateral = utf8Encode(JSON.stringify({ ...fields, [field]: value }));
          const reasons = reasonsOf(verify({ ...real, collateral }, nowMs).checks);
          assert.ok(reasons.includes("RevocationMissing"), `${field} ${value}`);
        }
      }
    });
  }

  test("collateral of one machine does not serve another", () => {
    const all = realQuotes();
    for (const one of all) {
      for (const two of all) {
        if (one.expected.fmspc === two.expected.fmspc) continue;
        const { checks } = verify({ quote: one.quote, collateral: two.collateral }, Date.parse(two.expected.verify_at));
        assert.ok(reasonsOf(checks).includes("EndorsementMismatch"), `${one.name} with that of ${two.name}`);
      }
    }
  });
});
