/** Bytes that are nearly right: whatever comes of them, decoders of SNP evidence throw nothing but their own errors. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { certificatesPem, NOW_MS } from "../../test/support/issue-certificates.ts";
import { certificateTable, known, makeSnpPki } from "../../test/support/snp-pki.ts";
import { missingTeeVectors, teeVector } from "../../test/support/tee-vectors.ts";
import { type Bytes, concatBytes, EMPTY, utf8Encode } from "../core/codec/bytes.ts";
import { toBase64 } from "../core/codec/base64.ts";
import { encodeCbor } from "../core/codec/cbor.ts";
import { createAttestationCrypto } from "../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../errors.ts";
import { readCertificates } from "./snp/certificates.ts";
import { parseSnpReport } from "./snp/report.ts";
import { verifySnp } from "./snp/verify.ts";
import { resolveDidX509 } from "./uvm/did-x509.ts";
import { verifyUvm } from "./uvm/verify.ts";

const SEED = Number(process.env["COCO_FUZZ_SEED"] ?? 20_240_611);
const ROUNDS = Number(process.env["COCO_FUZZ_ROUNDS"] ?? 600);
const crypto = createAttestationCrypto();
const pki = makeSnpPki();
const vcek = pki.vek().der;
const DID = `did:x509:0:sha256:${"A".repeat(43)}::subject:CN:a%20b:O:c::san:dns:x::eku:1.2.3::fulcio-issuer:y`;

/** The same numbers for the same seed (xorshift32). */
function numbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** One to three changes: a bit, a byte, a piece cut out, doubled, or replaced by ones. */
function mutate(bytes: Bytes, next: (below: number) => number): Bytes {
  let changed: Bytes = Uint8Array.from(bytes);
  for (let count = 1 + next(3); count > 0; count--) {
    const at = next(changed.length + 1);
    const end = Math.min(changed.length, at + next(40));
    const kind = next(6);
    const [before, piece, after] = [changed.subarray(0, at), changed.subarray(at, end), changed.subarray(end)];
    if (kind === 0) changed = concatBytes(before, after);
    else if (kind === 1) changed = concatBytes(before, piece, piece, after);
    else if (kind === 2) changed = before;
    else if (kind === 3)
      changed = concatBytes(
        before,
        piece.map(() => 0xff),
        after,
      );
    else if (at < changed.length) changed[at] = kind === 4 ? next(256) : (changed[at] as number) ^ (1 << next(8));
  }
  return changed;
}

function survives(name: string, samples: readonly Bytes[], decode: (bytes: Bytes) => unknown): void {
  test(`${name}, ${ROUNDS} times from seed ${SEED}`, () => {
    const next = numbers(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      const input = mutate(samples[next(samples.length)] as Bytes, next);
      try {
        decode(input);
      } catch (error) {
        const isOwn = error instanceof CocoError && error.code === "EvidenceRejected";
        assert.ok(isOwn, `seed ${SEED}, round ${round}: ${String(error)} from ${Buffer.from(input).toString("hex")}`);
      }
    }
  });
}

function madeEndorsement(): Bytes {
  const headers = new Map<string | number, string | number | Bytes[]>([
    [1, -38],
    [3, "application/json"],
    [33, [pki.ask.der, pki.ark.der]],
    ["iss", DID],
    ["feed", "f"],
  ]);
  const payload = { "x-ms-sevsnpvm-guestsvn": "1", "x-ms-sevsnpvm-launchmeasurement": "ab".repeat(48) };
  const items = [encodeCbor(headers), new Map(), utf8Encode(JSON.stringify(payload)), new Uint8Array(256)];
  return encodeCbor({ tag: 18, value: items });
}

describe("decoders of SNP evidence survive bytes that are nearly right", () => {
  const json = JSON.stringify({ vcekCert: certificatesPem([vcek]), certificateChain: certificatesPem([pki.ask.der]) });
  survives("reports", [pki.report(), pki.report({ 0: 5 })], parseSnpReport);
  survives(
    "containers of certificates",
    [
      vcek,
      utf8Encode(certificatesPem([vcek, pki.ark.der])),
      utf8Encode(json),
      utf8Encode(toBase64(utf8Encode(json))),
      certificateTable([["63da758de6644564adc5f4b93be8accd", vcek]]),
    ],
    readCertificates,
  );
  const report = pki.report();
  const roots = { ...pki.roots, certificates: known(pki.ask, pki.ark) };
  survives("certificates of signing keys", [vcek], (certificate) => {
    const evidence = { report, certificates: [certificate], revocations: [certificate] };
    return verifySnp(evidence, { roots, nowMs: NOW_MS }, crypto);
  });
  const real = "uvm-did/rsa_test1.cose";
  const endorsements = missingTeeVectors(real) === false ? [teeVector(real)] : [];
  survives("utility VM endorsements", [madeEndorsement(), ...endorsements], (bytes) => verifyUvm(bytes, crypto));
  survives("DIDs", [utf8Encode(DID)], (bytes) => {
    const did = Buffer.from(bytes).toString("latin1");
    return resolveDidX509(did, [pki.ask.der, pki.ark.der, EMPTY], crypto);
  });
});
