import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { certificatesPem, issue } from "../../../test/support/issue-certificates.ts";
import { certificateTable } from "../../../test/support/snp-pki.ts";
import { octets } from "../../../test/support/der-writer.ts";
import { toBase64, toBase64Url } from "../../core/codec/base64.ts";
import { type Bytes, concatBytes, EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import { MAX_CERTIFICATE_CONTAINER_BYTES, readCertificates, readCertificateTable } from "./certificates.ts";

const [first, second, third] = [issue().der, issue().der, issue().der];
const all = [first, second, third];
const json = JSON.stringify({
  vcekCert: certificatesPem([first]),
  tcbm: "db18000000000004",
  certificateChain: certificatesPem([second, third]),
  cacheControl: "86400",
});
const VCEK = "63da758de6644564adc5f4b93be8accd";
const ASK = "4ab7b379bbac4fe4a02f05aef327c782";
const ARK = "c0b406a4a803495297433fb6014cd0ae";
const OTHER = "11".repeat(16);
const malformed = { code: "EvidenceRejected", data: { reason: "Malformed" } };
const read = (text: string): readonly Bytes[] => readCertificates(utf8Encode(text));

describe("containers of certificates", () => {
  test("each gives the same certificates", () => {
    assert.deepEqual(readCertificates(first), [first]);
    assert.deepEqual(read(certificatesPem(all)), all);
    assert.deepEqual(read(`\n${certificatesPem(all).replaceAll("\n", "\r\n")}\n`), all);
    assert.deepEqual(read(json), all);
    assert.deepEqual(read(toBase64(utf8Encode(json))), all);
    assert.deepEqual(read(`${toBase64(utf8Encode(json))}\n`), all);
    const table = certificateTable([
      [VCEK, first],
      [OTHER, Uint8Array.of(1, 2, 3)],
      [ASK, second],
      [ARK, third],
    ]);
    assert.deepEqual(readCertificates(table), all);
    assert.deepEqual(readCertificates(certificateTable([])), []);
    assert.deepEqual(readCertificateTable(EMPTY), []);
  });

  test("PEM has lines of any length, and nothing but base64 in them", () => {
    const body = toBase64(first);
    const pem = (content: string) => `-----BEGIN CERTIFICATE-----\n${content}\n-----END CERTIFICATE-----\n`;
    const lines = [body, body.replace(/.{76}/g, "$&\r\n"), body.replace(/.{64}/g, "$&\n   ")];
    for (const content of lines) assert.deepEqual(read(pem(content)), [first]);
    assert.deepEqual(read(JSON.stringify({ vcekCert: pem(body) })), [first]);
    const wrong = [`Proc-Type: 4\n\n${body}`, body.replace(/=*$/, "*"), body.slice(4), "", toBase64(Uint8Array.of(1))];
    for (const content of wrong) assert.throws(() => read(pem(content)), malformed, content);
  });

  test("[R18] a certificate that carries others as text is itself, and nothing else", () => {
    const carrier = issue({ more: [{ identifier: "1.2.3.4", value: octets(utf8Encode(certificatesPem([first]))) }] });
    assert.deepEqual(readCertificates(carrier.der), [carrier.der]);
    const pem = certificatesPem([carrier.der]);
    assert.deepEqual(read(pem), [carrier.der]);
  });

  test("[R18] bytes behind a certificate, before it, or of another encoding of its length", () => {
    assert.throws(() => readCertificates(concatBytes(first, Uint8Array.of(0))), malformed);
    assert.throws(() => readCertificates(concatBytes(Uint8Array.of(0), first)), malformed);
    assert.throws(() => readCertificates(concatBytes(first, second)), malformed);
    const indefinite = Uint8Array.from(first);
    indefinite[1] = 0x80;
    assert.throws(() => readCertificates(indefinite), malformed);
  });

  test("PEM with text around its blocks, JSON with one of its fields, base64 in either spelling of each", () => {
    const pem = certificatesPem([first]);
    assert.deepEqual(read(`Certificate:\n    Data: 1\n${pem}subject=x\n${certificatesPem([second])}\nend`), [
      first,
      second,
    ]);
    const fields = JSON.parse(json);
    assert.deepEqual(read(JSON.stringify({ vcekCert: fields.vcekCert, tcbm: "00" })), [first]);
    assert.deepEqual(read(JSON.stringify({ certificateChain: fields.certificateChain })), [second, third]);
    const spellings = [toBase64, toBase64Url, (bytes: Bytes) => toBase64(bytes).replace(/.{60}/g, "$&\n")];
    for (const spell of spellings) {
      assert.deepEqual(read(spell(utf8Encode(json))), all);
      assert.deepEqual(read(spell(utf8Encode(certificatesPem(all)))), all);
      assert.deepEqual(read(spell(first)), [first]);
    }
  });

  test("PEM of something else, blocks that are no certificate or have no end", () => {
    const pem = certificatesPem([first]);
    for (const text of [
      `${pem}${pem.slice(0, -3)}`,
      `${pem}\n-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n`,
      pem.replaceAll("CERTIFICATE", "X509 CRL"),
      pem.replace("M", "!"),
      "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      "-----BEGIN CERTIFICATE-----",
    ])
      assert.throws(() => read(text), malformed, text);
  });

  test("[R9] JSON with a name twice, without a field, or of another kind; base64 of something else", () => {
    for (const text of [
      json.replace('"tcbm"', '"vcekCert"'),
      json.replace("certificateChain", "chain").replace("vcekCert", "vcek"),
      `${json}x`,
      "{}",
      "[]",
      "{",
      '{"vcekCert":1,"certificateChain":2}',
      toBase64(utf8Encode(toBase64(utf8Encode(json)))),
      toBase64(utf8Encode("[]")),
      "x",
      "",
    ])
      assert.throws(() => read(text), malformed, text);
  });

  test("a table without end, with an entry beyond it, with an entry that is no certificate, too large", () => {
    const table = certificateTable([[VCEK, first]]);
    const changed = (at: number, value: number): Bytes => {
      const bytes = Uint8Array.from(table);
      new DataView(bytes.buffer).setUint32(at, value, true);
      return bytes;
    };
    for (const bad of [
      table.subarray(0, 47),
      table.subarray(0, table.length - 1),
      changed(16, table.length),
      changed(16, 0xffffffff),
      changed(20, 0xffffffff),
      changed(20, first.length + 1),
      changed(20, first.length - 1),
      changed(16, 47),
      certificateTable(Array.from({ length: 32 }, () => [OTHER, EMPTY] as const)),
      new Uint8Array(23),
    ])
      assert.throws(() => readCertificateTable(bad), malformed);
    assert.throws(() => readCertificates(new Uint8Array(MAX_CERTIFICATE_CONTAINER_BYTES + 1)), malformed);
    assert.throws(() => read(certificatesPem(Array.from({ length: 17 }, () => first))), malformed);
  });
});
