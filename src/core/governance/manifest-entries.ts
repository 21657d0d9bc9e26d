/**
 * Entries of the code manifest and the TEE manifest (R7): words and names; manifest-codec.ts reads and writes them.
 *
 * An entry of the TEE manifest says what a network accepts of one kind of TEE: a machine of the virtual TEE, or an appraisal
 * policy for hardware. An entry of the code manifest is one approved code identity: a measurement as the virtual TEE makes it, or
 * reference values for what hardware measures.
 */
import { toHex, type Bytes } from "../codec/bytes.ts";
import type { DcapPolicy } from "./policy-dcap.ts";
import type { SnpPolicy } from "./policy-snp.ts";
import type { VsmPolicy } from "./policy-vsm.ts";

/** The TEEs there are, the weakest first: a network is as strong as the weakest of its nodes. */
export const TEE_NAMES = ["virtual", "vsm", "sgx", "tdx", "snp"] as const;
/** One of {@link TEE_NAMES}. */
export type TeeName = (typeof TEE_NAMES)[number];
/** TEEs of hardware: all but the virtual one. */
export type HardwareTee = Exclude<TeeName, "virtual">;

/** When an entry of a manifest counts: from its first date on and before its second, by the clock of the ledger. */
export interface InForce {
  /** Milliseconds since 1970; absent: from its approval on. */
  readonly inForceFrom?: number;
  /** Milliseconds since 1970; absent: until it is retired. */
  readonly inForceUntil?: number;
}

/** A machine of the virtual TEE, known by its public key (SubjectPublicKeyInfo DER, P-256). */
export interface VirtualTeeEntry extends InForce {
  readonly tee: "virtual";
  readonly machineKey: Bytes;
  readonly note: string;
}

/** What is accepted of one kind of hardware. Several entries of a kind may be in force: one that accepts is enough. */
export type HardwareTeeEntry = HardwareEntryHead &
  (
    | { readonly tee: "snp"; readonly policy: SnpPolicy }
    | { readonly tee: "sgx" | "tdx"; readonly policy: DcapPolicy }
    | { readonly tee: "vsm"; readonly policy: VsmPolicy }
  );

interface HardwareEntryHead extends InForce {
  /** Names the entry, for its retirement. */
  readonly id: string;
  readonly note: string;
}

/** One approved TEE (R7). */
export type TeeEntry = VirtualTeeEntry | HardwareTeeEntry;

/** What hardware measures beside the measurement, as approved; what is absent is not compared. Hex in lower case. */
export type ReferenceValues =
  | {
      readonly tee: "snp";
      /** HOST_DATA, 32 bytes: of containers the digest of the policy that names them. */
      readonly hostData?: string;
    }
  | {
      readonly tee: "sgx";
      /** MRSIGNER, 32 bytes. */
      readonly signer?: string;
      readonly productId?: number;
      /** Lowest ISVSVN. */
      readonly minVersion?: number;
    }
  | {
      readonly tee: "tdx";
      /** RTMR 0 to 3, 48 bytes each. */
      readonly registers?: readonly string[];
    }
  | { readonly tee: "vsm" };

/** One approved code identity (R7). */
export interface CodeEntry extends InForce {
  /** Lower-case hex: 32 bytes, or 48 of SNP and TDX. */
  readonly measurement: string;
  readonly name: string;
  readonly version: string;
  /** Of code that hardware measures; absent: the measurement is that of the virtual TEE. */
  readonly reference?: ReferenceValues;
  /** Constitution version that first lists it; absent for entries of the genesis constitution. */
  readonly approvedAt?: number;
  /** Votes that approved it; absent for entries of the genesis constitution, which the founders compared by its digest. */
  readonly approval?: { readonly yes: number; readonly members: number };
}

/** What names an entry of the TEE manifest: no two have the same. */
export function teeKey(entry: TeeEntry): string {
  return entry.tee === "virtual" ? toHex(entry.machineKey) : `${entry.tee}.${entry.id}`;
}

/** What names an entry of the code manifest: measurement and reference values together. */
export function codeKey({ measurement, reference }: Pick<CodeEntry, "measurement" | "reference">): string {
  if (reference === undefined) return measurement;
  return [reference.tee, measurement, ...referenceParts(reference)].join(".");
}

function referenceParts(reference: ReferenceValues): readonly string[] {
  switch (reference.tee) {
    case "snp":
      return [reference.hostData ?? "any"];
    case "sgx":
      return [reference.signer ?? "any", String(reference.productId ?? "any"), String(reference.minVersion ?? 0)];
    case "tdx":
      return reference.registers ?? ["any"];
    case "vsm":
      return [];
  }
}

/** Whether an entry of a manifest counts at a time of the ledger's clock, in milliseconds since 1970. */
export function isInForce({ inForceFrom = 0, inForceUntil = Infinity }: InForce, nowMs: number): boolean {
  return inForceFrom <= nowMs && nowMs < inForceUntil;
}
