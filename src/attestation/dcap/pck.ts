/**
 * What a PCK certificate says of its platform: Intel's extension 1.2.840.113741.1.13.1 ("SGX PCK Certificate and Certificate
 * Revocation List Profile Specification", 1.3.5).
 */
import type { Certificate } from "../../core/certificates/certificate.ts";
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import { DER, readDer, type DerReader } from "../../core/codec/der.ts";
import { CocoError } from "../../errors.ts";

/** Versions of a platform's parts that the PCK certificate vouches for. */
export interface PlatformTcb {
  /** SVNs of the 16 components. */
  readonly components: readonly number[];
  readonly pceSvn: number;
  /** Raw CPUSVN, hex. */
  readonly cpuSvn: string;
}

/** A platform as its PCK certificate describes it; identifiers in hex. */
export interface Platform {
  readonly ppid: string;
  readonly tcb: PlatformTcb;
  readonly pceId: string;
  /** Family, model, stepping, platform type and custom SKU. */
  readonly fmspc: string;
}

const EXTENSION = "1.2.840.113741.1.13.1";
const COMPONENTS = 16;
const MAX_U16 = 0xffff;
const SGX_TYPES_MAX = 2;

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `PCK certificate: ${problem}`);
}

/** The platform of a PCK certificate; throws `MalformedInput`. */
export function platformOf(certificate: Certificate): Platform {
  const extension = certificate.extensions.find(({ identifier }) => identifier === EXTENSION);
  if (extension === undefined) throw malformed("without the extension of SGX");
  return readDer(extension.value, (reader) => reader.sequence(readPlatform));
}

/** An entry under the extension's own identifier: entries come in the order of their numbers. */
function entry<T>(reader: DerReader, number: string, read: (inner: DerReader) => T): T {
  return reader.sequence((inner) => {
    if (inner.objectIdentifier() !== `${EXTENSION}.${number}`) throw malformed(`expected entry ${number}`);
    return read(inner);
  });
}

function octets(reader: DerReader, length: number): Bytes {
  const bytes = reader.octets();
  if (bytes.length !== length) throw malformed(`expected ${length} bytes`);
  return bytes;
}

function readPlatform(reader: DerReader): Platform {
  const ppid = entry(reader, "1", (inner) => toHex(octets(inner, 16)));
  const tcb = entry(reader, "2", (inner) => inner.sequence(readTcb));
  const pceId = entry(reader, "3", (inner) => toHex(octets(inner, 2)));
  const fmspc = entry(reader, "4", (inner) => toHex(octets(inner, 6)));
  entry(reader, "5", (inner) => inner.smallInteger(SGX_TYPES_MAX, DER.enumerated));
  // Platforms of several processors have further entries, which say nothing about their TCB.
  while (!reader.atEnd) reader.any();
  return { ppid, tcb, pceId, fmspc };
}

function readTcb(reader: DerReader): PlatformTcb {
  const components = Array.from({ length: COMPONENTS }, (_, at) =>
    entry(reader, `2.${at + 1}`, (inner) => inner.smallInteger(255)),
  );
  const pceSvn = entry(reader, "2.17", (inner) => inner.smallInteger(MAX_U16));
  const cpuSvn = entry(reader, "2.18", (inner) => toHex(octets(inner, 16)));
  return { components, pceSvn, cpuSvn };
}
