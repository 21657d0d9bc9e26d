/** What verified SNP evidence says, in forms that people and policies use: byte strings in lower-case hex, TCBs as numbers. */
import { toHex } from "../../core/codec/bytes.ts";
import type { SnpProduct } from "../../core/governance/policy-snp.ts";
import { cpuidText, productOfCpu, tcbText } from "./product.ts";
import type { GuestPolicy, PlatformInfo, SnpReport } from "./report.ts";
import type { Vek, VekKind } from "./vek.ts";

/** Claims of SNP evidence. TCBs are numbers of 64 bits in hex, microcode first, as policies have them. */
export interface SnpClaims {
  readonly tee: "snp";
  readonly version: number;
  /** As the endorsing certificate names it (`Milan-B0`, `Genoa`): from version 3 on only a genuine one, or else `generation`. */
  readonly product?: string;
  /** As the report's processor says, or in version 2, whose reports do not say it, the issuer of the endorsement. */
  readonly generation?: SnpProduct;
  /** How policies name the model; absent in version 2. */
  readonly cpuid?: string;
  readonly measurement: string;
  readonly reportData: string;
  readonly hostData: string;
  readonly guestSvn: number;
  /** 64 bits. */
  readonly policy: string;
  readonly guestPolicy: GuestPolicy;
  readonly vmpl: number;
  /** 64 bits. */
  readonly platform: string;
  readonly platformInfo: PlatformInfo;
  readonly signingKey: VekKind | "none" | "unknown";
  readonly reportedTcb: string;
  readonly committedTcb: string;
  readonly currentTcb: string;
  readonly launchTcb: string;
  readonly currentFirmware: string;
  readonly committedFirmware: string;
  readonly launchMitigations?: string;
  readonly currentMitigations?: string;
  readonly chipId: string;
  /** The cloud provider that loaded the signing key. */
  readonly providerId?: string;
  readonly familyId: string;
  readonly imageId: string;
  readonly idKeyDigest: string;
  readonly hasAuthorKey: boolean;
  readonly authorKeyDigest: string;
  readonly reportId: string;
  readonly migrationAgentReportId: string;
  /** Whether a current list of revoked certificates by the root was looked at. */
  readonly revocationChecked: boolean;
}

const SIGNING_KEYS: Readonly<Record<number, SnpClaims["signingKey"]>> = { 0: "vcek", 1: "vlek", 7: "none" };

/** Which key signed, as the report says. */
export function signingKeyOf({ signingKey }: SnpReport): SnpClaims["signingKey"] {
  return SIGNING_KEYS[signingKey] ?? "unknown";
}

/** The generation that a report's processor is of; without one, that of the endorsement. */
export function generationOf(report: SnpReport, vek: Vek | undefined): SnpProduct | undefined {
  return report.cpu === undefined ? vek?.product : productOfCpu(report.cpu);
}

/** The claims of a report that a key with this certificate signed; undefined when there is none whose word counts. */
export function claimsOf(report: SnpReport, vek: Vek | undefined, revocationChecked: boolean): SnpClaims {
  const generation = generationOf(report, vek);
  const { cpu, launchMitigations, currentMitigations } = report;
  const product = vek?.productName ?? generation;
  return {
    tee: "snp",
    version: report.version,
    ...(product !== undefined && { product }),
    ...(generation && { generation }),
    ...(cpu && { cpuid: cpuidText(cpu) }),
    measurement: toHex(report.measurement),
    reportData: toHex(report.reportData),
    hostData: toHex(report.hostData),
    guestSvn: report.guestSvn,
    policy: report.policyBits,
    guestPolicy: report.guestPolicy,
    vmpl: report.vmpl,
    platform: report.platformBits,
    platformInfo: report.platformInfo,
    signingKey: signingKeyOf(report),
    reportedTcb: tcbText(report.reportedTcb),
    committedTcb: tcbText(report.committedTcb),
    currentTcb: tcbText(report.currentTcb),
    launchTcb: tcbText(report.launchTcb),
    currentFirmware: report.currentFirmware,
    committedFirmware: report.committedFirmware,
    ...(launchMitigations !== undefined && { launchMitigations }),
    ...(currentMitigations !== undefined && { currentMitigations }),
    chipId: toHex(report.chipId),
    ...(vek?.providerId !== undefined && { providerId: vek.providerId }),
    familyId: toHex(report.familyId),
    imageId: toHex(report.imageId),
    idKeyDigest: toHex(report.idKeyDigest),
    hasAuthorKey: report.hasAuthorKey,
    authorKeyDigest: toHex(report.authorKeyDigest),
    reportId: toHex(report.reportId),
    migrationAgentReportId: toHex(report.migrationAgentReportId),
    revocationChecked,
  };
}
