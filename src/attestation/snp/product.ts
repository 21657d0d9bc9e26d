/** Which generation of chips a processor is of, and what the bytes of its TCB mean (AMD 56860; AMD 57230, tables 8 and 11). */
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { SnpProduct } from "../../core/governance/policy-snp.ts";
import type { CpuModel } from "./report.ts";

/** Models by family, both ends included: ranges, because models of one generation share its keys. */
const MODELS: readonly (readonly [product: SnpProduct, family: number, first: number, last: number])[] = [
  ["Milan", 0x19, 0x00, 0x0f],
  ["Genoa", 0x19, 0x10, 0x1f],
  ["Genoa", 0x19, 0xa0, 0xaf],
  ["Turin", 0x1a, 0x00, 0x1f],
];

/** Parts of a TCB by the numbers of their extensions in a VEK's certificate, in the order of the TCB's bytes. */
const EARLY_TCB = [1, 2, 4, 5, 6, 7, 3, 8] as const;
const TURIN_TCB = [9, 1, 2, 3, 5, 6, 7, 8] as const;

/** The generation of a processor; undefined when it is of none that this version knows. */
export function productOfCpu({ family, model }: CpuModel): SnpProduct | undefined {
  return MODELS.find(([, of, first, last]) => of === family && first <= model && model <= last)?.[0];
}

/** The numbers of the extensions that hold the bytes of a TCB, from the first byte to the last. */
export function tcbExtensionsOf(product: SnpProduct): readonly number[] {
  return product === "Turin" ? TURIN_TCB : EARLY_TCB;
}

/** A TCB as a number of 64 bits, hex, as policies and AMD's tools write it: the report's bytes from the last to the first. */
export function tcbText(tcb: Bytes): string {
  return toHex(tcb.toReversed());
}

/** Whether no part of a TCB is lower than that of another; both as bytes. */
export function isTcbAtLeast(tcb: Bytes, minimum: Bytes): boolean {
  return tcb.length === minimum.length && tcb.every((part, at) => part >= (minimum[at] ?? 0xff));
}

/** EAX of CPUID function 1, hex: how policies name a model. */
export function cpuidText({ family, model, stepping }: CpuModel): string {
  const extendedFamily = Math.max(0, family - 0xf);
  const eax =
    (extendedFamily << 20) |
    ((model >> 4) << 16) |
    (Math.min(family, 0xf) << 8) |
    ((model & 15) << 4) |
    (stepping & 15);
  return eax.toString(16).padStart(8, "0");
}
