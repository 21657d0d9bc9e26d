/**
 * The TEE of a node as the node uses it: evidence as it travels, the code that evidence names, and what seals the node's keys.
 * Opening it makes one piece of evidence and verifies it as others will, so that what is missing shows at once.
 *
 * The enclave of VSM seals, and that of SGX unless it is told to leave it; one that cannot is refused, never replaced by a file. On the
 * others the node's keys are encrypted under the key in the machine key file: whoever reads that file is the node, so it belongs where
 * only the TEE reads it (docs/operators/tees.md).
 */
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type EvidenceCrypto,
  MAX_EVIDENCE_BYTES,
  REPORT_DATA_BYTES,
  type Claims,
  type HardwareRoots,
} from "../../attestation/evidence.ts";
import { encodeHardwareEvidence } from "../../attestation/hardware.ts";
import { verifyEvidence } from "../../attestation/verify-evidence.ts";
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import { readDocument } from "../../core/governance/fields.ts";
import { readTeeEntry } from "../../core/governance/manifest-codec.ts";
import type { PcrValues } from "../../core/governance/policy-snp.ts";
import type {
  CodeEntry,
  HardwareTee,
  ReferenceValues,
  TeeEntry,
  TeeName,
} from "../../core/governance/manifest-entries.ts";
import { createEvidenceCrypto } from "../../enclave/manager/node-crypto.ts";
import type { Sealer } from "../../enclave/manager/node-keys.ts";
import { CocoError } from "../../errors.ts";
import { measureCode, PACKAGE_FOLDER } from "../measure-code.ts";
import { ownFlags } from "../node-flags.ts";
import { createVirtualTee, openVirtualTee, type VirtualTee } from "../virtual-tee.ts";
import { sealsItself, type TeeProvider } from "./provider.ts";
import { createProvider, hardwareNeeds } from "./providers.ts";
import { sealsByMachineKey, type TeeSettings } from "./tee-settings.ts";

/**
 * Registers of a TPM that say what was booted and are the same on machines of one image: boot loader, state of Secure Boot, what GRUB
 * did and read, the unified kernel image and what changes its command line.
 */
const BOOT_REGISTERS = [4, 7, 8, 9, 11, 12] as const;

/** See the module's header. */
export interface NodeTee {
  readonly tee: TeeName;
  /** The code that its evidence names, as a code manifest lists it. */
  readonly code: Pick<CodeEntry, "measurement" | "reference">;
  /** Evidence that binds 64 bytes; rejects with `TeeUnavailable` or `CollateralUnavailable`. */
  attest(reportData: Bytes): Promise<Bytes>;
  readonly sealer: Sealer;
  /** What seals the node's keys, for people. */
  readonly sealedBy: "enclave" | "signer" | "machine key file";
  /** Flags of this process that are part of the measurement (virtual). */
  readonly flags?: readonly string[];
  /** What the TEE manifest must list for this machine. */
  entry(note: string): TeeEntry;
}

/** What a test plays of a machine, and nothing else does: no file, option or environment variable of a node gives any. */
export interface PlayedMachine {
  /** Roots of hardware, instead of those pinned in this program. */
  readonly roots?: HardwareRoots;
  /** What makes evidence, instead of this machine's hardware. */
  readonly provider?: TeeProvider;
  /** The package that the virtual TEE measures, instead of the one that runs. */
  readonly packageFolder?: string;
}

/** The machine a node's TEE is of. */
export interface TeeMachine {
  /** Folder of the node, for its cache of collateral. */
  readonly dir: string;
  /** Key of the virtual TEE, and what seals on TEEs that do not; undefined where the enclave seals. */
  readonly machineKeyFile: string | undefined;
  /** Makes the folder once there is evidence, and the machine key when there is none. */
  readonly create?: boolean;
  readonly played?: PlayedMachine | undefined;
}

/** Opens the TEE of a node. Throws `ConfigurationInvalid`, or `TeeUnavailable` with what is missing. */
export async function openNodeTee(settings: TeeSettings, machine: TeeMachine): Promise<NodeTee> {
  const { dir, played } = machine;
  if (settings.name === "virtual") {
    await makeFolder(machine);
    return ofVirtual(await machineKeyOf(machine), played?.packageFolder ?? PACKAGE_FOLDER);
  }
  const provider = played?.provider ?? createProvider(settings.name, settings, join(dir, "collateral"));
  if (provider.tee !== settings.name)
    throw new CocoError("TeeUnavailable", `the machine is of ${provider.tee}, not of ${settings.name}`);
  const needs = hardwareNeeds(settings.name, settings);
  const hardware = await ofHardware(provider, settings.name, needs, createEvidenceCrypto(played?.roots));
  await makeFolder(machine);
  if (sealsByMachineKey(settings))
    return { ...hardware, sealer: await machineKeyOf(machine), sealedBy: "machine key file" };
  if (!sealsItself(provider)) throw new CocoError("TeeUnavailable", `${settings.name} gives no sealing here`);
  return { ...hardware, sealer: provider, sealedBy: settings.sealTo === "signer" ? "signer" : "enclave" };
}

/** What this machine measures, and the entry that accepts it, as manifests list them. Throws `TeeUnavailable` with what is missing. */
export async function measuredByTee(
  name: HardwareTee,
  settings: TeeSettings,
  { provider = createProvider(name, settings), roots }: PlayedMachine = {},
): Promise<Pick<NodeTee, "code" | "entry">> {
  return ofHardware(provider, name, hardwareNeeds(name, settings), createEvidenceCrypto(roots));
}

/** After the evidence: what is missing, or Ctrl-C while a machine is asked, leaves no folder behind. */
async function makeFolder({ dir, create = false }: TeeMachine): Promise<void> {
  if (!create) return;
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${dir}: cannot be made`, { file: dir }, { cause: error });
  }
}

async function machineKeyOf({ machineKeyFile, create = false }: TeeMachine): Promise<VirtualTee> {
  if (machineKeyFile === undefined)
    throw new CocoError("ConfigurationInvalid", "expected a machine key file: nothing else seals the keys here");
  return create ? createVirtualTee(machineKeyFile) : openVirtualTee(machineKeyFile);
}

async function ofVirtual(machine: VirtualTee, packageFolder: string): Promise<NodeTee> {
  const flags = ownFlags();
  const measurement = await measureCode(packageFolder, { flags });
  return {
    tee: "virtual",
    flags,
    code: { measurement: toHex(measurement) },
    attest: async (reportData) => machine.attest(measurement, reportData),
    sealer: machine,
    sealedBy: "machine key file",
    entry: (note) => ({ tee: "virtual", machineKey: machine.machineKey, note }),
  };
}

async function ofHardware(
  provider: TeeProvider,
  tee: HardwareTee,
  needs: string,
  crypto: EvidenceCrypto,
): Promise<Omit<NodeTee, "sealer" | "sealedBy">> {
  const attest = async (reportData: Bytes): Promise<Bytes> => {
    const evidence = encodeHardwareEvidence(await provider.attest(reportData));
    if (evidence.length <= MAX_EVIDENCE_BYTES) return evidence;
    throw new CocoError("TeeUnavailable", `evidence of ${evidence.length} bytes, ${MAX_EVIDENCE_BYTES} allowed`);
  };
  const claims = await tried(attest, tee, needs, crypto);
  const reference = referenceOf(claims);
  return {
    tee,
    code: { measurement: claims.measurement, ...(reference !== undefined && { reference }) },
    attest,
    entry: (note) => strictEntry(tee, note, claims.tee === "virtual" ? undefined : claims.pcrs),
  };
}

/** What one piece of evidence claims when others verify it. Throws `TeeUnavailable` with what the TEE needs. */
async function tried(
  attest: (reportData: Bytes) => Promise<Bytes>,
  tee: HardwareTee,
  needs: string,
  crypto: EvidenceCrypto,
): Promise<Claims> {
  const reportData = new Uint8Array(randomBytes(REPORT_DATA_BYTES));
  try {
    return verifyEvidence(await attest(reportData), reportData, crypto, Date.now());
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
    if (error.code === "EvidenceRejected")
      throw new CocoError(
        "TeeUnavailable",
        `others refuse what ${tee} makes here: ${error.message}`,
        {},
        { cause: error },
      );
    if (error.code !== "TeeUnavailable") throw error;
    throw new CocoError("TeeUnavailable", `${error.message}. ${needs}`, {}, { cause: error });
  }
}

/** Everything measured beside the measurement, as reference values: members may leave out what may change. */
function referenceOf(claims: Claims): ReferenceValues | undefined {
  if (claims.tee === "virtual") return undefined;
  const { measured } = claims;
  if (measured.tee !== "sgx") return measured;
  const { signer, productId, version } = measured;
  return { tee: "sgx", signer, productId, minVersion: version };
}

/**
 * The strict policy for hardware: the owner may edit it in vn-entry.json before it is signed. Of a machine that attests through its
 * virtual TPM it names what the registers of the boot hold.
 */
function strictEntry(tee: HardwareTee, note: string, found: PcrValues | undefined): TeeEntry {
  const pcrs = Object.fromEntries(BOOT_REGISTERS.flatMap((at) => (found?.[at] === undefined ? [] : [[at, found[at]]])));
  const policy = tee === "vsm" ? { format: "vbs-hgs" } : found === undefined ? {} : { pcrs };
  const id = found === undefined ? "strict" : "strict-vtpm";
  return readDocument({ tee, id, note, policy }, { form: "json", code: "Internal" }, readTeeEntry);
}
