/**
 * Attestation reports of AMD SEV-SNP (AMD 56860, table 23; versions 2 to 5): 1184 bytes, little-endian.
 *
 * Reading is strict: every byte that must be zero is looked at, those behind the signature too, so that a report has one
 * encoding. Whatever breaks the layout is `EvidenceRejected` with the reason `Malformed`; nothing of a report is trusted
 * before verify.ts has verified it.
 */
import { type Bytes, concatBytes, toHex } from "../../core/codec/bytes.ts";
import { evidenceRejected } from "../evidence.ts";

/** Length of a report in bytes. */
export const SNP_REPORT_BYTES = 1184;
/** Bytes of a TCB: one of each part, in the order the product gives them. */
export const TCB_BYTES = 8;

/** The guest policy that the guest's owner set at launch, and the firmware enforces. */
export interface GuestPolicy {
  readonly abiMajor: number;
  readonly abiMinor: number;
  readonly smt: boolean;
  readonly migrationAgent: boolean;
  readonly debug: boolean;
  readonly singleSocket: boolean;
  readonly cxl: boolean;
  readonly aes256Xts: boolean;
  readonly raplDisabled: boolean;
  readonly ciphertextHiding: boolean;
  readonly pageSwapDisabled: boolean;
}

/** What the platform is set to; bits that this version does not know are left aside. */
export interface PlatformInfo {
  readonly smt: boolean;
  readonly tsme: boolean;
  readonly ecc: boolean;
  readonly raplDisabled: boolean;
  readonly ciphertextHiding: boolean;
  readonly aliasCheckComplete: boolean;
  readonly trustedIo: boolean;
}

/** Family, model and stepping of the processor. */
export interface CpuModel {
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
}

/** A report that was read. Byte strings are views on the input. */
export interface SnpReport {
  readonly version: number;
  readonly guestSvn: number;
  /** The 64 bits of the guest policy, hex, highest first. */
  readonly policyBits: string;
  readonly guestPolicy: GuestPolicy;
  readonly familyId: Bytes;
  readonly imageId: Bytes;
  readonly vmpl: number;
  readonly signatureAlgorithm: number;
  readonly currentTcb: Bytes;
  /** The 64 bits of the platform information, hex, highest first. */
  readonly platformBits: string;
  readonly platformInfo: PlatformInfo;
  readonly hasAuthorKey: boolean;
  readonly chipKeyMasked: boolean;
  /** 0: VCEK, 1: VLEK, 7: none. */
  readonly signingKey: number;
  readonly reportData: Bytes;
  readonly measurement: Bytes;
  readonly hostData: Bytes;
  readonly idKeyDigest: Bytes;
  readonly authorKeyDigest: Bytes;
  readonly reportId: Bytes;
  readonly migrationAgentReportId: Bytes;
  readonly reportedTcb: Bytes;
  /** Absent in version 2. */
  readonly cpu?: CpuModel;
  readonly chipId: Bytes;
  readonly committedTcb: Bytes;
  readonly currentFirmware: string;
  readonly committedFirmware: string;
  readonly launchTcb: Bytes;
  /** Of version 5. */
  readonly launchMitigations?: string;
  /** Of version 5. */
  readonly currentMitigations?: string;
  /** What the signature covers. */
  readonly signedBytes: Bytes;
  /** r ‖ s, 48 bytes each, big-endian. */
  readonly signature: Bytes;
}

const SIGNED_BYTES = 0x2a0;
const NUMBER_BYTES = 48;
const NUMBER_FIELD_BYTES = 72;
const MIN_VERSION = 2;
const MAX_VERSION = 5;
const CPU_VERSION = 3;
const MITIGATIONS_VERSION = 5;
/** From where to where a report must be zero, whatever its version. */
const ZEROS: readonly (readonly [from: number, to: number])[] = [
  [0x4c, 0x50],
  [0x18b, 0x1a0],
  [0x1eb, 0x1ec],
  [0x1ef, 0x1f0],
  [0x208, SIGNED_BYTES],
  [SIGNED_BYTES + NUMBER_BYTES, SIGNED_BYTES + NUMBER_FIELD_BYTES],
  [SIGNED_BYTES + NUMBER_FIELD_BYTES + NUMBER_BYTES, SIGNED_BYTES + 2 * NUMBER_FIELD_BYTES],
  [SIGNED_BYTES + 2 * NUMBER_FIELD_BYTES, SNP_REPORT_BYTES],
];
const CPU_FIELD = [0x188, 0x18b] as const;
const MITIGATIONS_FIELD = [0x1f8, 0x208] as const;

function malformed(problem: string): Error {
  return evidenceRejected("Malformed", `SNP report: ${problem}`);
}

function reversed(bytes: Bytes): Bytes {
  return bytes.toReversed();
}

/** The bits of a field of 8 bytes, numbered from its lowest. */
class Bits {
  readonly #field: Bytes;

  constructor(field: Bytes) {
    this.#field = field;
  }

  has(bit: number): boolean {
    return (((this.#field[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1;
  }

  /** Whether any bit from this one on is set. */
  anyFrom(first: number): boolean {
    for (let bit = first; bit < 8 * this.#field.length; bit++) if (this.has(bit)) return true;
    return false;
  }

  get hex(): string {
    return toHex(reversed(this.#field));
  }
}

/** Reads a report. Throws `EvidenceRejected` with the reason `Malformed`. */
export function parseSnpReport(bytes: Bytes): SnpReport {
  if (bytes.length !== SNP_REPORT_BYTES) throw malformed(`${bytes.length} bytes, expected ${SNP_REPORT_BYTES}`);
  const at = (from: number, length: number): Bytes => bytes.subarray(from, from + length);
  const u32 = (from: number): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(from, true);
  const version = u32(0);
  if (version < MIN_VERSION || version > MAX_VERSION) throw malformed(`version ${version}`);
  requireZeros(bytes, version);
  const keyInfo = u32(0x48);
  if (keyInfo >>> 5 !== 0) throw malformed("reserved bits of the key information are set");
  const policy = new Bits(at(8, 8));
  const platform = new Bits(at(0x40, 8));
  return {
    version,
    guestSvn: u32(4),
    policyBits: policy.hex,
    guestPolicy: readPolicy(policy, at(8, 2)),
    familyId: at(0x10, 16),
    imageId: at(0x20, 16),
    vmpl: u32(0x30),
    signatureAlgorithm: u32(0x34),
    currentTcb: at(0x38, TCB_BYTES),
    platformBits: platform.hex,
    platformInfo: readPlatform(platform),
    hasAuthorKey: (keyInfo & 1) !== 0,
    chipKeyMasked: (keyInfo & 2) !== 0,
    signingKey: keyInfo >>> 2,
    reportData: at(0x50, 64),
    measurement: at(0x90, 48),
    hostData: at(0xc0, 32),
    idKeyDigest: at(0xe0, 48),
    authorKeyDigest: at(0x110, 48),
    reportId: at(0x140, 32),
    migrationAgentReportId: at(0x160, 32),
    reportedTcb: at(0x180, TCB_BYTES),
    ...(version >= CPU_VERSION && { cpu: cpuOf(at(...fieldOf(CPU_FIELD))) }),
    chipId: at(0x1a0, 64),
    committedTcb: at(0x1e0, TCB_BYTES),
    currentFirmware: firmwareOf(at(0x1e8, 3)),
    committedFirmware: firmwareOf(at(0x1ec, 3)),
    launchTcb: at(0x1f0, TCB_BYTES),
    ...(version >= MITIGATIONS_VERSION && {
      launchMitigations: toHex(reversed(at(0x1f8, 8))),
      currentMitigations: toHex(reversed(at(0x200, 8))),
    }),
    signedBytes: at(0, SIGNED_BYTES),
    signature: concatBytes(
      reversed(at(SIGNED_BYTES, NUMBER_BYTES)),
      reversed(at(SIGNED_BYTES + NUMBER_FIELD_BYTES, NUMBER_BYTES)),
    ),
  };
}

function fieldOf([from, to]: readonly [from: number, to: number]): [from: number, length: number] {
  return [from, to - from];
}

function requireZeros(bytes: Bytes, version: number): void {
  const ranges = [
    ...ZEROS,
    ...(version < CPU_VERSION ? [CPU_FIELD] : []),
    ...(version < MITIGATIONS_VERSION ? [MITIGATIONS_FIELD] : []),
  ];
  for (const [from, to] of ranges)
    for (let at = from; at < to; at++)
      if (bytes[at] !== 0) throw malformed(`byte 0x${at.toString(16)} must be zero in version ${version}`);
}

function readPolicy(bits: Bits, abi: Bytes): GuestPolicy {
  if (!bits.has(17) || bits.anyFrom(26)) throw malformed("reserved bits of the guest policy");
  return {
    abiMajor: abi[1] ?? 0,
    abiMinor: abi[0] ?? 0,
    smt: bits.has(16),
    migrationAgent: bits.has(18),
    debug: bits.has(19),
    singleSocket: bits.has(20),
    cxl: bits.has(21),
    aes256Xts: bits.has(22),
    raplDisabled: bits.has(23),
    ciphertextHiding: bits.has(24),
    pageSwapDisabled: bits.has(25),
  };
}

function readPlatform(bits: Bits): PlatformInfo {
  if (bits.has(6) || bits.anyFrom(8)) throw malformed("reserved bits of the platform information");
  return {
    smt: bits.has(0),
    tsme: bits.has(1),
    ecc: bits.has(2),
    raplDisabled: bits.has(3),
    ciphertextHiding: bits.has(4),
    aliasCheckComplete: bits.has(5),
    trustedIo: bits.has(7),
  };
}

function cpuOf([family = 0, model = 0, stepping = 0]: Bytes): CpuModel {
  return { family, model, stepping };
}

/** Build, minor and major number, in this order. */
function firmwareOf([build = 0, minor = 0, major = 0]: Bytes): string {
  return `${major}.${minor}.${build}`;
}
