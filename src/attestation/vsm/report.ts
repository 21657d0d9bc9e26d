/**
 * The report of an enclave of virtualization-based security (VBS), as `EnclaveGetAttestationReport` writes it: a header, the
 * statement the Secure Kernel signs, its signature. Read strictly: every size must be what it says, every byte is either a
 * value or zero, and nothing follows. Layout: VBS_ENCLAVE_REPORT_PKG_HEADER and VBS_ENCLAVE_REPORT of ntenclv.h.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { isWellFormed } from "../../core/governance/json-value.ts";
import { CocoError } from "../../errors.ts";
import { LittleEndianReader } from "../little-endian.ts";

/** Largest report of a VBS enclave, in bytes. */
export const MAX_VBS_REPORT_BYTES = 64 * 1024;
/** Most modules of a VBS enclave. */
export const MAX_VBS_MODULES = 256;

const HEADER_BYTES = 24;
const ENCLAVE_DATA_BYTES = 64;
const VERSION = 1;
/** RSA-PSS with SHA-256. */
const SIGNATURE_SCHEME = 1;
const MODULE = 1;
const MODULE_HEADER_BYTES = 8;
const UNIT_BYTES = 2;

/** A module that is loaded into an enclave; identifiers in lower-case hex. */
export interface VbsModule {
  /** Of exactly this image, 32 bytes. */
  readonly uniqueId: string;
  /** Of who signed it, 32 bytes. */
  readonly authorId: string;
  /** 16 bytes. */
  readonly familyId: string;
  /** 16 bytes. */
  readonly imageId: string;
  readonly svn: number;
  readonly name: string;
}

/** What identifies an enclave; identifiers in lower-case hex. */
export interface VbsIdentity {
  /** Of who started it, 32 bytes. */
  readonly ownerId: string;
  /** Of exactly this image: its measurement, 32 bytes. */
  readonly uniqueId: string;
  /** Of who signed it, 32 bytes. */
  readonly authorId: string;
  /** 16 bytes. */
  readonly familyId: string;
  /** 16 bytes. */
  readonly imageId: string;
  readonly enclaveSvn: number;
  readonly secureKernelSvn: number;
  readonly platformSvn: number;
  /** Debugging; 0 in production. */
  readonly flags: number;
  readonly signingLevel: number;
  readonly enclaveType: number;
}

/** A report that was read; nothing of it is trusted. */
export interface VbsReport {
  /** The bytes under the signature. */
  readonly signedStatement: Bytes;
  readonly signature: Bytes;
  /** 64 bytes that the enclave chose. */
  readonly enclaveData: Bytes;
  readonly identity: VbsIdentity;
  readonly modules: readonly VbsModule[];
}

/** Reads a report; throws `MalformedInput`. */
export function parseVbsReport(bytes: Bytes): VbsReport {
  if (bytes.length > MAX_VBS_REPORT_BYTES)
    throw new CocoError("MalformedInput", `VBS report: ${bytes.length} bytes, ${MAX_VBS_REPORT_BYTES} allowed`);
  const reader = new LittleEndianReader(bytes, "VBS report");
  reader.exactly("its size", bytes.length);
  reader.exactly("its version", VERSION);
  reader.exactly("the signature scheme", SIGNATURE_SCHEME);
  const statementBytes = reader.u32();
  const signatureBytes = reader.u32();
  reader.zeros(4);
  if (HEADER_BYTES + statementBytes + signatureBytes !== bytes.length)
    throw reader.malformed("its parts do not add up to its size");
  const signedStatement = reader.bytes(statementBytes);
  const signature = reader.bytes(signatureBytes);
  reader.end();
  return { signedStatement, signature, ...parseStatement(signedStatement) };
}

function parseStatement(statement: Bytes): Pick<VbsReport, "enclaveData" | "identity" | "modules"> {
  const reader = new LittleEndianReader(statement, "statement of a VBS report");
  reader.exactly("its size", statement.length);
  reader.exactly("its version", VERSION);
  const enclaveData = reader.bytes(ENCLAVE_DATA_BYTES);
  const identity = readIdentity(reader);
  const modules: VbsModule[] = [];
  while (reader.remaining > 0) {
    if (modules.length === MAX_VBS_MODULES) throw reader.malformed(`more than ${MAX_VBS_MODULES} modules`);
    reader.exactly("the type of a part", MODULE);
    const size = reader.u32();
    if (size < MODULE_HEADER_BYTES) throw reader.malformed("a module is smaller than its header");
    modules.push(parseModule(reader.bytes(size - MODULE_HEADER_BYTES)));
  }
  return { enclaveData, identity, modules };
}

function readIdentity(reader: LittleEndianReader): VbsIdentity {
  return {
    ownerId: reader.hex(32),
    uniqueId: reader.hex(32),
    authorId: reader.hex(32),
    familyId: reader.hex(16),
    imageId: reader.hex(16),
    enclaveSvn: reader.u32(),
    secureKernelSvn: reader.u32(),
    platformSvn: reader.u32(),
    flags: reader.u32(),
    signingLevel: reader.u32(),
    enclaveType: reader.u32(),
  };
}

function parseModule(bytes: Bytes): VbsModule {
  const reader = new LittleEndianReader(bytes, "module of a VBS report");
  return {
    uniqueId: reader.hex(32),
    authorId: reader.hex(32),
    familyId: reader.hex(16),
    imageId: reader.hex(16),
    svn: reader.u32(),
    name: readName(reader),
  };
}

/** UTF-16 up to a zero; what fills the rest is zero, too. */
function readName(reader: LittleEndianReader): string {
  let name = "";
  for (;;) {
    const [low = 0, high = 0] = reader.bytes(UNIT_BYTES);
    const unit = low | (high << 8);
    if (unit === 0) break;
    name += String.fromCharCode(unit);
  }
  reader.zeros(reader.remaining);
  if (name === "" || !isWellFormed(name) || /[\u0000-\u001f\u007f-\u009f]/.test(name))
    throw reader.malformed("its name is empty or no text");
  return name;
}
