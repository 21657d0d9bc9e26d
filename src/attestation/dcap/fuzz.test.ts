/**
 * Damaged input never makes a decoder do anything but read or refuse it: seeded mutations of genuine bytes. Each failure names
 * its seed, and COCO_FUZZ_ROUNDS sets how many there are.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCertificate } from "../../core/certificates/certificate.ts";
import { parseRevocationList } from "../../core/certificates/crl.ts";
import { concatBytes, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { choices } from "../../../test/support/issue-certificates.ts";
import { makeEvidence, QUOTE_FORMS } from "../../../test/support/intel-platform.ts";
import { parseCollateral } from "./collateral.ts";
import { platformOf } from "./pck.ts";
import { parseQuote } from "./quote.ts";
import { cutSignedJson } from "./signed-json.ts";
import { parseQuotingIdentity, parseTcbInfo } from "./tcb-info.ts";
import { verified } from "./test-refusals.ts";
import { certificatesOfChain, certificatesOfQuote, revocationListOf } from "./text-forms.ts";

const ROUNDS = Number(process.env["COCO_FUZZ_ROUNDS"] ?? 400);

type Choose = (below: number) => number;

/** One to four changes: bytes set, flipped, taken out, put in twice, or cut off. */
function mutated(bytes: Bytes, choose: Choose): Bytes {
  let result: Bytes = Uint8Array.from(bytes);
  for (let left = 1 + choose(4); left > 0; left--) {
    const at = choose(result.length + 1);
    const length = 1 + choose(choose(4) === 0 ? 200 : 4);
    const kind = choose(6);
    if (kind === 0) result.fill(choose(256), at, at + length);
    else if (kind === 1) result = result.map((byte, index) => (index === at ? byte ^ (1 << choose(8)) : byte));
    else if (kind === 2) result = concatBytes(result.subarray(0, at), result.subarray(at + length));
    else if (kind === 3) result = concatBytes(result.subarray(0, at + length), result.subarray(at));
    else if (kind === 4)
      result.set([[0, 1, 0x7f, 0x80, 0xff, 0x22, 0x7b, 0x5b][choose(8)] as number], Math.min(at, result.length - 1));
    else if (choose(4) === 0) result = result.subarray(0, at);
    if (result.length === 0) return result;
  }
  return result;
}

function onlyRefuses(seed: string, read: () => unknown): void {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code !== "Internal", `seed ${seed}: ${String(error)}`);
  }
}

const asText = (bytes: Bytes): string => Buffer.from(bytes).toString("latin1");
const evidence = makeEvidence();
const collateral = parseCollateral(evidence.collateral);
const answer = `{"tcbInfo":${collateral.tcb_info},"signature":"${collateral.tcb_info_signature}"}`;
const [pem] = [Buffer.from(evidence.quote).toString("latin1").split("-----BEGIN").slice(1)];
const chain = utf8Encode(`${pem.map((part) => `-----BEGIN${part}`).join("")}`);

const DECODERS: readonly (readonly [string, Bytes, (bytes: Bytes) => unknown])[] = [
  ...QUOTE_FORMS.map((form) => [`a quote, ${form}`, makeEvidence({ form }).quote, parseQuote] as const),
  ["collateral", evidence.collateral, parseCollateral],
  ["a TCB info", utf8Encode(collateral.tcb_info), (bytes) => parseTcbInfo(asText(bytes))],
  ["an identity", utf8Encode(collateral.qe_identity), (bytes) => parseQuotingIdentity(asText(bytes))],
  ["an answer of the service", utf8Encode(answer), (bytes) => cutSignedJson(asText(bytes), "tcbInfo")],
  ["a PCK certificate", evidence.leaf.der, (bytes) => platformOf(parseCertificate(bytes))],
  ["a revocation list", revocationListOf(collateral.pck_crl), parseRevocationList],
  ["a revocation list in text", utf8Encode(collateral.pck_crl), (bytes) => revocationListOf(asText(bytes))],
  ["an issuer chain", utf8Encode(collateral.tcb_info_issuer_chain), (bytes) => certificatesOfChain(asText(bytes))],
  ["the certificates of a quote", chain, certificatesOfQuote],
];

for (const [name, genuine, read] of DECODERS) {
  test(`damaged: ${name}`, () => {
    assert.doesNotThrow(() => read(genuine));
    for (let round = 0; round < ROUNDS; round++) {
      const seed = `${name} ${round}`;
      const bytes = mutated(genuine, choices(seed));
      onlyRefuses(seed, () => read(bytes));
    }
  });
}

test("damaged: quote or collateral, verified as a whole", () => {
  for (let round = 0; round < ROUNDS / 4; round++) {
    const seed = `verify ${round}`;
    const choose = choices(seed);
    const part = choose(2) === 0 ? "quote" : "collateral";
    const damaged = { ...evidence, [part]: mutated(evidence[part], choose) };
    onlyRefuses(seed, () => verified(damaged));
  }
});
