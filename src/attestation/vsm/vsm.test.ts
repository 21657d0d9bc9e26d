import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import {
  DAY_MS,
  issue,
  makeKey,
  NOW_MS,
  PURPOSE,
  type CertificateOptions,
} from "../../../test/support/issue-certificates.ts";
import { concatBytes, type Bytes } from "../../core/codec/bytes.ts";
import { STRICT_VBS_POLICY, type VbsHgsPolicy } from "../../core/governance/policy-vsm.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import type { Expected } from "../bound-data.ts";
import { isAccepted, reasonsOf, type Verification } from "../checks.ts";
import { appraiseVbs } from "./appraise.ts";
import { MAX_VBS_MODULES, MAX_VBS_REPORT_BYTES, parseVbsReport } from "./report.ts";
import {
  applicationPolicies,
  IDS,
  makeGuardian,
  makeReport,
  mutate,
  type ReportOptions,
  seededChoices,
  u32,
  vbsModule,
} from "./test-vsm-evidence.ts";
import { missingTeeVectors, teeVector } from "../../../test/support/tee-vectors.ts";
import { verifyVbs, type VsmClaims } from "./verify.ts";

const crypto = createAttestationCrypto();
const guardian = makeGuardian();
const roots = [guardian.root.der];
const healthCertificate = guardian.health.der;
const report = makeReport(guardian.key);
const policy: VbsHgsPolicy = { ...STRICT_VBS_POLICY, roots };

function verify(bytes: Bytes, nowMs = NOW_MS): Verification<VsmClaims> {
  return verifyVbs({ report: bytes, healthCertificate }, { roots, nowMs }, crypto);
}

/** Reasons against a report; `Malformed` when it cannot be read. */
function reasonsAgainst(verifyIt: () => Verification<unknown>): readonly string[] {
  try {
    const { checks } = verifyIt();
    assert.equal(isAccepted(checks), reasonsOf(checks).length === 0);
    return reasonsOf(checks);
  } catch (error) {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "MalformedInput", error.message);
    return ["Malformed"];
  }
}

/** Reasons of appraisal against a report that verifies. */
function judged(options: ReportOptions, change: Partial<VbsHgsPolicy> = {}, expected: Expected = {}) {
  const { claims, checks } = verify(makeReport(guardian.key, options));
  assert.deepEqual(reasonsOf(checks), []);
  return reasonsOf(appraiseVbs(claims, { ...policy, ...change }, expected));
}

describe("the report of a SQL Server enclave", { skip: missingTeeVectors("vbs-maa/sql-vsm") }, () => {
  const file = (name: string): Bytes => teeVector(`vbs-maa/sql-vsm/${name}`);
  const atMs = Date.UTC(2019, 9, 30, 20);
  const real = (): { readonly report: Bytes; readonly healthCertificate: Bytes } => ({
    report: file("enclave-report.bin"),
    healthCertificate: file("health-cert.der"),
  });
  const verifyReal = (roots: readonly Bytes[], nowMs = atMs) => verifyVbs(real(), { roots, nowMs }, crypto);

  test("is accepted with its health certificate pinned, and claims what it is", () => {
    const { claims, checks } = verifyReal([real().healthCertificate]);
    assert.deepEqual(reasonsOf(checks), []);
    const { modules, ...rest } = claims;
    assert.deepEqual(rest, {
      tee: "vsm",
      format: "vbs-hgs",
      machine: "6690fdee0f0353a2f413e61b81ad299ed6d13bea603043ec2af0f461e0fbf9db",
      measurement: "94b46574dabbb17186edc5263cb4de7bf6d9e2eb868622205a94d393d4cc6581",
      reportData: `0e3cafb7514f6d25b2cad18d45ece4bab52b05b5d646e53584dd3d2da6da29ff${"00".repeat(32)}`,
      ownerId: `1020304041312111${"00".repeat(24)}`,
      authorId: "0437cae2537d8b9b0776b61b11e6ced3d232e9308f60e21adab2fd91e3da9598",
      familyId: `fefe${"00".repeat(14)}`,
      imageId: "19171200010520130005140312012205",
      enclaveSvn: 0,
      secureKernelSvn: 0,
      platformSvn: 1,
      flags: 0,
      signingLevel: 0,
      enclaveType: 0,
      health: {
        subject: "CN=A19C18F32518B8A93F1949EB9E850D85BB55ACEA18C5671F77AE16368437DA58",
        issuer: "CN=Microsoft Remote Attestation Service",
        notBeforeMs: Date.UTC(2019, 9, 30, 18, 22, 47),
        notAfterMs: Date.UTC(2019, 9, 31, 2, 22, 48),
      },
    });
    assert.deepEqual(
      modules.map(({ name }) => name),
      [
        "aetm-enclave.dll",
        "bcrypt.dll",
        "ucrtbase_enclave.dll",
        "vertdll.dll",
        "AzureAttest.dll",
        "bcryptPrimitives.dll",
      ],
    );
    const key = new Uint8Array(createHash("sha256").update(file("enclave-pk.rsa1.bin")).digest());
    const measurements = [claims.measurement];
    assert.deepEqual(reasonsOf(appraiseVbs(claims, policy, { reportData: key, measurements })), []);
    const other = key.map((byte) => byte ^ 1);
    assert.deepEqual(reasonsOf(appraiseVbs(claims, policy, { reportData: other })), ["ReportDataMismatch"]);
  });

  test("is rejected without an anchor, and under another", () => {
    assert.deepEqual(reasonsOf(verifyReal([]).checks), ["RootNotTrusted"]);
    assert.deepEqual(reasonsOf(verifyReal(roots).checks), ["RootNotTrusted"]);
  });

  test("is rejected at other times", () => {
    const pinned = [real().healthCertificate];
    const { health } = verifyReal(pinned).claims;
    assert.ok(health !== undefined);
    const { notBeforeMs, notAfterMs } = health;
    for (const nowMs of [notBeforeMs, notAfterMs]) assert.deepEqual(reasonsOf(verifyReal(pinned, nowMs).checks), []);
    for (const nowMs of [notBeforeMs - 1, notAfterMs + 1, NOW_MS])
      assert.deepEqual(reasonsOf(verifyReal(pinned, nowMs).checks), ["CertificateExpired"]);
  });

  test("is rejected with any byte flipped, and cut anywhere", () => {
    const { report: whole, healthCertificate: pinned } = real();
    for (let at = 0; at < whole.length; at++) {
      const changed = Uint8Array.from(whole);
      changed[at] = (changed[at] as number) ^ (1 << (at % 8));
      const verifyIt = () => verifyVbs({ ...real(), report: changed }, { roots: [pinned], nowMs: atMs }, crypto);
      assert.notDeepEqual(reasonsAgainst(verifyIt), [], `byte ${at}`);
      assert.throws(() => parseVbsReport(whole.subarray(0, at)), { code: "MalformedInput" });
    }
  });
});

describe("verification of a VBS enclave's report", () => {
  test("accepts it under a pinned root, and through an intermediate", () => {
    assert.deepEqual(reasonsOf(verify(report).checks), []);
    const middle = issue({ subject: "CN=Middle", ca: true, issuer: guardian.root });
    const below = makeGuardian({ issuer: middle });
    const evidence = { report: makeReport(below.key), healthCertificate: below.health.der };
    const anchors = { roots, nowMs: NOW_MS };
    assert.deepEqual(reasonsOf(verifyVbs({ ...evidence, intermediates: [middle.der] }, anchors, crypto).checks), []);
    assert.deepEqual(reasonsOf(verifyVbs(evidence, anchors, crypto).checks), ["RootNotTrusted"]);
    const many = Array.from({ length: 5 }, () => middle.der);
    assert.deepEqual(reasonsOf(verifyVbs({ ...evidence, intermediates: many }, anchors, crypto).checks), [
      "ChainInvalid",
    ]);
  });

  test("rejects any flipped byte and any cut of a made report", () => {
    for (let at = 0; at < report.length; at++) {
      const changed = Uint8Array.from(report);
      changed[at] = (changed[at] as number) ^ (1 + (at % 255));
      assert.notDeepEqual(
        reasonsAgainst(() => verify(changed)),
        [],
        `byte ${at}`,
      );
      assert.deepEqual(
        reasonsAgainst(() => verify(report.subarray(0, at))),
        ["Malformed"],
      );
    }
  });

  test("R6: rejects a root of the same name that is not pinned", () => {
    const { root, health, key } = makeGuardian();
    const evidence = { report: makeReport(key), healthCertificate: health.der, intermediates: [root.der] };
    assert.deepEqual(reasonsOf(verifyVbs(evidence, { roots: [], nowMs: NOW_MS }, crypto).checks), ["RootNotTrusted"]);
    const reasons = reasonsOf(verifyVbs(evidence, { roots, nowMs: NOW_MS }, crypto).checks);
    assert.deepEqual(reasons, ["RootNotTrusted"]);
  });

  const healthCases: readonly (readonly [string, CertificateOptions, readonly string[]])[] = [
    ["R8: expired", { untilMs: NOW_MS - 1000 }, ["CertificateExpired"]],
    ["R8: not yet valid", { fromMs: NOW_MS + DAY_MS }, ["CertificateExpired"]],
    ["R12: signed by another key than its issuer's", { signer: makeKey("rsa") }, ["ChainInvalid", "RootNotTrusted"]],
    ["without a purpose", { more: [] }, ["ChainInvalid"]],
    ["for another purpose", { more: [applicationPolicies("1.3.6.1.4.1.311.48.1.3")] }, ["ChainInvalid"]],
    ["whose two lists of purposes differ", { purposes: [PURPOSE.client] }, ["ChainInvalid"]],
    ["R16: with an unknown critical extension", { more: critical() }, ["ChainInvalid"]],
    ["with a key of 1024 bits", { key: makeKey("rsa-1024") }, ["AlgorithmNotAllowed"]],
  ];

  function critical() {
    return [applicationPolicies("1.3.6.1.4.1.311.48.1.2"), { identifier: "1.2.3", critical: true, value: u32(0) }];
  }

  for (const [name, options, expected] of healthCases) {
    test(`rejects a health certificate ${name}`, () => {
      const key = options.key ?? makeKey("rsa");
      const health = issue({
        subject: "CN=Host",
        issuer: guardian.root,
        more: [applicationPolicies("1.3.6.1.4.1.311.48.1.2")],
        ...options,
        key,
      });
      const evidence = { report: makeReport(key.privateKey), healthCertificate: health.der };
      const reasons = reasonsOf(verifyVbs(evidence, { roots, nowMs: NOW_MS }, crypto).checks);
      assert.ok(reasons.length > 0 && reasons.every((reason) => expected.includes(reason)), reasons.join(", "));
    });
  }

  test("R12: rejects a health certificate used as a CA", () => {
    const key = makeKey("rsa");
    const more = [applicationPolicies("1.3.6.1.4.1.311.48.1.2")];
    const below = issue({ subject: "CN=Forged", issuer: guardian.health, key, more });
    const evidence = {
      report: makeReport(key.privateKey),
      healthCertificate: below.der,
      intermediates: [healthCertificate],
    };
    assert.deepEqual(reasonsOf(verifyVbs(evidence, { roots, nowMs: NOW_MS }, crypto).checks), ["ChainInvalid"]);
  });

  test("R4: rejects a health certificate of an elliptic curve", () => {
    const key = makeKey("P-256");
    const more = [applicationPolicies("1.3.6.1.4.1.311.48.1.2")];
    const health = issue({ issuer: guardian.root, key, more });
    const reasons = reasonsOf(
      verifyVbs({ report, healthCertificate: health.der }, { roots, nowMs: NOW_MS }, crypto).checks,
    );
    assert.deepEqual(reasons, ["AlgorithmNotAllowed"]);
  });

  test("R11: rejects a signature of another key, and one with another salt", () => {
    assert.deepEqual(reasonsOf(verify(makeReport(makeKey("rsa").privateKey)).checks), ["SignatureInvalid"]);
    assert.deepEqual(reasonsOf(verify(makeReport(guardian.key, { saltLength: 20 })).checks), ["SignatureInvalid"]);
  });

  test("R18, R20: rejects what follows report or certificate, and oversize", () => {
    assert.deepEqual(
      reasonsAgainst(() => verify(concatBytes(report, u32(0)))),
      ["Malformed"],
    );
    const longer = { report, healthCertificate: concatBytes(healthCertificate, u32(0)) };
    assert.deepEqual(
      reasonsAgainst(() => verifyVbs(longer, { roots, nowMs: NOW_MS }, crypto)),
      ["Malformed"],
    );
    assert.deepEqual(
      reasonsAgainst(() => verify(new Uint8Array(MAX_VBS_REPORT_BYTES + 1))),
      ["Malformed"],
    );
  });
});

describe("reading a VBS enclave's report", () => {
  const malformed: readonly (readonly [string, ReportOptions])[] = [
    ["another version", { header: { version: 2 } }],
    ["another signature scheme", { header: { scheme: 2 } }],
    ["a reserved field that is set", { header: { reserved: 1 } }],
    ["a part that is no module", { modules: [vbsModule("a.dll", 2)] }],
    ["a module without a name", { modules: [vbsModule("")] }],
    ["a name with a control character", { modules: [vbsModule("a\u0007")] }],
    ["a module of no size", { modules: [concatBytes(u32(1), u32(0))] }],
    ["a module that ends too early", { modules: [vbsModule("a.dll").subarray(0, 60)] }],
    ["a module with bytes behind its name", { modules: [withLastByte(vbsModule("a.dll"))] }],
    ["too many modules", { modules: Array.from({ length: MAX_VBS_MODULES + 1 }, () => vbsModule("a")) }],
  ];

  function withLastByte(module: Bytes): Bytes {
    const changed = concatBytes(module, new Uint8Array(8));
    changed[4] = changed.length;
    changed[changed.length - 1] = 1;
    return changed;
  }

  for (const [name, options] of malformed)
    test(`refuses ${name}`, () => {
      assert.throws(() => parseVbsReport(makeReport(guardian.key, options)), { code: "MalformedInput" });
    });

  test("refuses lengths that do not add up", () => {
    for (const offset of [0, 12, 16, 24]) {
      const changed = Uint8Array.from(report);
      changed[offset] = (changed[offset] as number) + 1;
      assert.throws(() => parseVbsReport(changed), { code: "MalformedInput" }, `offset ${offset}`);
    }
  });

  test("ends in a report or in a named error, whatever comes", () => {
    const seed = 20191030;
    const next = seededChoices(seed);
    for (let round = 0; round < 5000; round++) {
      try {
        parseVbsReport(mutate(report, next));
      } catch (error) {
        assert.ok(
          error instanceof CocoError && error.code === "MalformedInput",
          `seed ${seed}, ${round}: ${String(error)}`,
        );
      }
    }
  });
});

describe("a report without a health certificate that can be read", () => {
  const { key } = makeGuardian();
  const withHealth = (healthCertificate?: Bytes) => {
    const evidence = { report: makeReport(key), ...(healthCertificate && { healthCertificate }) };
    return verifyVbs(evidence, { roots: [], nowMs: NOW_MS }, crypto);
  };

  test("is refused, and says what it claims", () => {
    assert.deepEqual(reasonsOf(withHealth().checks), ["CertificateMissing"]);
    const { claims, checks } = withHealth(Uint8Array.of(0x30, 0));
    assert.deepEqual(reasonsOf(checks), ["Malformed"]);
    assert.equal(claims.measurement, IDS.uniqueId.repeat(32));
    assert.deepEqual([claims.machine, claims.health], [undefined, undefined]);
  });

  test("[R18] neither is one whose purposes can't be read for the health of a host", () => {
    const unreadable = { identifier: "1.3.6.1.4.1.311.21.10", value: Uint8Array.of(0x04, 0) };
    const { root, health, key: own } = makeGuardian({ more: [unreadable] });
    const evidence = { report: makeReport(own), healthCertificate: health.der };
    assert.deepEqual(reasonsOf(verifyVbs(evidence, { roots: [root.der], nowMs: NOW_MS }, crypto).checks), [
      "ChainInvalid",
    ]);
  });
});

describe("appraisal of a VBS enclave's report", () => {
  test("accepts what a policy names", () => {
    const named = {
      uniqueIds: [IDS.uniqueId.repeat(32)],
      authorIds: [IDS.authorId.repeat(32)],
      familyIds: [IDS.familyId.repeat(16)],
      imageIds: [IDS.imageId.repeat(16)],
      minimumEnclaveSvn: 5,
      minimumSecureKernelSvn: 6,
      minimumPlatformSvn: 7,
    };
    assert.deepEqual(judged({}, named, { measurements: [IDS.uniqueId.repeat(32)] }), []);
    assert.deepEqual(judged({ enclaveType: 0 }), []);
  });

  test("R1: rejects every debugging flag unless the policy allows it", () => {
    for (const flags of [1, 2, 4, 7, 8, 0x8000_0000]) {
      assert.deepEqual(judged({ flags }), ["DebugEnabled"], `flags ${flags}`);
      assert.deepEqual(judged({ flags }, { allowDebug: true }), []);
    }
  });

  test("rejects another type of enclave", () => {
    for (const enclaveType of [1, 2, 0x11, 0x20]) assert.deepEqual(judged({ enclaveType }), ["ProductNotAllowed"]);
  });

  test("R5: rejects versions below the policy's", () => {
    for (const minimum of ["minimumEnclaveSvn", "minimumSecureKernelSvn", "minimumPlatformSvn"] as const)
      assert.deepEqual(judged({}, { [minimum]: 8 }), ["TcbTooOld"], minimum);
  });

  test("R25: rejects other authors, families and images than the policy names", () => {
    for (const [name, length] of [
      ["uniqueIds", 32],
      ["authorIds", 32],
      ["familyIds", 16],
      ["imageIds", 16],
    ] as const)
      assert.deepEqual(judged({}, { [name]: ["00".repeat(length)] }), ["IdentityMismatch"], name);
    assert.deepEqual(judged({}, {}, { measurements: ["00".repeat(32)] }), ["MeasurementMismatch"]);
    assert.deepEqual(judged({}, {}, { measurements: [] }), ["MeasurementMismatch"]);
  });

  test("R13: binds report data whole, with zeros behind a digest", () => {
    const digest = new Uint8Array(32).fill(9);
    const tail = (value: number): Bytes => concatBytes(digest, new Uint8Array(32).fill(value));
    assert.deepEqual(judged({ enclaveData: tail(0) }, {}, { reportData: digest }), []);
    assert.deepEqual(judged({ enclaveData: tail(3) }, {}, { reportData: tail(3) }), []);
    const lastByte = concatBytes(digest, new Uint8Array(31), Uint8Array.of(1));
    for (const enclaveData of [tail(9), lastByte])
      assert.deepEqual(judged({ enclaveData }, {}, { reportData: digest }), ["ReportDataMismatch"]);
    for (const length of [0, 1, 31, 33, 63])
      assert.deepEqual(judged({ enclaveData: tail(0) }, {}, { reportData: tail(0).subarray(0, length) }), [
        "ReportDataMismatch",
      ]);
  });
});
