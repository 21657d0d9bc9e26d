/** Test support: endorsements of utility VMs by an issuer of our own; every part can be chosen, also wrongly. */
import { sign } from "node:crypto";
import { toBase64Url } from "../../src/core/codec/base64.ts";
import { type Bytes, EMPTY, utf8Encode } from "../../src/core/codec/bytes.ts";
import { type CborKey, type CborValue, encodeCbor } from "../../src/core/codec/cbor.ts";
import { createAttestationCrypto } from "../../src/enclave/manager/attestation-crypto.ts";
import { issue, makeKey, type TestCertificate } from "./issue-certificates.ts";

const crypto = createAttestationCrypto();
/** The purpose that its leaves have. */
export const PURPOSE = "1.3.6.1.4.1.311.76.59.1.2";
/** What is endorsed. */
export const MEASUREMENT = "ab".repeat(48);
/** In which feed. */
export const FEED = "Test-UVM";
/** The chain, from above. */
export const root = issue({ subject: "O=Test, CN=Root", ca: true });
export const middle = issue({ subject: "O=Test, CN=Middle", issuer: root, ca: true });
export const leaf = issue({ subject: "O=Test, CN=Leaf", key: makeKey("P-384"), issuer: middle, purposes: [PURPOSE] });
/** The DID of a CA with a purpose of its leaves. */
export const didOf = ({ der }: TestCertificate, purpose = PURPOSE): string =>
  `did:x509:0:sha256:${toBase64Url(crypto.digest("sha256", der))}::eku:${purpose}`;
/** The issuer. */
export const DID = didOf(root);

/** In place of what a good endorsement has. */
export interface EndorsementOptions {
  readonly did?: string;
  readonly chain?: readonly TestCertificate[];
  readonly signer?: TestCertificate;
  readonly algorithm?: CborValue;
  readonly headers?: readonly (readonly [CborKey, CborValue])[];
  readonly without?: readonly CborKey[];
  readonly unprotected?: readonly (readonly [CborKey, CborValue])[];
  readonly payload?: string | Bytes | null;
  readonly svn?: unknown;
  readonly sign?: (data: Bytes) => Bytes;
}

/** Signs an endorsement. */
export function endorsement(options: EndorsementOptions = {}): Bytes {
  const { did = DID, chain = [leaf, middle, root], signer = leaf, algorithm = -35, svn = "10" } = options;
  const headers = new Map<CborKey, CborValue>([
    [1, algorithm],
    [3, "application/json"],
    [33, chain.map(({ der }) => der)],
    ["iss", did],
    ["feed", FEED],
    ...(options.headers ?? []),
  ]);
  for (const label of options.without ?? []) headers.delete(label);
  const text = JSON.stringify({ "x-ms-sevsnpvm-guestsvn": svn, "x-ms-sevsnpvm-launchmeasurement": MEASUREMENT });
  const { payload: given = text } = options;
  const payload = typeof given === "string" ? utf8Encode(given) : given;
  const encoded = encodeCbor(headers);
  const signed = encodeCbor(["Signature1", encoded, EMPTY, payload ?? utf8Encode(text)]);
  const { privateKey } = signer.key;
  const signature = options.sign?.(signed) ?? sign("sha384", signed, { key: privateKey, dsaEncoding: "ieee-p1363" });
  const items = [encoded, new Map(options.unprotected ?? []), payload, new Uint8Array(signature)];
  return encodeCbor({ tag: 18, value: items });
}
