/**
 * The four parts that collateral is fetched and kept in: TCB info, identity of the quoting enclave, and the lists of what the platforms'
 * CA and the root revoked. Each says by itself until when it is of use, and which checks of a quote it is at fault for when they fail,
 * so that one that is bad costs none of the others.
 */
import type { Check } from "../../attestation/checks.ts";
import {
  type Collateral,
  encodeCollateral,
  MAX_COLLATERAL_BYTES,
  parseCollateral,
} from "../../attestation/dcap/collateral.ts";
import { cutSignedJson } from "../../attestation/dcap/signed-json.ts";
import { parseQuotingIdentity, parseTcbInfo } from "../../attestation/dcap/tcb-info.ts";
import { revocationListOf } from "../../attestation/dcap/text-forms.ts";
import { readOrNothing } from "../../core/certificates/certificate.ts";
import { MAX_REVOCATION_LIST_BYTES, parseRevocationList } from "../../core/certificates/crl.ts";
import { toHex, utf8Decode, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { parseStrictJson } from "../../core/codec/json.ts";
import { CocoError } from "../../errors.ts";
import { type Answer, collateralUnavailable } from "./bounded-fetch.ts";

/** Longest issuer chain in a header of an answer, in characters. */
export const MAX_CHAIN_HEADER_LENGTH = 16 * 1024;

/** Of which kind a platform is: what its collateral is asked for by. */
export interface PlatformKind {
  readonly tee: "sgx" | "tdx";
  readonly fmspc: string;
  readonly authority: "platform" | "processor";
}

type Fields = Partial<Collateral>;

/** A part of collateral. */
export interface CollateralPart {
  /** Name of its file. */
  readonly name: (kind: PlatformKind) => string;
  /** Where it is, in the service or, for the root's list, anywhere. */
  readonly path: ((kind: PlatformKind) => string) | "root list";
  /** The bytes to keep of an answer; throws `CollateralUnavailable` for one that is of no use to anybody. */
  readonly take: (answer: Answer) => Bytes;
  /** Until when what is kept is valid by what it says; undefined where it cannot be read, or is of another platform. */
  readonly validUntilMs: (bytes: Bytes, kind: PlatformKind) => number | undefined;
  /** Names of the checks that fail where this part is bad, or no longer the newest. */
  readonly checks: RegExp;
}

/** TCB info first: of several parts that are missing, it says most of what is wrong. */
export const COLLATERAL_PARTS: readonly CollateralPart[] = [
  {
    name: ({ tee, fmspc }) => `dcap-${tee}-${fmspc}-tcb.json`,
    path: ({ tee, fmspc }) => `/${tee}/certification/v4/tcb?fmspc=${fmspc}`,
    take(answer) {
      const { document, signature } = signedDocument(answer, "tcbInfo", parseTcbInfo);
      const chain = chainOf(answer, "TCB-Info-Issuer-Chain");
      return encoded({ tcb_info_issuer_chain: chain, tcb_info: document, tcb_info_signature: signature });
    },
    validUntilMs: (bytes, { fmspc }) =>
      readOrNothing(() => {
        const info = parseTcbInfo(textOf(bytes, ["tcb_info", "tcb_info_issuer_chain", "tcb_info_signature"]));
        if (info.fmspc !== fmspc) throw new CocoError("MalformedInput", "TCB info of another platform");
        return info.nextUpdateMs;
      }),
    checks: /^(tcb info|tcb level$|TDX module: identity$|revocation of .*Intel SGX TCB Signing)/,
  },
  {
    name: ({ tee }) => `dcap-${tee}-identity.json`,
    path: ({ tee }) => `/${tee}/certification/v4/qe/identity`,
    take(answer) {
      const { document, signature } = signedDocument(answer, "enclaveIdentity", parseQuotingIdentity);
      const chain = chainOf(answer, "SGX-Enclave-Identity-Issuer-Chain");
      return encoded({ qe_identity_issuer_chain: chain, qe_identity: document, qe_identity_signature: signature });
    },
    validUntilMs: (bytes) =>
      readOrNothing(
        () =>
          parseQuotingIdentity(textOf(bytes, ["qe_identity", "qe_identity_issuer_chain", "qe_identity_signature"]))
            .nextUpdateMs,
      ),
    checks:
      /^(identity chain|quoting enclave identity|quoting enclave: (identity|level)$|revocation of .*Intel SGX TCB Signing)/,
  },
  listPart(
    "pck_crl",
    ({ authority }) => `dcap-${authority}-revocations.json`,
    ({ authority }) => `/sgx/certification/v4/pckcrl?ca=${authority}&encoding=der`,
    "revocation list of the PCK CA",
  ),
  listPart("root_ca_crl", () => "dcap-root-revocations.json", "root list", "revocation list of the root"),
];

function listPart(
  field: "pck_crl" | "root_ca_crl",
  name: CollateralPart["name"],
  path: CollateralPart["path"],
  check: string,
): CollateralPart {
  return {
    ...{ name, path, checks: new RegExp(`^${check}$`) },
    take: (answer) => encoded({ [field]: revocationList(answer) }),
    validUntilMs: (bytes) =>
      readOrNothing(() => parseRevocationList(revocationListOf(textOf(bytes, [field]))).nextUpdateMs),
  };
}

/**
 * The parts that may be why checks failed: what a good list revokes, not that list. No part is at fault for what the machine made: such a
 * quote fails again with whatever is fetched.
 */
export function partsAtFault(checks: readonly Check[]): readonly CollateralPart[] {
  const failed = checks.flatMap(({ name, outcome }) => (outcome === "failed" ? [name] : []));
  return COLLATERAL_PARTS.filter((part) => failed.some((name) => part.checks.test(name)));
}

/** Collateral of its parts as they are kept. Throws `CollateralUnavailable` when they are too large together. */
export function collateralOfParts(parts: readonly Bytes[]): Bytes {
  const fields = parts.flatMap((bytes) => [...readFields(bytes)]);
  const bytes = utf8Encode(JSON.stringify(Object.fromEntries(fields)));
  if (bytes.length > MAX_COLLATERAL_BYTES)
    throw collateralUnavailable(`collateral of ${bytes.length} bytes, ${MAX_COLLATERAL_BYTES} allowed`);
  return encodeCollateral(parseCollateral(bytes));
}

function encoded(fields: Fields): Bytes {
  return utf8Encode(`${JSON.stringify(fields, null, 1)}\n`);
}

function readFields(bytes: Bytes): ReadonlyMap<string, unknown> {
  const fields = parseStrictJson(utf8Decode(bytes));
  if (!(fields instanceof Map)) throw new CocoError("MalformedInput", "a part of collateral: expected an object");
  return fields as ReadonlyMap<string, unknown>;
}

/** The first of the fields that are kept, which are there and no others. */
function textOf(bytes: Bytes, names: readonly (keyof Collateral)[]): string {
  const fields = readFields(bytes);
  const texts = names.map((name) => fields.get(name));
  const [first] = texts;
  if (fields.size !== names.length || typeof first !== "string" || texts.some((text) => typeof text !== "string"))
    throw new CocoError("MalformedInput", `a part of collateral: expected the texts ${names.join(", ")}`);
  return first;
}

/** What `read` makes of an answer; an answer that it refuses is of no use to anybody. */
function fromAnswer<T>({ url }: Answer, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CocoError && error.code === "Internal") throw error;
    throw collateralUnavailable(`${url}: ${what} that cannot be read`, error);
  }
}

function signedDocument(answer: Answer, name: string, parse: (text: string) => unknown) {
  return fromAnswer(answer, "a document", () => {
    const signed = cutSignedJson(utf8Decode(answer.body), name);
    parse(signed.document);
    return signed;
  });
}

/** A list in DER, or in its hex as a PCCS gives it. */
function revocationList(answer: Answer): string {
  return fromAnswer(answer, "a revocation list", () => {
    const { body } = answer;
    const der = body[0] === 0x30 && body.length <= MAX_REVOCATION_LIST_BYTES && !isText(body) ? body : undefined;
    const list = der ?? revocationListOf(utf8Decode(body));
    parseRevocationList(list);
    return toHex(list);
  });
}

/** DER begins with 0x30 as hex of DER does ("30..."): what follows tells them apart. */
function isText(body: Bytes): boolean {
  return body.every((byte) => byte >= 0x20 && byte < 0x7f);
}

function chainOf(answer: Answer, name: string): string {
  const value = answer.header(name);
  if (value === null || value.length > MAX_CHAIN_HEADER_LENGTH)
    throw collateralUnavailable(`${answer.url}: without its issuer chain`);
  return fromAnswer(answer, "an issuer chain", () => decodedHeader(value));
}

function decodedHeader(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (error) {
    throw new CocoError("MalformedInput", "a header that is not encoded as in URLs", {}, { cause: error });
  }
}
