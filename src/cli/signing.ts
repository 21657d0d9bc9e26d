/**
 * Signing governance requests: with a key in a file, with one behind PKCS#11, or in two steps with whatever holds the key.
 * In two steps `--prepare` writes what is to be signed, and `coco member finish` makes the request of it and a signature.
 */
import { X509Certificate } from "node:crypto";
import { toHex, utf8Decode, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { MAX_CERTIFICATE_BYTES } from "../core/governance/certificate-limits.ts";
import type { CoseAlgorithm, SignFunction } from "../core/governance/cose.ts";
import { PemField, parseJson, readDocument, treeToJson, type FieldContext } from "../core/governance/fields.ts";
import { derOfPem, pemBlocks } from "../core/governance/pem.ts";
import { requestContent } from "../core/governance/request-signing.ts";
import {
  assembleSignedRequest,
  bytesToSign,
  MAX_CREATED_AT,
  MAX_REQUEST_CHAIN,
  REQUEST_TYPES,
  type RequestContent,
  type RequestType,
} from "../core/governance/signed-request.ts";
import type { SignedMessage } from "../core/governance/proposal.ts";
import { createGovernanceCrypto, sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { createOutput, readBytes, readText } from "./arguments.ts";
import { MAX_PEM_FILE_BYTES, required, requireKeyOf } from "./connection.ts";
import type { SigningOptions } from "./connection-options.ts";
import { type CommandContext, printFields, printJson } from "./output.ts";
import { HASHES, rawSignature } from "./request-signature.ts";

const MAX_PREPARED_FILE_BYTES = 1024 * 1024;
const MAX_SIGNATURE_FILE_BYTES = 1024;
/** Ending of the file with the bytes to sign, beside that of `--prepare`. */
export const TO_BE_SIGNED_ENDING = ".tbs";

/** Who signs. */
interface SigningCertificate {
  /** PEM, the signing certificate first. */
  readonly pem: string;
  /** DER, likewise. */
  readonly chain: readonly Bytes[];
  readonly algorithm: CoseAlgorithm;
}

/** What is signed, before it is known who signs it. */
export interface Request {
  readonly type: RequestType;
  readonly payload: Bytes;
  readonly networkId: string;
  readonly proposalId?: string;
}

/** A request that is ready to be signed. */
export interface PreparedRequest {
  readonly content: RequestContent;
  readonly chain: readonly Bytes[];
}

const ALGORITHMS: Readonly<Record<string, CoseAlgorithm>> = { prime256v1: "ES256", secp384r1: "ES384" };

/** The signing certificate of a file, and those between it and the listed one. Throws `ConfigurationInvalid`. */
async function readSigningCertificate(file: string): Promise<SigningCertificate> {
  const pem = await readText(file, MAX_PEM_FILE_BYTES);
  const chain = pemBlocks(pem, "CERTIFICATE").flatMap((block) => derOfPem(block, "CERTIFICATE") ?? []);
  const [first] = chain;
  if (first === undefined || chain.length > MAX_REQUEST_CHAIN)
    throw new CocoError("ConfigurationInvalid", `${file}: expected 1 to ${MAX_REQUEST_CHAIN} certificates in PEM`, {
      file,
    });
  return { pem, chain, algorithm: algorithmOf(first, file) };
}

function algorithmOf(certificate: Bytes, file: string): CoseAlgorithm {
  let curve: string | undefined;
  try {
    curve = new X509Certificate(certificate).publicKey.asymmetricKeyDetails?.namedCurve;
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: expected a certificate`, { file }, { cause: error });
  }
  const algorithm = ALGORITHMS[curve ?? ""];
  if (algorithm !== undefined) return algorithm;
  throw new CocoError("ConfigurationInvalid", `${file}: requests are signed with keys on P-256 or P-384`, { file });
}

/** The network of a request that is only written to a file, so that no node has to be asked; undefined: one has to. */
export function offlineNetwork({ prepare, out, networkId }: SigningOptions): string | undefined {
  if (networkId !== undefined && !/^[0-9a-f]{64}$/.test(networkId))
    throw new CocoError("WrongUsage", "--network-id: expected 64 hex digits");
  return prepare === undefined && out === undefined ? undefined : networkId;
}

async function signerOf(options: SigningOptions, certificate: SigningCertificate): Promise<SignFunction> {
  const { pkcs11Module: module, pkcs11Token: token, pkcs11Key: label, pkcs11PinEnv } = options;
  if (module !== undefined) {
    if (label === undefined)
      throw new CocoError("WrongUsage", "--pkcs11-key is missing: which key of the module signs");
    const { signByModule } = await import("./pkcs11.ts");
    return signByModule({ module, token, label, pinVariable: pkcs11PinEnv, algorithm: certificate.algorithm });
  }
  const file = required(options, "key", "what signs (or --pkcs11-module, or --prepare to sign elsewhere)");
  const { readRequestSigner } = await import("../host/request-signer.ts");
  const key = await readText(file, MAX_PEM_FILE_BYTES);
  await requireKeyOf(certificate.pem, key, file);
  return readRequestSigner(certificate.pem, key).sign;
}

function prepareRequest(request: Request, { chain, algorithm }: SigningCertificate): PreparedRequest {
  const { type, payload, networkId, proposalId } = request;
  const createdAt = Math.floor(Date.now() / 1000);
  const content = requestContent(
    type,
    payload,
    { signer: { chain, algorithm }, networkId, createdAt, sha256 },
    proposalId,
  );
  return { content, chain };
}

/** The message of a prepared request and a signature in either form. Throws `SignerFailed` unless the certificate's key made it. */
export function finishRequest({ content, chain }: PreparedRequest, signature: Bytes): SignedMessage {
  const raw = rawSignature(signature, content.algorithm);
  const [certificate = new Uint8Array(0)] = chain;
  const { verifyWith } = createGovernanceCrypto();
  if (raw === undefined || !verifyWith(content.algorithm, certificate, bytesToSign(content), raw))
    throw new CocoError(
      "SignerFailed",
      `the signature is not of these bytes by the certificate's key (ECDSA with ${HASHES[content.algorithm]})`,
    );
  return { message: assembleSignedRequest(content, raw, chain), chain };
}

/** Signs a request as the options say; undefined when it goes into a file, and there is nothing to send. */
export async function signOrPrepare(
  context: CommandContext,
  options: SigningOptions,
  request: Request,
): Promise<SignedMessage | undefined> {
  const certificate = await readSigningCertificate(required(options, "cert", "whose key signs"));
  const prepared = prepareRequest(request, certificate);
  if (options.prepare !== undefined) {
    await writePrepared(context, options.prepare, prepared);
    return undefined;
  }
  const sign = await signerOf(options, certificate);
  const signed = finishRequest(prepared, sign(bytesToSign(prepared.content)));
  if (options.out === undefined) return signed;
  await createOutput(context.output, options.out, signed.message);
  return undefined;
}

async function writePrepared(
  { output }: CommandContext,
  file: string,
  { content, chain }: PreparedRequest,
): Promise<void> {
  const toBeSigned = bytesToSign(content);
  const hash = HASHES[content.algorithm];
  const { payload, ...headers } = content;
  const tree = {
    ...headers,
    certificates: chain.map((der) => new PemField(der, "CERTIFICATE")),
    payload: utf8Decode(payload),
    toBeSigned,
  };
  await createOutput(output, `${file}${TO_BE_SIGNED_ENDING}`, toBeSigned);
  await createOutput(output, file, `${JSON.stringify(treeToJson(tree), undefined, 2)}\n`);
  output.talk(
    `next: sign ${file}${TO_BE_SIGNED_ENDING} with ECDSA and ${hash} before the request is too old, such as\n` +
      `  openssl dgst -${hash} -sign KEY.pem -out ${file}.sig ${file}${TO_BE_SIGNED_ENDING}\n` +
      `  coco member finish ${file} --signature ${file}.sig --send\n`,
  );
}

/** Reads a file of `--prepare`; throws `ConfigurationInvalid` when it does not hold what its bytes to sign say. */
export async function readPrepared(file: string): Promise<PreparedRequest> {
  const context: FieldContext = { form: "json", code: "ConfigurationInvalid", data: { file } };
  const text = await readText(file, MAX_PREPARED_FILE_BYTES);
  return readDocument(parseJson(text, context), context, (fields) => {
    const type = fields.choice("type", REQUEST_TYPES);
    const content: RequestContent = {
      type,
      algorithm: fields.choice("algorithm", ["ES256", "ES384"]),
      keyId: fields.hex("keyId", 32),
      createdAt: fields.integer("createdAt", { min: 0, max: MAX_CREATED_AT }),
      ...(fields.has("proposalId") && { proposalId: fields.hex("proposalId", 32) }),
      ...(fields.has("networkId") && { networkId: fields.hex("networkId", 32) }),
      payload: utf8Encode(String(fields.value("payload"))),
    };
    const bounds = { count: MAX_REQUEST_CHAIN, max: MAX_CERTIFICATE_BYTES };
    const chain = fields.ders("certificates", "CERTIFICATE", bounds);
    const toBeSigned = fields.hex("toBeSigned", bytesToSign(content).length);
    if (toBeSigned !== toHex(bytesToSign(content))) throw fields.invalid("toBeSigned", "does not fit the other fields");
    return { content, chain };
  });
}

/** Reads the signature of a file. */
export function readSignature(file: string): Promise<Bytes> {
  return readBytes(file, MAX_SIGNATURE_FILE_BYTES);
}

/** Tells what was sent and what the network made of it. */
export function printOutcome(
  { output }: CommandContext,
  asJson: boolean,
  outcome: Readonly<Record<string, string>>,
): void {
  if (asJson) printJson(output, outcome);
  else printFields(output, outcome);
}
