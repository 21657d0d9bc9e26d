/** What a DCAP quote claims, with what its collateral adds: of the enclave or guest, and of the platform it runs on. */
import { toHex } from "../../core/codec/bytes.ts";
import type { TcbStatus } from "../../core/governance/policy-dcap.ts";
import type { Platform } from "./pck.ts";
import type { EnclaveReport, GuestReport, Quote } from "./quote.ts";
import type { PartLevel, PartStatus, QuotingIdentity, TcbInfo } from "./tcb-info.ts";
import type { TcbVerdict } from "./tcb-level.ts";

/** The platform, as far as certificates and collateral could be read; identifiers in lower-case hex. */
export interface PlatformClaims {
  readonly quoteVersion: 3 | 4 | 5;
  /** Absent where no level fits, or something needed for it is not there. */
  readonly tcbStatus?: TcbStatus;
  /** Of the platform alone, without module and quoting enclave. */
  readonly platformTcbStatus?: TcbStatus;
  readonly tcbDate?: string;
  readonly quotingEnclaveStatus?: PartStatus;
  readonly module?: { readonly id: string; readonly status: PartStatus };
  readonly advisories: readonly string[];
  /** Of the TCB info. */
  readonly evaluationNumber?: number;
  /** Of the quoting enclave's identity. */
  readonly quotingEvaluationNumber?: number;
  readonly fmspc?: string;
  readonly pceId?: string;
  readonly pceSvn?: number;
  readonly cpuSvn?: string;
  /** Names the processor package. */
  readonly ppid?: string;
}

/** Claims of an SGX enclave; hex as it stands in the quote. */
export interface SgxClaims extends PlatformClaims {
  readonly tee: "sgx";
  /** MRENCLAVE. */
  readonly measurement: string;
  readonly reportData: string;
  readonly signer: string;
  readonly productId: number;
  readonly version: number;
  /** FLAGS and XFRM. */
  readonly attributes: string;
  readonly miscSelect: string;
  readonly configId: string;
  readonly configVersion: number;
  readonly familyId: string;
  readonly extendedProductId: string;
}

/** Claims of a TDX guest; hex as it stands in the quote. */
export interface TdxClaims extends PlatformClaims {
  readonly tee: "tdx";
  /** MRTD. */
  readonly measurement: string;
  readonly reportData: string;
  /** RTMR 0 to 3. */
  readonly registers: readonly string[];
  /** TDATTRIBUTES. */
  readonly attributes: string;
  readonly extendedFeatures: string;
  readonly configId: string;
  readonly owner: string;
  readonly ownerConfig: string;
  readonly teeTcbSvn: string;
  /** MRSEAM. */
  readonly moduleMeasurement: string;
  /** Of guests of TDX 1.5 only: the module that is in use now, and what is bound to the guest (MRSERVICETD). */
  readonly teeTcbSvn2?: string;
  readonly serviceGuest?: string;
}

/** Claims of a DCAP quote. They count only where no check failed. */
export type DcapClaims = SgxClaims | TdxClaims;

/** What verification could find out of the platform. */
export interface Findings {
  readonly platform: Platform | undefined;
  readonly info: TcbInfo | undefined;
  readonly identity: QuotingIdentity | undefined;
  readonly quoting: PartLevel | undefined;
  readonly verdict: TcbVerdict | undefined;
}

/** Puts claims together. */
export function claimsOf(quote: Quote, findings: Findings): DcapClaims {
  const platform = platformClaims(quote, findings);
  return quote.body.kind === "enclave" ? enclaveClaims(quote.body, platform) : guestClaims(quote.body, platform);
}

function platformClaims(quote: Quote, { platform, info, identity, quoting, verdict }: Findings): PlatformClaims {
  const module = verdict?.module;
  return {
    quoteVersion: quote.version,
    ...(verdict && {
      tcbStatus: verdict.status,
      platformTcbStatus: verdict.platform.status,
      tcbDate: verdict.platform.date,
    }),
    ...(quoting && { quotingEnclaveStatus: quoting.status }),
    ...(module && { module: { id: module.id, status: module.status } }),
    advisories: verdict?.advisories ?? [],
    ...(info && { evaluationNumber: info.evaluationNumber }),
    ...(identity && { quotingEvaluationNumber: identity.evaluationNumber }),
    ...(platform && {
      fmspc: platform.fmspc,
      pceId: platform.pceId,
      pceSvn: platform.tcb.pceSvn,
      cpuSvn: platform.tcb.cpuSvn,
      ppid: platform.ppid,
    }),
  };
}

function enclaveClaims(body: EnclaveReport, platform: PlatformClaims): SgxClaims {
  return {
    tee: "sgx",
    measurement: toHex(body.mrEnclave),
    reportData: toHex(body.reportData),
    signer: toHex(body.mrSigner),
    productId: body.productId,
    version: body.version,
    attributes: toHex(body.attributes),
    miscSelect: toHex(body.miscSelect),
    configId: toHex(body.configId),
    configVersion: body.configVersion,
    familyId: toHex(body.familyId),
    extendedProductId: toHex(body.extendedProductId),
    ...platform,
  };
}

function guestClaims(body: GuestReport, platform: PlatformClaims): TdxClaims {
  const { extension } = body;
  return {
    tee: "tdx",
    measurement: toHex(body.mrTd),
    reportData: toHex(body.reportData),
    registers: body.registers.map(toHex),
    attributes: toHex(body.tdAttributes),
    extendedFeatures: toHex(body.xfam),
    configId: toHex(body.mrConfigId),
    owner: toHex(body.mrOwner),
    ownerConfig: toHex(body.mrOwnerConfig),
    teeTcbSvn: toHex(body.teeTcbSvn),
    moduleMeasurement: toHex(body.mrSeam),
    ...(extension && {
      teeTcbSvn2: toHex(extension.teeTcbSvn2),
      serviceGuest: toHex(extension.mrServiceTd),
    }),
    ...platform,
  };
}
