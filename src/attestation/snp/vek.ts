/**
 * Certificates of the keys that sign reports (AMD 57230, chapter 3): VCEK, the chip's own, and VLEK, which a cloud provider
 * loaded. Their extensions say for which product, TCB and chip (or provider) the key is; one that is there and cannot be read
 * makes the certificate useless, one that is missing is missing.
 */
import { commonNameOf } from "../../core/certificates/name.ts";
import { type Certificate, readOrNothing } from "../../core/certificates/certificate.ts";
import { type Bytes, bytesEqual } from "../../core/codec/bytes.ts";
import { DER, type DerReader, readDer } from "../../core/codec/der.ts";
import { SNP_PRODUCTS, type SnpProduct } from "../../core/governance/policy-snp.ts";
import { tcbExtensionsOf } from "./product.ts";

/** The kinds of key that sign reports. */
export type VekKind = "vcek" | "vlek";

/** The certificate of a key that signs reports. */
export interface Vek {
  readonly certificate: Certificate;
  readonly kind: VekKind;
  /** As its issuer's name says. */
  readonly product?: SnpProduct;
  /** As it says itself: `Milan-B0`, `Genoa`. */
  readonly productName?: string;
  /** Parts of the TCB by the number of their extension. */
  readonly tcbParts: ReadonlyMap<number, number>;
  /** The chip: 64 bytes, or 8 from Turin on. */
  readonly hardwareId?: Bytes;
  /** The cloud provider. */
  readonly providerId?: string;
  /** Extensions of AMD that are there and cannot be read. */
  readonly unreadable: readonly string[];
}

const PREFIX = "1.3.6.1.4.1.3704.1.";
const PRODUCT_NAME = `${PREFIX}2`;
const TCB_PREFIX = `${PREFIX}3.`;
const HARDWARE_ID = `${PREFIX}4`;
const PROVIDER_ID = `${PREFIX}5`;
const COMMON_NAMES: Readonly<Record<string, VekKind>> = { "SEV-VCEK": "vcek", "SEV-VLEK": "vlek" };
const ISSUER_PREFIX = { vcek: "SEV-", vlek: "SEV-VLEK-" } as const;
const CHIP_ID_BYTES = 64;
const SHORT_CHIP_ID_BYTES = 8;

/** What a certificate says as that of a key that signs reports; undefined when its name is not that of one. */
export function readVek(certificate: Certificate): Vek | undefined {
  const name = commonNameOf(certificate.subject) ?? "";
  const kind = Object.hasOwn(COMMON_NAMES, name) ? COMMON_NAMES[name] : undefined;
  if (kind === undefined) return undefined;
  const unreadable: string[] = [];
  const extension = <T>(identifier: string, read: (value: Bytes) => T | undefined): T | undefined => {
    const found = certificate.extensions.find((candidate) => candidate.identifier === identifier);
    const value = found && read(found.value);
    if (found !== undefined && value === undefined) unreadable.push(identifier);
    return value;
  };
  const issuer = commonNameOf(certificate.issuer);
  const product = SNP_PRODUCTS.find((candidate) => issuer === ISSUER_PREFIX[kind] + candidate);
  const productName = extension(PRODUCT_NAME, readText);
  const tcbParts = new Map<number, number>();
  for (let part = 1; part <= 9; part++) {
    const value = extension(TCB_PREFIX + part, readByte);
    if (value !== undefined) tcbParts.set(part, value);
  }
  const hardwareId = extension(HARDWARE_ID, readHardwareId);
  const providerId = extension(PROVIDER_ID, readText);
  return {
    certificate,
    kind,
    tcbParts,
    unreadable,
    ...(product && { product }),
    ...(productName !== undefined && { productName }),
    ...(hardwareId && { hardwareId }),
    ...(providerId !== undefined && { providerId }),
  };
}

function readAll<T>(value: Bytes, read: (reader: DerReader) => T): T | undefined {
  return readOrNothing(() => readDer(value, read));
}

function readText(value: Bytes): string | undefined {
  return readAll(value, (reader) => reader.text());
}

function readByte(value: Bytes): number | undefined {
  return readAll(value, (reader) => reader.smallInteger(0xff));
}

/** Three encodings are in use: 64 bytes or 8 as they are, or an OCTET STRING with them inside. */
function readHardwareId(value: Bytes): Bytes | undefined {
  const isChipId = ({ length }: Bytes): boolean => length === CHIP_ID_BYTES || length === SHORT_CHIP_ID_BYTES;
  if (isChipId(value)) return value;
  const inner = readAll(value, (reader) => reader.content(DER.octetString));
  return inner && isChipId(inner) ? inner : undefined;
}

/** The TCB a certificate is for, as a report has it; undefined unless every part of it is there. */
export function tcbOfVek({ tcbParts }: Vek, product: SnpProduct): Bytes | undefined {
  const parts = tcbExtensionsOf(product).map((part) => tcbParts.get(part));
  return parts.every((part) => part !== undefined) ? Uint8Array.from(parts) : undefined;
}

/** Whether a certificate is for the chip of this id. Short ids are Turin's, whose reports have zeros behind them. */
export function isForChip({ hardwareId }: Vek, chipId: Bytes, product: SnpProduct): boolean {
  if (hardwareId === undefined) return false;
  if (hardwareId.length === CHIP_ID_BYTES) return bytesEqual(hardwareId, chipId);
  const rest = chipId.subarray(SHORT_CHIP_ID_BYTES);
  return (
    product === "Turin" &&
    bytesEqual(hardwareId, chipId.subarray(0, SHORT_CHIP_ID_BYTES)) &&
    rest.every((byte) => byte === 0)
  );
}
