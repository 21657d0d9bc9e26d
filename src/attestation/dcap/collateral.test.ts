import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fromHex, toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { toBase64 } from "../../core/codec/base64.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { CocoError } from "../../errors.ts";
import { DAY_MS, issue, makeKey, NOW_MS } from "../../../test/support/issue-certificates.ts";
import {
  makeEvidence,
  QUOTE_FORMS,
  signDocument,
  type Document,
  type PlatformChanges,
} from "../../../test/support/intel-platform.ts";
import { reasonsOf } from "../checks.ts";
import { encodeCollateral, MAX_COLLATERAL_BYTES, parseCollateral } from "./collateral.ts";
import { cutSignedJson } from "./signed-json.ts";
import { parseTcbInfo } from "./tcb-info.ts";
import { failedNames, refusals, refusedInEachForm, SGX_FORMS, TDX_FORMS, verified } from "./test-refusals.ts";

const other = makeKey();
const iso = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** Changes one field of the finished collateral. */
function field(name: string, change: (text: string) => unknown): PlatformChanges {
  return { collateral: (fields) => Object.assign(fields, { [name]: change(String(fields[name])) }) };
}

/** Puts two fields of the finished collateral in each other's place. */
function swapped(one: string, two: string): PlatformChanges {
  return { collateral: (fields) => Object.assign(fields, { [one]: fields[two], [two]: fields[one] }) };
}

describe("R7: revocation lists", () => {
  const missing = ["RevocationMissing"] as const;
  for (const [name, list] of [
    ["root_ca_crl", "rootList"],
    ["pck_crl", "pckList"],
  ] as const) {
    refusedInEachForm(
      `${name}: empty`,
      field(name, () => ""),
      missing,
    );
    refusedInEachForm(
      `${name}: garbage`,
      field(name, () => "deadbeef".repeat(40)),
      missing,
    );
    refusedInEachForm(
      `${name}: cut off`,
      field(name, (text) => text.slice(0, -2)),
      missing,
    );
    refusedInEachForm(
      `${name}: unsigned`,
      field(name, (text) => text.slice(0, -8) + "00000000"),
      missing,
    );
    refusedInEachForm(`${name}: signed by another key`, { [list]: { signer: other } }, missing);
    refusedInEachForm(`${name}: of another issuer`, { [list]: { issuer: issue({ ca: true }) } }, missing);
    refusedInEachForm(`${name}: expired`, { [list]: { untilMs: NOW_MS - 1000 } }, missing);
    refusedInEachForm(
      `${name}: of the future`,
      { [list]: { fromMs: NOW_MS + DAY_MS, untilMs: NOW_MS + 2 * DAY_MS } },
      missing,
    );
    refusedInEachForm(`${name}: without a next update`, { [list]: { untilMs: undefined } }, missing);

    test(`${name}: one that is not there`, () => {
      const changes: PlatformChanges = { collateral: (fields) => void delete fields[name] };
      assert.ok(refusals(changes).includes("CollateralInvalid"));
    });

    test(`${name}: hex, PEM and base64 of one list are the same`, () => {
      for (const write of [
        (der: Bytes) => toHex(der).toUpperCase(),
        (der: Bytes) => pemOfDer(der, "X509 CRL"),
        (der: Bytes) => toBase64(der),
      ])
        assert.deepEqual(refusals(field(name, (text) => write(fromHex(text)))), []);
    });
  }
  const revoked = ["CertificateRevoked"] as const;
  refusedInEachForm("a PCK certificate that is revoked", { pckList: ({ leaf }) => ({ revoked: [leaf] }) }, revoked);
  refusedInEachForm("a PCK CA that is revoked", { rootList: ({ authority }) => ({ revoked: [authority] }) }, revoked);
  refusedInEachForm(
    "a TCB signing key that is revoked",
    { rootList: (made) => ({ revoked: [made.tcbSigning] }) },
    revoked,
  );
  refusedInEachForm(
    "a certificate on a list that is past its end",
    {
      pckList: ({ leaf }) => ({ revoked: [leaf], untilMs: NOW_MS - 1000 }),
    },
    ["CertificateRevoked", "RevocationMissing"],
  );

  test("the lists of root and PCK CA can't stand for each other", () => {
    assert.deepEqual(refusals(swapped("root_ca_crl", "pck_crl")), ["RevocationMissing"]);
  });
});

describe("R8: TCB infos and identities of another time, platform or TEE", () => {
  for (const name of ["tcbInfo", "identity"] as const) {
    const dated = (issueDate: number, nextUpdate: number): PlatformChanges => ({
      [name]: (document: Document) =>
        void Object.assign(document, { issueDate: iso(issueDate), nextUpdate: iso(nextUpdate) }),
    });
    const late = ["CollateralExpired"] as const;
    refusedInEachForm(`${name}: expired`, dated(NOW_MS - 2 * DAY_MS, NOW_MS - 1000), late);
    refusedInEachForm(`${name}: not valid yet`, dated(NOW_MS + 1000, NOW_MS + DAY_MS), late);

    test(`${name}: valid in the first and the last second of its time`, () => {
      assert.deepEqual(refusals(dated(NOW_MS, NOW_MS + DAY_MS)), []);
      assert.deepEqual(refusals(dated(NOW_MS - DAY_MS, NOW_MS)), []);
    });

    test(`${name}: an evaluation older than the policy's minimum`, () => {
      const changes = { [name]: (document: Document) => Object.assign(document, { tcbEvaluationDataNumber: 16 }) };
      assert.deepEqual(refusals(changes, { minEvaluationNumber: 17 }), ["TcbTooOld"]);
      assert.deepEqual(refusals(changes, { minEvaluationNumber: 16 }), []);
    });
  }
  const changed = (changes: Document): PlatformChanges => ({ tcbInfo: (info) => void Object.assign(info, changes) });
  refusedInEachForm("the FMSPC of another platform", changed({ fmspc: "00A067110001" }), ["EndorsementMismatch"]);
  refusedInEachForm("the PCEID of another platform", changed({ pceId: "0001" }), ["EndorsementMismatch"]);
  refusedInEachForm("a PCK certificate of another platform", { platform: { fmspc: "00606a000000" } }, [
    "EndorsementMismatch",
  ]);
  const sgxInfo = makeCollateralFields("sgx-4");
  const tdxInfo = makeCollateralFields("tdx-4");
  const of = (fields: Record<string, unknown>, ...names: string[]): PlatformChanges => ({
    collateral: (target) => {
      for (const name of names) target[name] = fields[name];
    },
  });
  const infoNames = ["tcb_info", "tcb_info_signature"];
  const identityNames = ["qe_identity", "qe_identity_signature"];
  const wrongInfo = ["CollateralInvalid", "TcbStatusNotAllowed"] as const;
  refusedInEachForm("TCB info of SGX", of(sgxInfo, ...infoNames), [...wrongInfo, "ModuleInvalid"], TDX_FORMS);
  refusedInEachForm("TCB info of TDX", of(tdxInfo, ...infoNames), wrongInfo, SGX_FORMS);
  const wrongIdentity = ["CollateralInvalid", "QuotingEnclaveInvalid"] as const;
  refusedInEachForm("the quoting enclave of SGX", of(sgxInfo, ...identityNames), wrongIdentity, TDX_FORMS);
  refusedInEachForm("the quoting enclave of TDX", of(tdxInfo, ...identityNames), wrongIdentity, SGX_FORMS);

  function makeCollateralFields(form: "sgx-4" | "tdx-4"): Record<string, unknown> {
    const taken: Record<string, unknown> = {};
    makeEvidence({ form, collateral: (fields) => Object.assign(taken, fields) });
    return taken;
  }
});

describe("R9: documents that are not what was signed", () => {
  const invalid = ["CollateralInvalid"] as const;
  refusedInEachForm("documents by another key", { documentSigner: other }, invalid);
  for (const name of ["tcb_info", "qe_identity"]) {
    refusedInEachForm(
      `${name}: unsigned`,
      field(`${name}_signature`, () => "00".repeat(64)),
      invalid,
    );
    refusedInEachForm(
      `${name}: signed as the other one`,
      swapped("tcb_info_signature", "qe_identity_signature"),
      invalid,
    );
    refusedInEachForm(
      `${name}: written again with spaces`,
      field(name, (text) => JSON.stringify(JSON.parse(text), null, 1)),
      invalid,
    );
    refusedInEachForm(
      `${name}: with another number`,
      field(name, (text) => text.replace('"tcbEvaluationDataNumber":17', '"tcbEvaluationDataNumber":18')),
      invalid,
    );

    test(`${name}: a name that stands twice is refused although it is signed`, () => {
      const collateral = (fields: Record<string, unknown>) => {
        const text = String(fields[name]).replace('{"id"', '{"version":2,"id"');
        fields[name] = text;
        fields[`${name}_signature`] = signDocument(text);
      };
      const { checks } = verified(makeEvidence({ collateral }));
      const document = name === "tcb_info" ? "tcb info" : "quoting enclave identity";
      assert.ok(failedNames(checks).includes(`${document}: form`));
      assert.ok(!failedNames(checks).includes(`${document}: signature`));
    });
  }

  test("fields of the wrong form are refused although they are signed", () => {
    const wrong: readonly Document[] = [
      { version: 2 },
      { id: "sgx" },
      { tcbType: 1 },
      { fmspc: "00a0671100" },
      { fmspc: "00a06711000g" },
      { pceId: 0 },
      { issueDate: "2031-05-31T00:00:00.000Z" },
      { issueDate: "2031-02-30T00:00:00Z" },
      { nextUpdate: 5 },
      { tcbEvaluationDataNumber: -1 },
      { tcbEvaluationDataNumber: 1.5 },
      { tcbLevels: {} },
      { tcbLevels: [{}] },
      { tcbLevels: [{ tcb: {}, tcbDate: "2030-11-13T00:00:00Z", tcbStatus: "Fine" }] },
      { tdxModule: null },
      { tdxModuleIdentities: {} },
    ];
    for (const change of wrong) {
      const { checks } = verified(makeEvidence({ tcbInfo: (info) => void Object.assign(info, change) }));
      assert.deepEqual(failedNames(checks), ["tcb info: form"], JSON.stringify(change));
    }
  });

  test("fields that a later service adds do not hinder", () => {
    assert.deepEqual(refusals({ tcbInfo: (info) => Object.assign(info, { added: { list: [1] } }) }), []);
  });
});

describe("R10: the quoting enclave", () => {
  const invalid = ["QuotingEnclaveInvalid"] as const;
  const report = (at: number, value: number): PlatformChanges => ({
    quotingReport: (bytes) => bytes.set([value], at),
  });
  refusedInEachForm("of another signer", report(128, 1), invalid);
  refusedInEachForm("of another product", report(256, 9), invalid);
  refusedInEachForm("with other MISCSELECT", report(16, 1), invalid);
  refusedInEachForm("with other ATTRIBUTES", report(48, 0x35), invalid);
  refusedInEachForm("that is debugged", report(48, 0x17), invalid);
  refusedInEachForm("older than every level", report(258, 5), invalid);
  refusedInEachForm(
    "an identity whose mask leaves debugging out",
    {
      quotingReport: (bytes) => bytes.set([0x17], 48),
      identity: (identity) => Object.assign(identity, { attributesMask: "F9FFFFFFFFFFFFFF0000000000000000" }),
    },
    invalid,
  );
  refusedInEachForm("out of date", report(258, 6), ["TcbStatusNotAllowed"]);
});

describe("collateral", () => {
  const { collateral, ...rest } = makeEvidence();
  const text = new TextDecoder().decode(collateral);
  const reasons = (bytes: Bytes) => reasonsOf(verified({ ...rest, collateral: bytes }).checks);

  test("is read as it is written, and by its known names only", () => {
    const parsed = parseCollateral(collateral);
    assert.deepEqual(parseCollateral(encodeCollateral(parsed)), parsed);
    assert.deepEqual(reasons(encodeCollateral(parsed)), []);
    const ofQuote = { version: 3, tee_type: 0x81, pck_crl_issuer_chain: "", pck_certificate_chain: "" };
    const unused = { ...JSON.parse(text), ...ofQuote } as unknown;
    assert.deepEqual(reasons(utf8Encode(JSON.stringify(unused))), []);
    assert.ok(reasons(utf8Encode(text.replace('{"', '{"more":"","'))).includes("CollateralInvalid"));
  });

  test("that is none, or not well-formed, makes a rejection and no exception", () => {
    const large = new Uint8Array(MAX_COLLATERAL_BYTES + 1).fill(0x20);
    const duplicate = utf8Encode(text.replace('{"', '{"pck_crl":"","'));
    const surrogate = Uint8Array.from(collateral, (byte, at) => (at === 30 ? 0xed : byte));
    for (const bytes of ["", "[]", "null", "{}", '{"tcb_info":1}', text.slice(0, -1), `${text}x`].map(utf8Encode))
      assert.deepEqual(reasons(bytes), ["CollateralInvalid"]);
    for (const bytes of [large, duplicate, surrogate]) assert.deepEqual(reasons(bytes), ["CollateralInvalid"]);
  });

  test("keeps issuer chains with other line ends, and nothing between their blocks", () => {
    assert.deepEqual(refusals(field("tcb_info_issuer_chain", (pem) => pem.replaceAll("\n", "\r\n"))), []);
    for (const change of [
      (pem: string) => `x${pem}`,
      (pem: string) => pem.replace("-----\n-----BEGIN", "-----\nx-----BEGIN"),
    ])
      assert.ok(refusals(field("tcb_info_issuer_chain", change)).includes("ChainInvalid"));
  });

  test("the document in an answer of the service is cut out as it is signed", () => {
    const { tcb_info: document, tcb_info_signature: signature } = parseCollateral(collateral);
    const answer = `{"tcbInfo":${document},"signature":"${signature}"}`;
    assert.deepEqual(cutSignedJson(answer, "tcbInfo"), { document, signature });
    assert.deepEqual(cutSignedJson(`${answer}\n`, "tcbInfo"), { document, signature });
    assert.equal(parseTcbInfo(document).id, "TDX");
    const wrong = [
      `{"signature":"${signature}","tcbInfo":${document}}`,
      `{"tcbInfo":${document},"more":1,"signature":"${signature}"}`,
      `{"tcbInfo":${document},"tcbInfo":{},"signature":"${signature}"}`,
      `{"tcbInfo":${document},"signature":"${signature.slice(2)}"}`,
      `{"tcbInfo":[],"signature":"${signature}"}`,
      answer.slice(0, -1),
      "",
    ];
    for (const each of wrong)
      assert.throws(
        () => cutSignedJson(each, "tcbInfo"),
        (error) => error instanceof CocoError && error.code === "MalformedInput",
        each.slice(0, 40),
      );
    assert.throws(() => cutSignedJson(answer, "enclaveIdentity"), { code: "MalformedInput" });
  });

  test("every quote form has collateral of its own that verifies", () => {
    for (const form of QUOTE_FORMS) assert.deepEqual(reasonsOf(verified(makeEvidence({ form })).checks), []);
  });
});
