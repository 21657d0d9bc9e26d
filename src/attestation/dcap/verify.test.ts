import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pemOfDer } from "../../core/governance/pem.ts";
import { concatBytes, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { DAY_MS, issue, makeKey, NOW_MS } from "../../../test/support/issue-certificates.ts";
import {
  makeEvidence,
  pinOf,
  PLATFORM_NAMES,
  platformExtension,
  QUOTE_FORMS,
  REPORT_DATA,
  type PlatformChanges,
  type TestEvidence,
} from "../../../test/support/intel-platform.ts";
import { isAccepted, reasonsOf } from "../checks.ts";
import { appraiseDcap } from "./appraise.ts";
import { verifyHardware } from "../hardware.ts";
import type { HardwareEvidence } from "../hardware-evidence.ts";
import { createAmdRoots } from "../snp/roots.ts";
import { INTEL_SGX_ROOT } from "./chains.ts";
import { crypto, failedNames, refusals, refusedInEachForm, verified } from "./test-refusals.ts";

const other = makeKey();

describe("a quote that is genuine and up to date", () => {
  for (const form of QUOTE_FORMS) {
    test(`${form}: passes every check and gives its claims`, () => {
      const { claims, checks } = verified(makeEvidence({ form }), { expectedReportData: REPORT_DATA });
      assert.deepEqual(failedNames([...checks, ...appraiseDcap(claims, {})]), []);
      assert.equal(claims.tee, form.startsWith("sgx") ? "sgx" : "tdx");
      assert.equal(claims.measurement, form.startsWith("sgx") ? "e1".repeat(32) : "d1".repeat(48));
      assert.equal(claims.reportData, toHex(REPORT_DATA));
      assert.equal(claims.tcbStatus, "UpToDate");
      assert.equal(claims.fmspc, "00a067110000");
      assert.equal(claims.pceSvn, 13);
      assert.equal(claims.evaluationNumber, 17);
      assert.equal(claims.quotingEvaluationNumber, 17);
      assert.deepEqual(claims.module, form.startsWith("tdx") ? { id: "TDX_01", status: "UpToDate" } : undefined);
    });
  }

  test("the names of what was checked do not depend on the outcome of other checks", () => {
    const good = verified(makeEvidence()).checks.map(({ name }) => name);
    const bad = verified(makeEvidence({ quoteSigner: other, documentSigner: other })).checks.map(({ name }) => name);
    assert.deepEqual(bad, good);
    assert.ok(good.length > 30, `${good.length} checks`);
  });

  test("R18: a certificate that carries another one in PEM is read as what it is", () => {
    const inner = issue({ subject: PLATFORM_NAMES.leaf });
    const pem = utf8Encode(pemOfDer(inner.der, "CERTIFICATE"));
    const more = [
      { identifier: "1.2.840.113741.1.13.1", value: platformExtension({ fmspc: "00a067110000" }) },
      { identifier: "1.2.3.4", value: pem },
    ];
    assert.deepEqual(refusals({ leaf: { more } }), []);
  });
});

describe("R6: a root that is not pinned", () => {
  refusedInEachForm("a root of one's own, with everything below it", { root: { key: other } }, ["RootNotTrusted"]);

  test("no roots, and the root of genuine hardware, trust none of it", () => {
    for (const roots of [[], [INTEL_SGX_ROOT]])
      assert.deepEqual(refusals({}, {}, { roots }), ["RootNotTrusted"], roots.join());
  });

  test("the name of the root is not enough, in either chain", () => {
    const forged = issue({ subject: PLATFORM_NAMES.root, key: other, ca: true });
    const replaced = (chain: readonly ReturnType<typeof issue>[]) => [...chain.slice(0, -1), forged];
    for (const changes of [{ chain: replaced }, { tcbChain: replaced }] satisfies PlatformChanges[]) {
      const codes = refusals(changes);
      assert.ok(codes.includes("RootNotTrusted") && codes.includes("ChainInvalid"), codes.join());
    }
  });

  test("chains of two pinned roots do not mix: each has a list of its own", () => {
    const evidence = makeEvidence({
      tcbChain: () => {
        const root = issue({ subject: PLATFORM_NAMES.root, key: other, ca: true });
        return [issue({ subject: PLATFORM_NAMES.tcbSigning, issuer: root }), root];
      },
    });
    const { checks } = verified(evidence, { roots: [...evidence.roots, pinOf(other)] });
    assert.ok(failedNames(checks).includes("one root"));
  });
});

describe("R11: keys that are not bound", () => {
  const flipped = (at: number) => (report: Uint8Array) => report.set([(report[at] as number) ^ 1], at);
  refusedInEachForm("a quoting enclave that binds another attestation key", { boundReport: flipped(320) }, [
    "KeyNotBound",
  ]);
  refusedInEachForm("a tail of the quoting enclave's report data that is not zero", { boundReport: flipped(383) }, [
    "KeyNotBound",
  ]);
  refusedInEachForm("a quote by another key than the attestation key", { quoteSigner: other }, ["SignatureInvalid"]);
  refusedInEachForm("a quoting enclave's report by another key than the PCK", { quotingSigner: other }, [
    "SignatureInvalid",
  ]);
});

describe("R12: chains", () => {
  const chain = ["ChainInvalid"] as const;
  refusedInEachForm("an intermediate that is no CA", { authority: { ca: false, usage: 0x86 } }, chain);
  refusedInEachForm("a leaf that is a CA", { leaf: leafOptions({ ca: true, usage: 0x86 }) }, chain);
  refusedInEachForm("an intermediate of another name", { authority: { subject: "CN=Some Platform CA" } }, chain);
  refusedInEachForm("a leaf of another name", { leaf: leafOptions({ subject: "CN=PCK Certificate" }) }, chain);
  refusedInEachForm(
    "a leaf whose common name only begins right",
    {
      leaf: leafOptions({ subject: "CN=Intel SGX PCK Certificate 2" }),
    },
    chain,
  );
  refusedInEachForm("a leaf signed by another key than its issuer's", { leaf: leafOptions({ signer: other }) }, chain);
  refusedInEachForm("an intermediate signed by another key than the root's", { authority: { signer: other } }, chain);
  refusedInEachForm("an intermediate that may not issue", { authority: { ca: true, usage: 0x82 } }, chain);
  refusedInEachForm("a root that allows nothing below it", { root: { ca: { pathLength: 0 } } }, chain);
  refusedInEachForm(
    "a critical extension that nobody knows",
    {
      authority: { more: [{ identifier: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) }] },
    },
    chain,
  );
  refusedInEachForm("a key on another curve", { authority: { key: makeKey("P-384") } }, [
    "AlgorithmNotAllowed",
    "RevocationMissing",
  ]);
  refusedInEachForm("a leaf past its end", { leaf: leafOptions({ untilMs: NOW_MS - DAY_MS }) }, ["CertificateExpired"]);
  refusedInEachForm("an intermediate before its beginning", { authority: { fromMs: NOW_MS + DAY_MS } }, [
    "CertificateExpired",
  ]);
  refusedInEachForm("a PCK certificate of no platform", { leaf: { more: [] } }, [
    "ChainInvalid",
    "TcbStatusNotAllowed",
  ]);

  const cut = ["ChainInvalid", "SignatureInvalid", "TcbStatusNotAllowed"] as const;
  refusedInEachForm("a chain without its root", { chain: (all) => all.slice(0, 2) }, cut);
  refusedInEachForm("a chain without its intermediate", { chain: ([leaf, , root]) => [leaf!, root!] }, cut);
  refusedInEachForm(
    "a chain with one certificate twice",
    { chain: ([leaf, ca, root]) => [leaf!, ca!, ca!, root!] },
    cut,
  );
  for (const kind of [1, 2, 3, 4])
    refusedInEachForm(
      `certification data of kind ${kind}, without certificates`,
      {
        certificationKind: kind,
        certificationData: new Uint8Array(404),
      },
      ["CertificateMissing", "SignatureInvalid", "TcbStatusNotAllowed"],
    );

  test("a leaf used as a CA: it can't issue another leaf", () => {
    const forged = (all: readonly ReturnType<typeof issue>[]) => {
      const [leaf, , root] = all;
      return [issue({ subject: PLATFORM_NAMES.leaf, ...leafOptions({}), issuer: leaf! }), leaf!, root!];
    };
    assert.ok(failedNames(verified(makeEvidence({ chain: forged })).checks).includes("pck chain: links"));
  });

  test("a chain in another order", () => {
    const reversed = makeEvidence({ chain: (all) => [...all].reverse() });
    assert.ok(failedNames(verified(reversed).checks).includes("pck chain: links"));
  });

  test("the chain that signs TCB infos is held to its own names", () => {
    assert.deepEqual(refusals({ tcbSigning: { subject: PLATFORM_NAMES.leaf } }), chain);
    assert.deepEqual(refusals({ tcbSigning: { ca: true } }), chain);
    const byAuthority = makeEvidence({ tcbChain: () => [] });
    assert.equal(isAccepted(verified(byAuthority).checks), false);
  });

  /** Options of a leaf that keeps its extension. */
  function leafOptions(options: NonNullable<PlatformChanges["leaf"]>): NonNullable<PlatformChanges["leaf"]> {
    return { more: [{ identifier: "1.2.840.113741.1.13.1", value: platformExtension() }], ...options };
  }
});

describe("R13: report data", () => {
  for (const form of QUOTE_FORMS) {
    test(`${form}: all 64 bytes count`, () => {
      const evidence = makeEvidence({ form });
      for (const at of [0, 31, 32, 63]) {
        const expectedReportData = Uint8Array.from(REPORT_DATA);
        expectedReportData[at] = 0;
        assert.deepEqual(reasonsOf(verified(evidence, { expectedReportData }).checks), ["ReportDataMismatch"]);
      }
      for (const expectedReportData of [REPORT_DATA.subarray(0, 32), concatBytes(REPORT_DATA, new Uint8Array(1))])
        assert.deepEqual(reasonsOf(verified(evidence, { expectedReportData }).checks), ["ReportDataMismatch"]);
    });
  }
});

describe("R19: signatures that are none", () => {
  /** Where the quote's signature stands. */
  function signatureAt({ quote }: TestEvidence, form: string): number {
    const body = form.startsWith("sgx") ? 384 : form === "tdx-5-15" ? 648 : 584;
    assert.ok(quote.length > body);
    return 48 + (form.includes("-5") ? 6 : 0) + body + 4;
  }

  for (const form of QUOTE_FORMS) {
    test(`${form}: numbers of zero, of the order, above it, and high bytes set`, () => {
      const evidence = makeEvidence({ form });
      const at = signatureAt(evidence, form);
      const order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
      const fills = [new Uint8Array(32), new Uint8Array(32).fill(255), new Uint8Array(Buffer.from(order, "hex"))];
      for (const start of [at, at + 32, at + 64 + 64 + (form === "sgx-3" ? 0 : 6) + 384]) {
        for (const fill of fills) {
          const quote = Uint8Array.from(evidence.quote);
          quote.set(fill, start);
          assert.deepEqual(reasonsOf(verified({ ...evidence, quote }).checks), ["SignatureInvalid"], `byte ${start}`);
        }
      }
    });
  }

  test("a document whose signature is zero, short, or no hex", () => {
    for (const signature of ["00".repeat(64), "ff".repeat(64), "00".repeat(63), "", "zz".repeat(64)]) {
      const collateral = (fields: Record<string, unknown>) => Object.assign(fields, { tcb_info_signature: signature });
      assert.deepEqual(refusals({ collateral }), ["CollateralInvalid"], signature.slice(0, 4));
    }
  });
});

describe("evidence as it travels", () => {
  for (const form of QUOTE_FORMS) {
    test(`${form}: is judged as a whole, and only with one piece of collateral, under its TEE's name`, () => {
      const { quote, collateral, roots, nowMs } = makeEvidence({ form });
      const tee = form.startsWith("sgx") ? "sgx" : "tdx";
      const endorsements = [{ kind: "collateral", content: collateral }] as const;
      const judge = (evidence: Partial<HardwareEvidence>, policy = {}) => {
        const verification = { crypto, roots: { amd: createAmdRoots(), intel: roots } };
        const claims = verifyHardware({ tee, evidence: quote, endorsements, ...evidence }, verification, nowMs);
        return claims.judge({ tee, id: "test", note: "", policy });
      };
      assert.ok(isAccepted(judge({})));
      assert.deepEqual(reasonsOf(judge({}, { statuses: [] })), ["TcbStatusNotAllowed"]);
      const malformed = { code: "EvidenceRejected" };
      assert.throws(() => judge({ endorsements: [] }), malformed);
      assert.throws(() => judge({ endorsements: [...endorsements, ...endorsements] }), malformed);
      assert.throws(() => judge({ endorsements: [{ kind: "certificates", content: collateral }] }), malformed);
      assert.throws(() => judge({ tee: tee === "sgx" ? "tdx" : "sgx" }), malformed);
    });
  }
});
