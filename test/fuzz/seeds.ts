/** Inputs that fuzzing begins with: real evidence where the vectors are there, and what tests make themselves everywhere. */
import { generateKeyPairSync } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseQuote } from "../../src/attestation/dcap/quote.ts";
import { certificatesOfChain } from "../../src/attestation/dcap/text-forms.ts";
import { makeHclReport, makeQuoteMessage } from "../../src/attestation/tpm/test-azure-vtpm.ts";
import { guestClaims, makeReport, makeToken, rs256 } from "../../src/attestation/vsm/test-vsm-evidence.ts";
import { fromHex, type Bytes, utf8Encode } from "../../src/core/codec/bytes.ts";
import { encodeCbor } from "../../src/core/codec/cbor.ts";
import { issue, issueRevocationList, makeKey } from "../support/issue-certificates.ts";
import { missingTeeVectors, TEE_VECTORS, teeJson, teeVector } from "../support/tee-vectors.ts";

/** Inputs by what they are of. */
export type FuzzSeeds = Readonly<Record<(typeof SEED_KINDS)[number], readonly Bytes[]>>;

const SEED_KINDS = [
  ...["cbor", "json", "certificate", "crl", "snpReport", "snpCertificates", "snpTable", "uvm", "quote"],
  ...["collateral", "tcbInfo", "identity", "vbsReport", "token", "keySet", "tpmQuote", "hclReport", "azureVtpm"],
] as const;

/** The inputs of this machine. */
export function fuzzSeeds(): FuzzSeeds {
  const own = ownSeeds();
  const real: Partial<FuzzSeeds> = missingTeeVectors("snp") === false ? realSeeds() : {};
  const all = SEED_KINDS.map((kind) => [kind, [...(own[kind] ?? []), ...(real[kind] ?? [])]] as const);
  return Object.fromEntries(all) as unknown as FuzzSeeds;
}

function ownSeeds(): Partial<FuzzSeeds> {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const authority = issue({ ca: true });
  const report = new Uint8Array(1184);
  report.set([3], 0);
  return {
    cbor: [
      encodeCbor(
        new Map<string, string | number | Bytes>([
          ["a", 1],
          ["bc", Uint8Array.of(1)],
          ["def", "x"],
        ]),
      ),
    ],
    json: [utf8Encode('{"a":[1,-2.5e3,{"b":null}],"c":"\\u00e9\\n","d":true}')],
    certificate: [authority.der],
    crl: [issueRevocationList({ issuer: authority })],
    snpReport: [report],
    snpCertificates: [authority.der],
    snpTable: [new Uint8Array(24)],
    uvm: [fromHex("d28443a10126a0404100")],
    quote: [new Uint8Array(436)],
    collateral: [utf8Encode("{}")],
    tcbInfo: [utf8Encode('{"id":"TDX","version":3}')],
    identity: [utf8Encode('{"id":"TD_QE","version":2}')],
    vbsReport: [makeReport(privateKey)],
    token: [utf8Encode(makeToken({ alg: "RS256", kid: "a" }, guestClaims(), rs256(privateKey)))],
    keySet: [utf8Encode('{"keys":[{"kid":"a","kty":"RSA","n":"AQ","e":"AQAB"}]}')],
    tpmQuote: [makeQuoteMessage()],
    hclReport: [makeHclReport(makeKey("rsa"))],
    azureVtpm: [utf8Encode('{"version":1}')],
  };
}

function foldersOf(kind: string): readonly string[] {
  return readdirSync(join(TEE_VECTORS, kind), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(kind, name));
}

function realSeeds(): Partial<FuzzSeeds> {
  const folders = [...foldersOf("sgx"), ...foldersOf("tdx")].slice(0, 6);
  const quotes = folders.map((folder) => teeVector(join(folder, "quote.bin")));
  const collateral = folders.map((folder) => teeJson<Record<string, string>>(join(folder, "collateral.json")));
  const field = (name: string) =>
    collateral.flatMap((fields) => (fields[name] === undefined ? [] : utf8Encode(fields[name])));
  const chains = collateral.flatMap((fields) => certificatesOfChain(fields["tcb_info_issuer_chain"] ?? ""));
  const maa = "vbs-maa/maa-azurevm-sevsnpvm";
  const vtpm = teeVector("snp/trustee-az-vtpm/evidence-v1.json");
  return {
    certificate: [
      ...[teeVector("snp/virtee/vcek_milan.der"), teeVector("snp/trustee/test-vlek.der"), ...chains.slice(0, 2)],
      ...quotes.slice(0, 1).flatMap((quote) => parseQuote(quote).certificates?.slice(0, 1) ?? []),
    ],
    snpReport: [teeVector("snp/ccf/milan_attestation.bin"), teeVector("snp/trustee/test-vlek-report.bin")],
    snpCertificates: [
      teeVector("snp/sidecar/attest/uvm_host_amd_certificate.json"),
      teeVector("snp/ms-tee-av/milan_vcek.pem"),
    ],
    uvm: [teeVector("uvm-did/rsa_test1.cose"), teeVector("uvm-did/int_svn.cose")],
    quote: quotes,
    collateral: folders.slice(0, 2).map((folder) => teeVector(join(folder, "collateral.json"))),
    tcbInfo: field("tcb_info"),
    identity: field("qe_identity"),
    vbsReport: [teeVector("vbs-maa/sql-vsm/enclave-report.bin")],
    token: [teeVector(`${maa}/token.jwt`)],
    keySet: [teeVector(`${maa}/jwks.json`)],
    azureVtpm: [vtpm],
  };
}
