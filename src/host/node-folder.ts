/**
 * The folder of a validating node: what `coco node init` makes and `coco node start` reads.
 *
 *   node.json       configuration: addresses, and where the files are (paths relative to the folder)
 *   sealed.keys     the node's keys, sealed by the TEE of this machine, or under its machine key where that cannot
 *   vn-entry.json   the unsigned tuple for the owner (R6) and what the TEE manifest must list for it; holds no secret
 *   collateral/     what Intel says of the machine's kind (TEEs tdx and sgx)
 *   genesis.json    put here once the network's founders have assembled it, or by `coco node join`
 *   joined.json     the constitution in force that the owner approved when the node joined a network that existed
 *   ledger/         made at the first start
 *
 * Keys are never overwritten. Every problem is `ConfigurationInvalid` and names file and field.
 */
import { access } from "node:fs/promises";
import { isAbsolute, join, relative, resolve } from "node:path";
import { utf8Decode, type Bytes } from "../core/codec/bytes.ts";
import { MAX_ADDRESS_LENGTH, parseAddress } from "../core/governance/address.ts";
import { nodeTupleTree, readNodeTuple } from "../core/governance/constitution-codec.ts";
import { readTeeEntry, teeEntryTree } from "../core/governance/manifest-codec.ts";
import { IDENTIFIER, type NodeTuple } from "../core/governance/constitution.ts";
import type { TeeEntry } from "../core/governance/manifest-entries.ts";
import { readDocument, treeToJson, type FieldReader, type FieldTree } from "../core/governance/fields.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { createNodeKeys } from "../enclave/manager/node-keys.ts";
import { CocoError } from "../errors.ts";
import { createFileAtomic, hasErrorCode, PUBLIC_FILE_MODE, readConfigurationFile, SECRET_FILE_MODE } from "./files.ts";
import { type NodeTee, openNodeTee, type PlayedMachine } from "./tee/node-tee.ts";
import {
  DEFAULT_TEE,
  readTeeSettings,
  sealsByMachineKey,
  type TeeSettings,
  teeSettingsTree,
} from "./tee/tee-settings.ts";
import {
  DEFAULT_WORKER_LEVEL,
  DEFAULT_WORKER_MEMORY_MB,
  WORKER_LEVELS,
  WORKER_MEMORY_MB_MAX,
  WORKER_MEMORY_MB_MIN,
  type WorkerLevel,
} from "./worker-settings.ts";

/** Name of the configuration file in a node's folder. */
export const NODE_CONFIGURATION_FILE = "node.json";
/** File in a node's folder with an approval of its code by the members, if its ledger does not hold it yet. */
export const APPROVAL_FILE = "approval.cbor";
/** File in a node's folder with the constitution its owner approved when it joined; there for nodes genesis does not list. */
export const JOINED_FILE = "joined.json";
/** File in a node's folder to which the service certificate is written once it is known. */
export const SERVICE_CERTIFICATE_FILE = "service_cert.pem";
/** Largest JSON file of a node's folder (the genesis constitution apart), and largest file of sealed keys, in bytes. */
export const MAX_NODE_FILE_BYTES = 64 * 1024;

const FORMAT_VERSION = 1;
const MAX_PATH_LENGTH = 4096;
const FILES = { sealedKeys: "sealed.keys", nodeEntry: "vn-entry.json", genesis: "genesis.json", ledger: "ledger" };

/** Addresses and name of a node. */
export interface NodeAddresses {
  /** For people: logs and the TEE manifest. */
  readonly name: string;
  /** `host:port` to listen at for other validating nodes; port 0 takes any. */
  readonly listen: string;
  /** `host:port` at which other validating nodes reach it; stands in the VN list. */
  readonly advertise: string;
  /** `host:port` to listen at for clients. */
  readonly clientListen: string;
  /** `host:port` at which clients reach it; stands in the VN list. */
  readonly clientAdvertise: string;
}

/** How the workers of a node's adapters run. */
export interface WorkerSettings {
  readonly level: WorkerLevel;
  /** Bound of the JavaScript heap of a worker process. */
  readonly memoryMb: number;
}

/** Paths of a node's files, absolute. */
export interface NodePaths {
  /** Of the virtual TEE, and what seals where the TEE does not; undefined where an enclave seals. */
  readonly machineKeyFile: string | undefined;
  readonly sealedKeys: string;
  readonly nodeEntry: string;
  readonly genesis: string;
  /** A folder. */
  readonly ledger: string;
}

/** A node's folder as it was read. */
export interface NodeFolder extends NodeAddresses {
  readonly dir: string;
  readonly paths: NodePaths;
  readonly workers: WorkerSettings;
  readonly tee: TeeSettings;
  /** Opened by `openNodeKeys` with the TEE of this machine. */
  readonly sealedKeys: Bytes;
}

/** What a new node asks its owner to sign, with the machine that the TEE manifest must list for it. */
export interface NodeRequest extends NodeTuple {
  readonly tee: TeeEntry;
}

/** What {@link initNode} needs. */
export interface InitNodeOptions extends NodeAddresses {
  readonly dir: string;
  /** Made when it does not exist; several nodes of one machine may share it. Undefined where an enclave seals. */
  readonly machineKeyFile?: string | undefined;
  /** {@link DEFAULT_TEE} unless given. */
  readonly tee?: TeeSettings | undefined;
}

function readListenAddress(fields: FieldReader, name: string, anyPort: boolean): string {
  const address = fields.text(name, { max: MAX_ADDRESS_LENGTH });
  if (parseAddress(address, anyPort) === undefined) throw fields.invalid(name, "expected host:port");
  return address;
}

function readAddresses(fields: FieldReader): NodeAddresses {
  return {
    name: fields.text("name", { max: 64, pattern: IDENTIFIER }),
    listen: readListenAddress(fields, "listen", true),
    advertise: readListenAddress(fields, "advertise", false),
    clientListen: readListenAddress(fields, "clientListen", true),
    clientAdvertise: readListenAddress(fields, "clientAdvertise", false),
  };
}

/**
 * Makes keys and files of a new node in `dir`, and returns what its owner signs. Throws `ConfigurationInvalid`, or what
 * {@link openNodeTee} throws.
 * @param played nothing but a test gives it
 */
export async function initNode(options: InitNodeOptions, played?: PlayedMachine): Promise<NodeRequest> {
  const { name, listen, advertise, clientListen, clientAdvertise } = options;
  const context = { form: "json", code: "ConfigurationInvalid" } as const;
  const addresses = readDocument({ name, listen, advertise, clientListen, clientAdvertise }, context, readAddresses);
  const dir = resolve(options.dir);
  const machineKeyFile = options.machineKeyFile === undefined ? undefined : resolve(options.machineKeyFile);
  const settings = checkedTee(options.tee ?? DEFAULT_TEE);
  for (const name of [FILES.sealedKeys, FILES.nodeEntry, NODE_CONFIGURATION_FILE]) await requireAbsent(join(dir, name));
  const tee = await openNodeTee(settings, { dir, machineKeyFile, create: true, played });
  const { sealed, keys } = await createNodeKeys(tee.sealer, nodeEntropy);
  const entry = tee.entry(`machine of ${name}`);
  const request: NodeRequest = { ...keys, address: advertise, clientAddress: clientAdvertise, tee: entry };
  // The keys come first: whoever creates that file owns the folder, a second initialisation stops here.
  await createOnce(join(dir, FILES.sealedKeys), sealed, SECRET_FILE_MODE);
  await createOnce(join(dir, FILES.nodeEntry), nodeRequestToJson(request), PUBLIC_FILE_MODE);
  const configuration = {
    version: FORMAT_VERSION,
    ...addresses,
    ...(settings.name !== DEFAULT_TEE.name && { tee: teeSettingsTree(settings) }),
    ...(machineKeyFile !== undefined && { machineKeyFile: portablePath(dir, machineKeyFile) }),
    files: FILES,
  };
  await createOnce(join(dir, NODE_CONFIGURATION_FILE), toJsonText(configuration), PUBLIC_FILE_MODE);
  return request;
}

/** Settings as `node.json` is read: paths of the command line are of the folder it is run in. */
function checkedTee(settings: TeeSettings): TeeSettings {
  const context = { form: "json", code: "ConfigurationInvalid" } as const;
  return readDocument(treeToJson(teeSettingsTree(settings)), context, (fields) => readTeeSettings(fields, "."));
}

/** Opens the TEE that a node's folder names, or another one. Throws `ConfigurationInvalid` or `TeeUnavailable`. */
export function teeOf(
  { dir, paths, tee }: NodeFolder,
  instead?: TeeSettings,
  played?: PlayedMachine,
): Promise<NodeTee> {
  const settings = instead === undefined ? tee : checkedTee(instead);
  return openNodeTee(settings, { dir, machineKeyFile: paths.machineKeyFile, played });
}

function existsAlready(file: string): CocoError {
  return new CocoError(
    "ConfigurationInvalid",
    `${file}: exists; a node's keys are never overwritten, choose another folder`,
    { file },
  );
}

/** Refuses a folder in use before anything is made; {@link createOnce} decides when two start at the same time. */
async function requireAbsent(file: string): Promise<void> {
  try {
    await access(file);
  } catch (error) {
    if (hasErrorCode(error, "ENOENT")) return;
  }
  throw existsAlready(file);
}

async function createOnce(file: string, data: Bytes | string, mode: number): Promise<void> {
  if (!(await createFileAtomic(file, data, mode))) throw existsAlready(file);
}

/** Relative with `/` where it can be, so that the folder can be moved together with what is around it. */
function portablePath(dir: string, path: string): string {
  const fromFolder = relative(dir, path);
  return isAbsolute(fromFolder) ? path : fromFolder.split("\\").join("/");
}

/** Reads the configuration and the sealed keys of a node's folder. Throws `ConfigurationInvalid`. */
export async function loadNode(folder: string): Promise<NodeFolder> {
  const dir = resolve(folder);
  const file = join(dir, NODE_CONFIGURATION_FILE);
  const configuration = await readJsonFile(file, (fields) => {
    fields.integer("version", { min: FORMAT_VERSION, max: FORMAT_VERSION });
    const addresses = readAddresses(fields);
    const tee = fields.has("tee") ? fields.record("tee", (tee) => readTeeSettings(tee, dir)) : DEFAULT_TEE;
    const needsKey = sealsByMachineKey(tee) || fields.has("machineKeyFile");
    const machineKeyFile = needsKey ? readPath(fields, "machineKeyFile", dir) : undefined;
    const files = fields.record("files", (paths) => ({
      sealedKeys: readPath(paths, "sealedKeys", dir),
      nodeEntry: readPath(paths, "nodeEntry", dir),
      genesis: readPath(paths, "genesis", dir),
      ledger: readPath(paths, "ledger", dir),
    }));
    return { ...addresses, tee, paths: { machineKeyFile, ...files }, workers: readWorkers(fields) };
  });
  return {
    dir,
    ...configuration,
    sealedKeys: await readConfigurationFile(configuration.paths.sealedKeys, MAX_NODE_FILE_BYTES),
  };
}

/** `"workers": { "level": "process", "memoryMb": 4096 }`; either may be left out. */
function readWorkers(fields: FieldReader): WorkerSettings {
  const standard: WorkerSettings = { level: DEFAULT_WORKER_LEVEL, memoryMb: DEFAULT_WORKER_MEMORY_MB };
  if (!fields.has("workers")) return standard;
  const bounds = { min: WORKER_MEMORY_MB_MIN, max: WORKER_MEMORY_MB_MAX };
  return fields.record("workers", (workers) => ({
    level: workers.has("level") ? workers.choice("level", WORKER_LEVELS) : standard.level,
    memoryMb: workers.has("memoryMb") ? workers.integer("memoryMb", bounds) : standard.memoryMb,
  }));
}

function readPath(fields: FieldReader, name: string, dir: string): string {
  return resolve(dir, fields.text(name, { max: MAX_PATH_LENGTH }));
}

/** Reads a JSON file of one record strictly; throws `ConfigurationInvalid` with file and field. */
export async function readJsonFile<T>(file: string, read: (fields: FieldReader) => T): Promise<T> {
  const content = await readConfigurationFile(file, MAX_NODE_FILE_BYTES);
  return parseJson(content, file, read);
}

function parseJson<T>(content: Bytes, file: string, read: (fields: FieldReader) => T): T {
  let value: unknown;
  try {
    value = JSON.parse(utf8Decode(content));
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: not JSON`, { file }, { cause: error });
  }
  return readDocument(value, { form: "json", code: "ConfigurationInvalid", data: { file } }, read);
}

function toJsonText(tree: FieldTree): string {
  return `${JSON.stringify(treeToJson(tree), undefined, 2)}\n`;
}

/** The JSON form of a node request (`vn-entry.json`). */
export function nodeRequestToJson(request: NodeRequest): string {
  return toJsonText({ ...nodeTupleTree(request), tee: teeEntryTree(request.tee) });
}

/** Reads a `vn-entry.json`; throws `ConfigurationInvalid` with file and field. */
export function readNodeRequest(file: string): Promise<NodeRequest> {
  return readJsonFile(file, (fields) => ({ ...readNodeTuple(fields), tee: fields.record("tee", readTeeEntry) }));
}
