/**
 * What must be refused although everything else holds: correctly signed by a root of our own. Names in brackets are the classes
 * of docs/reference/attestation.md.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { octets } from "../../../test/support/der-writer.ts";
import { makeKey } from "../../../test/support/issue-certificates.ts";
import { type Judged, malformed, pki, reasons, withVek } from "../../../test/support/snp-judge.ts";
import { makeSnpPki, type ReportFields, TEST_CHIP, TEST_TCB } from "../../../test/support/snp-pki.ts";
import { type Bytes, concatBytes, fromHex } from "../../core/codec/bytes.ts";
import type { SnpPolicy } from "../../core/governance/policy-snp.ts";

/** Refused by the strict policy for exactly this, and accepted when the policy allows it. */
function onlyAllowed(fields: ReportFields, reason: string, allow: SnpPolicy["allow"][number], more: Judged = {}): void {
  assert.deepEqual(reasons({ fields, ...more }), [reason]);
  assert.deepEqual(reasons({ fields, ...more, policy: { allow: [allow] } }), []);
}

test("a good report is accepted, of each version and product", () => {
  assert.deepEqual(reasons(), []);
  for (const version of [3, 4, 5]) assert.deepEqual(reasons({ fields: { 0: version } }), []);
  assert.deepEqual(reasons({ fields: { 0: 5, 504: 1, 512: 3 } }), []);
  for (const product of ["Genoa", "Turin"] as const) {
    const other = makeSnpPki(product);
    const certificates = [other.vek(), other.ask, other.ark].map(({ der }) => der);
    assert.deepEqual(reasons({ report: other.report(), certificates, roots: other.roots }), []);
  }
});

describe("guest policy", () => {
  test("[R1] debugging", () => onlyAllowed({ 10: 0b1011 }, "DebugEnabled", "debug"));
  test("[R2] a migration agent", () => onlyAllowed({ 10: 0b0111 }, "MigrationEnabled", "migration"));
  test("reserved bits", () => {
    assert.throws(() => reasons({ fields: { 10: 0b0001 } }), malformed);
    assert.throws(() => reasons({ fields: { 11: 0b100 } }), malformed);
    assert.throws(() => reasons({ fields: { 15: 0x80 } }), malformed);
    assert.deepEqual(reasons({ fields: { 64: 0xbf } }), [], "all that the platform's information has a name for");
    assert.throws(() => reasons({ fields: { 64: 0x65 } }), malformed);
    for (let place = 65; place < 72; place++)
      assert.throws(() => reasons({ fields: { [place]: 1 } }), malformed, `byte ${place}`);
  });

  test("[R3] privilege levels above the policy's, and of the host always", () => {
    for (const level of [1, 2, 3] as const) {
      onlyAllowed({ 48: level }, "PrivilegeLevel", `vmpl${level}`);
      const others = (["vmpl1", "vmpl2", "vmpl3"] as const).filter((name) => name !== `vmpl${level}`);
      assert.deepEqual(reasons({ fields: { 48: level }, policy: { allow: others } }), ["PrivilegeLevel"]);
    }
    const all = { allow: ["vmpl1", "vmpl2", "vmpl3"] as const };
    for (const level of [Uint8Array.of(4), Uint8Array.of(0, 1), fromHex("ffffffff"), fromHex("00000080")])
      assert.deepEqual(reasons({ fields: { 48: level }, policy: all }), ["PrivilegeLevel"]);
  });

  test("features that are required, one by one", () => {
    const cases: readonly [SnpPolicy["require"][number], ReportFields, ReportFields, string][] = [
      ["alias-check", { 64: 0x25 }, { 64: 0x05 }, "FeatureRequired"],
      ["no-smt", { 64: 0x24 }, { 64: 0x25 }, "FeatureNotAllowed"],
      ["ecc", { 64: 0x04 }, { 64: 0x01 }, "FeatureRequired"],
      ["tsme", { 64: 0x02 }, { 64: 0x01 }, "FeatureRequired"],
      ["no-rapl", { 64: 0x08 }, { 64: 0x01 }, "FeatureNotAllowed"],
      ["ciphertext-hiding", { 64: 0x10 }, { 64: 0x01 }, "FeatureRequired"],
      ["single-socket", { 10: 0b10010 }, { 10: 0b10 }, "FeatureRequired"],
      ["no-cxl", { 10: 0b10 }, { 10: 0b100010 }, "FeatureNotAllowed"],
      ["aes-256-xts", { 10: 0b1000010 }, { 10: 0b10 }, "FeatureRequired"],
      ["no-page-swap", { 11: 0b10 }, { 11: 0 }, "FeatureNotAllowed"],
      ["host-policy", {}, { 192: new Uint8Array(32) }, "HostDataMismatch"],
    ];
    for (const [name, on, off, reason] of cases) {
      assert.deepEqual(reasons({ fields: on, policy: { require: [name] } }), [], name);
      assert.deepEqual(reasons({ fields: off, policy: { require: [name] } }), [reason], name);
      assert.deepEqual(reasons({ fields: off }), [], name);
    }
  });
});

describe("keys and chips", () => {
  const vlek = pki.vek({ kind: "vlek" });
  const byProvider = { 72: 0b100, 416: new Uint8Array(64) };
  const ofProvider = { chain: [vlek, pki.asvk, pki.ark] };

  test("[R4] a provider's key, unless the policy allows it", () =>
    onlyAllowed(byProvider, "KeyKindNotAllowed", "vlek", ofProvider));

  test("[R4] a signing key of another kind than the certificate", () => {
    const policy = { allow: ["vlek"] as const };
    assert.deepEqual(reasons({ fields: { 72: 0b100 }, policy }), ["EndorsementMismatch"]);
    const chipKey = reasons({ ...ofProvider, policy });
    assert.deepEqual(chipKey, ["EndorsementMismatch"]);
    for (const none of [7, 2])
      assert.deepEqual(reasons({ fields: { 72: none << 2 }, policy }), ["EndorsementMismatch", "KeyKindNotAllowed"]);
  });

  test("[R4] a masked chip key, and a chip that is not named", () => {
    assert.deepEqual(reasons({ fields: { 72: 0b10 } }), ["ChipHidden"]);
    assert.deepEqual(reasons({ fields: { 416: new Uint8Array(64) } }), ["ChipHidden", "EndorsementMismatch"]);
    const zero = pki.vek({ hardwareId: new Uint8Array(64) });
    assert.deepEqual(reasons({ fields: { 416: new Uint8Array(64) }, chain: withVek(zero) }), ["ChipHidden"]);
  });

  test("[R8] a certificate of another chip, of a part of its id, or of none", () => {
    const other = Uint8Array.from(TEST_CHIP).fill(9, 63);
    for (const hardwareId of [other, TEST_CHIP.subarray(0, 8), octets(TEST_CHIP.subarray(0, 8)), undefined])
      assert.deepEqual(reasons({ chain: withVek(pki.vek({ hardwareId })) }), ["EndorsementMismatch"]);
    const short = TEST_CHIP.subarray(0, 8);
    const fields = { 416: concatBytes(short, new Uint8Array(56)) };
    assert.deepEqual(reasons({ fields, chain: withVek(pki.vek({ hardwareId: short })) }), ["EndorsementMismatch"]);
    const unreadable = pki.vek({ hardwareId: TEST_CHIP.subarray(0, 32) });
    assert.deepEqual(reasons({ chain: withVek(unreadable) }), ["ChainInvalid", "EndorsementMismatch"]);
  });

  test("a chip's id in an OCTET STRING counts as one without", () => {
    assert.deepEqual(reasons({ chain: withVek(pki.vek({ hardwareId: octets(TEST_CHIP) })) }), []);
  });

  test("of Turin, an id of 8 bytes needs zeros behind it in the report", () => {
    const turin = makeSnpPki("Turin");
    const judge = (chip: Bytes, hardwareId: Bytes) =>
      reasons({
        report: turin.report({ 416: chip }),
        certificates: [turin.vek({ hardwareId }), turin.ask, turin.ark].map(({ der }) => der),
        roots: turin.roots,
      });
    const short = TEST_CHIP.subarray(0, 8);
    assert.deepEqual(judge(short, short), []);
    assert.deepEqual(judge(short, octets(short)), []);
    assert.deepEqual(judge(TEST_CHIP, short), ["EndorsementMismatch"]);
    assert.deepEqual(judge(TEST_CHIP, TEST_CHIP), []);
    assert.deepEqual(judge(concatBytes(short, new Uint8Array(55), Uint8Array.of(1)), short), ["EndorsementMismatch"]);
  });

  test("a chip's key that names a provider, and a provider's that names a chip or no provider", () => {
    assert.deepEqual(reasons({ chain: withVek(pki.vek({ providerId: "CN=x" })) }), ["EndorsementMismatch"]);
    const policy = { allow: ["vlek"] as const };
    const both = pki.vek({ kind: "vlek", hardwareId: TEST_CHIP });
    assert.deepEqual(reasons({ fields: byProvider, chain: [both, pki.asvk, pki.ark], policy }), [
      "EndorsementMismatch",
    ]);
  });

  test("a name that only begins or ends as that of a signing key", () => {
    for (const subject of ["VCEK", "SEV-VCEK2", "sev-vcek", "SEV-VCEK, CN=x"]) {
      const named = pki.vek({ certificate: { subject: `O=Test, CN=${subject}` } });
      assert.deepEqual(reasons({ chain: withVek(named) }).slice(0, 1), ["CertificateMissing"], subject);
    }
  });
});

describe("TCB", () => {
  const lower = (at: number): Bytes => TEST_TCB.map((part, place) => (place === at ? part - 1 : part));

  test("[R5] of another level than the certificate's, in any part, up or down", () => {
    for (const part of [0, 1, 6, 7]) {
      const tcb = TEST_TCB.map((value, at) => (at === part ? value + 1 : value));
      assert.deepEqual(reasons({ chain: withVek(pki.vek({ tcb })) }), ["TcbMismatch"]);
      assert.deepEqual(reasons({ fields: { 384: tcb, 480: tcb } }), ["TcbMismatch"]);
    }
  });

  test("[R5] with a part that the certificate does not have", () => {
    for (const part of [1, 2, 3, 4, 5, 6, 7, 8])
      assert.deepEqual(reasons({ chain: withVek(pki.vek({ without: [part] })) }), ["TcbMismatch"], String(part));
  });

  test("[R5] lower than the policy's minimum, or of a model that has none", () => {
    const minimum = (cpuid: string, tcb: string) => ({ minimumTcb: [{ cpuid, tcb }] });
    assert.deepEqual(reasons({ policy: minimum("00a00f11", "db18000000000004") }), []);
    for (const tcb of ["dc18000000000004", "db19000000000004", "db18000000000104", "db18000000000005"])
      assert.deepEqual(reasons({ policy: minimum("00a00f11", tcb) }), ["TcbTooOld"], tcb);
    assert.deepEqual(reasons({ policy: minimum("00a10f11", "0000000000000000") }), ["TcbTooOld"]);
    const v2 = { ...minimum("00a00f11", "0000000000000000"), allow: ["v2"] as const };
    assert.deepEqual(reasons({ fields: { 0: 2, 392: new Uint8Array(3) }, policy: v2 }), ["TcbTooOld"]);
  });

  test("[R5] committed lower than reported, or than the minimum", () => {
    assert.deepEqual(reasons({ fields: { 480: lower(7) } }), ["TcbMismatch"]);
    const policy = { minimumTcb: [{ cpuid: "00a00f11", tcb: "db18000000000004" }] };
    assert.deepEqual(reasons({ fields: { 480: lower(6) }, policy }), ["TcbMismatch", "TcbTooOld"]);
  });
});

describe("versions and layout", () => {
  test("version 2, unless the policy allows it", () =>
    onlyAllowed({ 0: 2, 392: new Uint8Array(3) }, "VersionNotAllowed", "v2"));

  test("versions that are not known, and lengths other than a report's [R20]", () => {
    for (const version of [0, 1, 6, 255]) assert.throws(() => reasons({ fields: { 0: version } }), malformed);
    const report = pki.report();
    for (let length = 0; length < report.length; length++)
      assert.throws(() => reasons({ report: report.subarray(0, length) }), malformed);
    assert.throws(() => reasons({ report: concatBytes(report, Uint8Array.of(0)) }), malformed);
  });

  test("bytes that must be zero, each of them, signed as they are", () => {
    const places = [
      ...range(0x4c, 0x50),
      ...range(0x18b, 0x1a0),
      0x1eb,
      0x1ef,
      ...range(0x1f8, 0x2a0),
      ...range(0x2a0 + 144, 1184),
    ];
    for (const place of places) assert.throws(() => reasons({ fields: { [place]: 1 } }), malformed, place.toString(16));
    for (const place of range(0x188, 0x18b)) {
      const fields = { 0: 2, 392: new Uint8Array(3), [place]: 1 };
      assert.throws(() => reasons({ fields }), malformed);
    }
    assert.throws(() => reasons({ fields: { 72: 0x20 } }), malformed);
    assert.throws(() => reasons({ fields: { 75: 0x80 } }), malformed);
  });

  test("[R19] numbers of a signature that are longer than the curve's, zero, or of another algorithm", () => {
    for (const place of [...range(0x2a0 + 48, 0x2a0 + 72), ...range(0x2a0 + 120, 0x2a0 + 144)])
      assert.throws(() => reasons({ fields: { [place]: 1 } }), malformed);
    for (const place of [0x2a0, 0x2a0 + 72])
      for (const number of [new Uint8Array(48), new Uint8Array(48).fill(0xff)])
        assert.deepEqual(reasons({ fields: { [place]: number } }), ["SignatureInvalid"]);
    assert.deepEqual(reasons({ fields: { 52: 2 } }), ["AlgorithmNotAllowed"]);
  });

  test("[R18] any byte of a report changed", () => {
    const report = pki.report();
    for (let at = 0; at < report.length; at++) {
      const changed = report.map((byte, each) => (each === at ? byte ^ (1 << (at % 8)) : byte));
      let found: readonly string[] = [];
      try {
        found = reasons({ report: changed });
      } catch (error) {
        assert.ok(malformed(error), `byte ${at}`);
        continue;
      }
      assert.notDeepEqual(found, [], `byte ${at}`);
    }
  });

  test("a signature by another key, with the right certificates beside it", () => {
    assert.deepEqual(reasons({ report: pki.report({}, makeKey("P-384")) }), ["SignatureInvalid"]);
  });
});

describe("identity and host data", () => {
  test("[R14] host data that the policy does not name", () => {
    assert.deepEqual(reasons({ policy: { hostData: ["c0".repeat(32)] } }), []);
    assert.deepEqual(reasons({ policy: { hostData: ["c1".repeat(32)] } }), ["HostDataMismatch"]);
    const allowAll = fromHex("4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10");
    assert.deepEqual(reasons({ fields: { 192: allowAll }, policy: { require: ["host-policy"] } }), [
      "HostDataMismatch",
    ]);
  });

  test("[R25] identity keys, family and image where the policy names them", () => {
    const fields = {
      16: new Uint8Array(16).fill(0x10),
      32: new Uint8Array(16).fill(0x20),
      224: new Uint8Array(48).fill(0xe0),
      72: 1,
      272: new Uint8Array(48).fill(0x11),
    };
    const named: readonly [Partial<SnpPolicy>, Partial<SnpPolicy>][] = [
      [{ familyId: "10".repeat(16) }, { familyId: "11".repeat(16) }],
      [{ imageId: "20".repeat(16) }, { imageId: "10".repeat(16) }],
      [{ idKeyDigests: ["00".repeat(48), "e0".repeat(48)] }, { idKeyDigests: ["11".repeat(48)] }],
      [{ authorKeyDigests: ["11".repeat(48)] }, { authorKeyDigests: ["e0".repeat(48)] }],
    ];
    for (const [right, wrong] of named) {
      assert.deepEqual(reasons({ fields, policy: right }), []);
      assert.deepEqual(reasons({ fields, policy: wrong }), ["IdentityMismatch"]);
    }
    const policy = { authorKeyDigests: ["11".repeat(48)] };
    assert.deepEqual(reasons({ fields: { ...fields, 72: 0 }, policy }), ["IdentityMismatch"]);
  });
});

function range(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}
