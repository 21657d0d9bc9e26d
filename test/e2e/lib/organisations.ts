/**
 * Members of a test network as they work outside of this library: keys and certificates made by openssl, requests signed by
 * it in two steps, and sent by curl.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toHex, utf8Encode, type Bytes } from "../../../src/core/codec/bytes.ts";
import { derOfPem } from "../../../src/core/governance/pem.ts";
import { assembleSignedRequest, bytesToSign, type RequestType } from "../../../src/core/governance/signed-request.ts";
import { sha256 } from "../../../src/enclave/manager/node-crypto.ts";
import type { NetworkNode } from "./network.ts";
import { present, runProcess } from "./processes.ts";

/** What every path needs. */
export const API_VERSION = "api-version=2024-07-01";

/** Runs openssl; fails with what it wrote. */
export async function openssl(...arguments_: readonly string[]): Promise<void> {
  const { code, stderr } = await runProcess("openssl", arguments_);
  assert.equal(code, 0, `openssl ${arguments_.join(" ")}: ${stderr}`);
}

/** A key with its certificate, in files. */
export interface Identity {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly algorithm: "ES256" | "ES384";
  /** Certificates a request carries along; none: those the network lists are enough. */
  readonly chain: readonly Bytes[];
}

/** The certificate of an identity, PEM. */
export function certificateOf({ certificateFile }: Pick<Identity, "certificateFile">): string {
  return readFileSync(certificateFile, "utf8");
}

/** The certificate of an identity, DER. */
export function derOf(identity: Pick<Identity, "certificateFile">): Bytes {
  return present(derOfPem(certificateOf(identity), "CERTIFICATE"));
}

/** Makes a key and a certificate signed by itself: a leaf, or a CA. */
export async function selfSigned(dir: string, name: string, curve: "P-256" | "P-384", isCa = false): Promise<Identity> {
  const [keyFile, certificateFile] = [join(dir, `${name}.key`), join(dir, `${name}.crt`)];
  await openssl(
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", `ec_paramgen_curve:${curve}`, "-nodes", "-days", "30"],
    ...["-subj", `/CN=${name}`, "-keyout", keyFile, "-out", certificateFile],
    ...["-addext", `keyUsage=critical,${isCa ? "keyCertSign,cRLSign" : "digitalSignature"}`],
  );
  return { keyFile, certificateFile, algorithm: curve === "P-256" ? "ES256" : "ES384", chain: [] };
}

/** Makes a key and has a CA certify it. */
export async function issuedBy(ca: Identity, dir: string, name: string, curve: "P-256" | "P-384"): Promise<Identity> {
  const [keyFile, certificateFile] = [join(dir, `${name}.key`), join(dir, `${name}.crt`)];
  const [requestFile, extensionFile] = [join(dir, `${name}.csr`), join(dir, `${name}.ext`)];
  writeFileSync(extensionFile, "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n");
  await openssl(
    ...["req", "-newkey", "ec", "-pkeyopt", `ec_paramgen_curve:${curve}`, "-nodes", "-subj", `/CN=${name}`],
    ...["-keyout", keyFile, "-out", requestFile],
  );
  await openssl(
    ...["x509", "-req", "-in", requestFile, "-CA", ca.certificateFile, "-CAkey", ca.keyFile, "-CAcreateserial"],
    ...["-days", "30", "-extfile", extensionFile, "-out", certificateFile],
  );
  const identity: Identity = { keyFile, certificateFile, algorithm: curve === "P-256" ? "ES256" : "ES384", chain: [] };
  return { ...identity, chain: [derOf(identity)] };
}

/** The CA's list of revoked certificates, DER, current for a day. */
export async function revocationListOf(ca: Identity, dir: string, revoked: readonly Identity[]): Promise<Bytes> {
  const [index, configuration, list] = [join(dir, "index.txt"), join(dir, "ca.cnf"), join(dir, "list.crl")];
  writeFileSync(index, "");
  const section = ["[ca]", "default_ca=own", "[own]", `database=${index}`, "default_md=sha256", "unique_subject=no"];
  writeFileSync(configuration, `${section.join("\n")}\n`);
  const own = ["ca", "-config", configuration, "-cert", ca.certificateFile, "-keyfile", ca.keyFile];
  for (const { certificateFile } of revoked) await openssl(...own, "-revoke", certificateFile);
  await openssl(...own, "-gencrl", "-crldays", "1", "-out", list);
  return present(derOfPem(readFileSync(list, "utf8"), "X509 CRL"));
}

/** A signature as ASN.1 writes it, as COSE has it: r ‖ s of equal length. */
function rawSignature(der: Uint8Array, length: number): Uint8Array {
  const raw = new Uint8Array(length);
  const half = length / 2;
  // SEQUENCE of two INTEGERs; none of these lengths needs a second byte.
  let at = 2;
  for (const end of [half, length]) {
    const size = present(der[at + 1]);
    const value = der.subarray(at + 2, at + 2 + size);
    const digits = value.subarray(Math.max(0, value.length - half));
    raw.set(digits, end - digits.length);
    at += 2 + size;
  }
  return raw;
}

/** What is signed, beside its type. */
export interface RequestToSign {
  readonly payload: unknown;
  readonly proposalId?: string;
  /** Seconds since 1970; now unless given. */
  readonly createdAt?: number;
}

/** A request signed in two steps: the bytes go to openssl, its signature comes back. The file it is in, and its id. */
export async function signByOpenssl(
  dir: string,
  identity: Identity,
  type: RequestType,
  { payload, proposalId, createdAt = Math.floor(Date.now() / 1000) }: RequestToSign,
): Promise<{ readonly file: string; readonly id: string; readonly message: Bytes }> {
  const content = {
    ...{ type, algorithm: identity.algorithm, keyId: toHex(sha256(derOf(identity))), createdAt },
    ...(proposalId !== undefined && { proposalId }),
    payload: utf8Encode(JSON.stringify(payload)),
  };
  const toSign = bytesToSign(content);
  const id = toHex(sha256(toSign));
  const file = join(dir, `${type}-${id.slice(0, 12)}`);
  writeFileSync(`${file}.tbs`, toSign);
  const digest = identity.algorithm === "ES256" ? "-sha256" : "-sha384";
  await openssl("dgst", digest, "-sign", identity.keyFile, "-out", `${file}.sig`, `${file}.tbs`);
  const signature = rawSignature(readFileSync(`${file}.sig`), identity.algorithm === "ES256" ? 64 : 96);
  const message = assembleSignedRequest(content, signature, identity.chain);
  writeFileSync(`${file}.cose`, message);
  return { file: `${file}.cose`, id, message };
}

/** What answers of the governance endpoints hold, as far as tests look. */
export interface AnswerBody {
  readonly error?: {
    readonly code: string;
    readonly reason?: string;
    readonly message: string;
    readonly remedy: string;
  };
  readonly value?: readonly AnswerBody[];
  readonly nextLink?: string;
  readonly proposalId?: string;
  readonly proposerId?: string;
  readonly proposalState?: string;
  readonly ballotCount?: number;
  readonly finalVotes?: Readonly<Record<string, boolean>>;
  readonly effect?: { readonly digest: string; readonly changes: readonly { readonly words: string }[] };
  readonly missingMembers?: readonly string[];
  readonly policies?: readonly { readonly words: string }[];
  readonly verdict?: string;
  readonly words?: string;
  readonly memberId?: string;
  readonly nodeId?: string;
  readonly status?: string;
  readonly vote?: string;
  readonly type?: string;
  readonly message?: string;
  readonly certificates?: readonly string[];
  readonly criteria?: readonly unknown[];
  readonly transactionId?: string;
  readonly networkId?: string;
  readonly endpoints?: readonly { readonly method: string; readonly path: string; readonly who: string }[];
}

/** An answer to curl. */
export interface CurlAnswer {
  readonly status: number;
  readonly headers: string;
  readonly body: string;
  /** Empty when the body is no JSON object. */
  readonly json: AnswerBody;
}

/** Options of curl that present a client certificate. */
export function asClient(identity: Identity): readonly string[] {
  return ["--cert", identity.certificateFile, "--key", identity.keyFile];
}

/** Asks a node with curl. */
export async function curl(node: NetworkNode, path: string, ...options: readonly string[]): Promise<CurlAnswer> {
  const url = `https://127.0.0.1:${node.clientPort}${path}`;
  const { code, stdout, stderr } = await runProcess(
    "curl",
    ["-sS", "-i", "--max-time", "60", "--cacert", node.serviceCertificate, ...options, url],
    { timeoutMs: 70_000 },
  );
  assert.equal(code, 0, `curl ${url}: ${stderr}`);
  const [head = "", ...rest] = stdout.replace(/^HTTP\/1.1 100 [\s\S]*?\r\n\r\n/, "").split("\r\n\r\n");
  const body = rest.join("\r\n\r\n");
  const status = Number(/^HTTP\/1.1 (\d+)/.exec(head)?.[1]);
  return {
    status,
    headers: head.toLowerCase(),
    body,
    json: body.startsWith("{") ? (JSON.parse(body) as AnswerBody) : {},
  };
}

/** Posts a signed request with curl, as CCF's members do. */
export function post(
  node: NetworkNode,
  path: string,
  file: string,
  ...options: readonly string[]
): Promise<CurlAnswer> {
  return curl(
    node,
    `${path}?${API_VERSION}`,
    ...["-X", "POST", "-H", "content-type: application/cose", "--data-binary", `@${file}`, ...options],
  );
}
