/**
 * Which TEE a node runs on, and where its machine has what makes evidence: a part of node.json (`"tee"`), and options of the
 * command line. Each TEE takes its own settings and no others; there are none for roots of hardware, which are pinned.
 */
import { resolve } from "node:path";
import type { FieldReader, FieldRecord } from "../../core/governance/fields.ts";
import { TEE_NAMES, type TeeName } from "../../core/governance/manifest-entries.ts";

/** Longest value of a setting of a TEE, in characters. */
export const MAX_TEE_SETTING_LENGTH = 4096;

/** What a node in an SGX enclave can seal its keys to: its code, the signer of its code, or a machine key file. */
export const SEAL_TARGETS = ["enclave", "signer", "machine"] as const;
/** What a node in an SGX enclave seals its keys to. */
export type SealTarget = (typeof SEAL_TARGETS)[number];
/**
 * Exactly the code that members approved, and nobody else, opens the keys: whoever holds the signer's key, the operator mostly, could
 * sign code that gives them away. The price is a new node after each change of code.
 */
export const DEFAULT_SEAL_TO: SealTarget = "enclave";

/** Services that have certificates of chips: AMD's, Azure's cache, and the one on Azure's hosts. */
export const CHIP_SERVICES = ["amd", "azure-cache", "azure-host"] as const;
/** A service that has certificates of chips. */
export type ChipService = (typeof CHIP_SERVICES)[number];

const COLLATERAL = ["collateralUrl", "rootListUrl", "collateralCache"] as const;

/** The settings that each TEE takes. */
export const SETTINGS_OF_TEE = {
  virtual: [],
  snp: [
    "reportFolder",
    "securityContext",
    "chipCertificates",
    "chipService",
    "chipServiceUrl",
    "collateralCache",
    "vtpm",
  ],
  tdx: ["reportFolder", ...COLLATERAL],
  sgx: ["reportFolder", "sealTo", ...COLLATERAL],
  vsm: ["pipe", "answerFile"],
} as const satisfies Readonly<Record<TeeName, readonly TeeSetting[]>>;

/** A setting besides the name of the TEE. */
export type TeeSetting = keyof Omit<TeeSettings, "name">;

/** Settings of a node's TEE; paths are absolute once read. */
export interface TeeSettings {
  readonly name: TeeName;
  /** Where the kernel's reports are (snp, tdx), or Gramine's files (sgx); the usual place unless given. */
  readonly reportFolder?: string;
  /** Folder of what Azure puts beside a container (snp). */
  readonly securityContext?: string;
  /** File of the chip's certificates, for hosts that do not hand them in (snp). */
  readonly chipCertificates?: string;
  /** Who is asked for the chip's certificates where there are none: one of {@link CHIP_SERVICES}, AMD's unless given, or `none` (snp). */
  readonly chipService?: string;
  /** Where that service is, if not at its usual address: a mirror, or Azure's host as confidential containers reach it (snp). */
  readonly chipServiceUrl?: string;
  /** Device of the virtual TPM of a confidential Azure machine, which has its report there (snp). */
  readonly vtpm?: string;
  /** Intel's service for collateral, or a cache that speaks the same API (tdx, sgx). */
  readonly collateralUrl?: string;
  /** Where that has the root's list of revoked certificates (tdx, sgx). */
  readonly rootListUrl?: string;
  /** Folder in which collateral is kept, and what services said of the chip (tdx, sgx, snp). */
  readonly collateralCache?: string;
  /** What the node's keys are sealed to: one of {@link SEAL_TARGETS}, {@link DEFAULT_SEAL_TO} unless given (sgx). */
  readonly sealTo?: SealTarget;
  /** Where the enclave host answers (vsm). */
  readonly pipe?: string;
  /** File in which it answers, where it cannot be asked at a pipe (vsm). */
  readonly answerFile?: string;
}

/** What a node runs on unless it is told otherwise. */
export const DEFAULT_TEE: TeeSettings = { name: "virtual" };

const URLS: readonly TeeSetting[] = ["collateralUrl", "rootListUrl", "chipServiceUrl"];
const NAMES: readonly TeeSetting[] = ["pipe", "chipService", "sealTo"];

/** Reads the settings of a TEE; relative paths are of `dir`. Throws the reader's error for what this TEE does not take. */
export function readTeeSettings(fields: FieldReader, dir: string): TeeSettings {
  const name = fields.choice("name", TEE_NAMES);
  const given = SETTINGS_OF_TEE[name].filter((setting) => fields.has(setting));
  const values = given.map((setting) => {
    const text = fields.text(setting, { max: MAX_TEE_SETTING_LENGTH });
    if (URLS.includes(setting) && !isUrl(text)) throw fields.invalid(setting, "expected an http or https URL");
    if (setting === "chipService" && !isChipService(text))
      throw fields.invalid(setting, `expected none, or one of ${CHIP_SERVICES.join(", ")}`);
    if (setting === "sealTo" && !isSealTarget(text))
      throw fields.invalid(setting, `expected one of ${SEAL_TARGETS.join(", ")}`);
    return [setting, isPath(setting) ? resolve(dir, text) : text] as const;
  });
  const hosts = given.filter((setting) => setting === "pipe" || setting === "answerFile");
  if (name === "vsm" && hosts.length !== 1)
    throw fields.invalid("pipe", "expected the pipe, or the answerFile, at which the enclave host answers");
  return { name, ...(name === "sgx" && { sealTo: DEFAULT_SEAL_TO }), ...Object.fromEntries(values) };
}

/** The tree form of what {@link readTeeSettings} reads. */
export function teeSettingsTree(settings: TeeSettings): FieldRecord {
  return { ...settings };
}

/** A pipe of Windows is no path of the file system. */
function isPath(setting: TeeSetting): boolean {
  return !NAMES.includes(setting) && !URLS.includes(setting);
}

/** Whether a node's keys are sealed under the key in the machine key file: its TEE does not seal, or is not to. */
export function sealsByMachineKey({ name, sealTo = DEFAULT_SEAL_TO, answerFile }: TeeSettings): boolean {
  if (name === "vsm") return answerFile !== undefined;
  return name !== "sgx" || sealTo === "machine";
}

function isSealTarget(text: string): boolean {
  return SEAL_TARGETS.some((target) => target === text);
}

function isChipService(text: string): boolean {
  return text === "none" || CHIP_SERVICES.some((service) => service === text);
}

function isUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
