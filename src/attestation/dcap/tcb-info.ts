/**
 * Intel's TCB info, version 3 (PCS API v4), and enclave identities, version 2: which versions of a platform's parts and of
 * its quoting enclave are up to date. Only reading; who signed them is asked in collateral.ts.
 */
import type { TcbStatus } from "../../core/governance/policy-dcap.ts";
import { TCB_STATUSES } from "../../core/governance/policy-dcap.ts";
import { CocoError } from "../../errors.ts";
import { readSignedJson, type SignedFields } from "./signed-json.ts";

/** Statuses that the platform's levels can have; the others are what verification makes of several. */
const LEVEL_STATUSES = TCB_STATUSES.filter((status) => !status.startsWith("TDRelaunch"));
const PART_STATUSES = ["UpToDate", "ConfigurationNeeded", "OutOfDate", "Revoked"] as const;
const COMPONENTS = 16;
const MAX_SVN = 255;
const MAX_U16 = 0xffff;
const MAX_U32 = 0xffffffff;
const TCB_INFO_VERSION = 3;
const IDENTITY_VERSION = 2;

/** Status of a TDX module or quoting enclave. */
export type PartStatus = (typeof PART_STATUSES)[number];

/** What Intel says of versions from a lowest one on. */
export interface Level<S> {
  readonly status: S;
  /** When Intel published what it asks for, as it stands in the document. */
  readonly date: string;
  readonly advisories: readonly string[];
}

/** A level of a platform. */
export interface PlatformLevel extends Level<TcbStatus> {
  readonly sgx: readonly number[];
  readonly pceSvn: number;
  /** Of TDX only. */
  readonly tdx: readonly number[];
}

/** A level of a TDX module or a quoting enclave: by one version. */
export interface PartLevel extends Level<PartStatus> {
  readonly minVersion: number;
}

/** What a TDX module must look like; hex. */
export interface ModuleIdentity {
  readonly signer: string;
  readonly attributes: string;
  readonly attributesMask: string;
}

/** A TDX module's identity with its levels, by its major version: `TDX_03`. */
export interface VersionedModule extends ModuleIdentity {
  readonly id: string;
  readonly levels: readonly PartLevel[];
}

/** When a document counts, and how new the evaluation is that it stands for. */
interface Dated {
  readonly issuedMs: number;
  readonly nextUpdateMs: number;
  readonly evaluationNumber: number;
}

/** The TCB info of one kind of platform. */
export interface TcbInfo extends Dated {
  readonly id: "SGX" | "TDX";
  readonly fmspc: string;
  readonly pceId: string;
  /** Best first. */
  readonly levels: readonly PlatformLevel[];
  /** Of TDX: the module where it has no major version. */
  readonly module?: ModuleIdentity;
  readonly modules: readonly VersionedModule[];
}

/** The identity of a quoting enclave; hex. */
export interface QuotingIdentity extends Dated {
  readonly id: "QE" | "TD_QE";
  readonly miscSelect: string;
  readonly miscSelectMask: string;
  readonly attributes: string;
  readonly attributesMask: string;
  readonly signer: string;
  readonly productId: number;
  readonly levels: readonly PartLevel[];
}

function readDated(fields: SignedFields): Dated {
  return {
    issuedMs: fields.time("issueDate"),
    nextUpdateMs: fields.time("nextUpdate"),
    evaluationNumber: fields.integer("tcbEvaluationDataNumber", MAX_U32),
  };
}

function requireVersion(fields: SignedFields, version: number): void {
  if (fields.integer("version", MAX_U32) !== version)
    throw new CocoError("MalformedInput", `expected version ${version} of the document`);
}

function readLevel<S extends string>(fields: SignedFields, statuses: readonly S[]): Level<S> {
  fields.time("tcbDate");
  return {
    status: fields.choice("tcbStatus", statuses),
    date: fields.text("tcbDate"),
    advisories: fields.texts("advisoryIDs"),
  };
}

function readComponents(fields: SignedFields, name: string): readonly number[] {
  const components = fields.list(name, (component) => component.integer("svn", MAX_SVN));
  if (components.length !== COMPONENTS) throw new CocoError("MalformedInput", `expected ${COMPONENTS} components`);
  return components;
}

function readPlatformLevel(fields: SignedFields, id: "SGX" | "TDX"): PlatformLevel {
  const tcb = fields.object("tcb");
  return {
    ...readLevel(fields, LEVEL_STATUSES),
    sgx: readComponents(tcb, "sgxtcbcomponents"),
    pceSvn: tcb.integer("pcesvn", MAX_U16),
    tdx: id === "TDX" ? readComponents(tcb, "tdxtcbcomponents") : [],
  };
}

function readPartLevel(fields: SignedFields): PartLevel {
  return { ...readLevel(fields, PART_STATUSES), minVersion: fields.object("tcb").integer("isvsvn", MAX_U16) };
}

function readModuleIdentity(fields: SignedFields): ModuleIdentity {
  return {
    signer: fields.hex("mrsigner", 48),
    attributes: fields.hex("attributes", 8),
    attributesMask: fields.hex("attributesMask", 8),
  };
}

function readVersionedModule(fields: SignedFields): VersionedModule {
  return {
    ...readModuleIdentity(fields),
    id: fields.text("id").toUpperCase(),
    levels: fields.list("tcbLevels", readPartLevel),
  };
}

/** Reads a TCB info; throws `MalformedInput`. */
export function parseTcbInfo(text: string): TcbInfo {
  return readSignedJson(text, "tcbInfo", (fields) => {
    const id = fields.choice("id", ["SGX", "TDX"]);
    requireVersion(fields, TCB_INFO_VERSION);
    // The one way of comparing versions there is.
    fields.integer("tcbType", 0);
    return {
      id,
      ...readDated(fields),
      fmspc: fields.hex("fmspc", 6),
      pceId: fields.hex("pceId", 2),
      levels: fields.list("tcbLevels", (level) => readPlatformLevel(level, id)),
      ...(id === "TDX" && { module: readModuleIdentity(fields.object("tdxModule")) }),
      modules:
        id === "TDX" && fields.has("tdxModuleIdentities")
          ? fields.list("tdxModuleIdentities", readVersionedModule)
          : [],
    };
  });
}

/** Reads the identity of a quoting enclave; throws `MalformedInput`. */
export function parseQuotingIdentity(text: string): QuotingIdentity {
  return readSignedJson(text, "enclaveIdentity", (fields) => {
    requireVersion(fields, IDENTITY_VERSION);
    return {
      id: fields.choice("id", ["QE", "TD_QE"]),
      ...readDated(fields),
      miscSelect: fields.hex("miscselect", 4),
      miscSelectMask: fields.hex("miscselectMask", 4),
      attributes: fields.hex("attributes", 16),
      attributesMask: fields.hex("attributesMask", 16),
      signer: fields.hex("mrsigner", 32),
      productId: fields.integer("isvprodid", MAX_U16),
      levels: fields.list("tcbLevels", readPartLevel),
    };
  });
}

/** The first level that a version reaches. */
export function levelOf(levels: readonly PartLevel[], version: number): PartLevel | undefined {
  return levels.find(({ minVersion }) => version >= minVersion);
}
