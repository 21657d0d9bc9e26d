/**
 * A validating node as a process: reads its folder, opens its ledger, gives the enclave its ports, and ends the process
 * cleanly when it is told to or when the node cannot go on.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../core/codec/bytes.ts";
import { isTooNew } from "../core/codec/format-version.ts";
import type { LogEntry } from "../core/consensus/types.ts";
import { decodeAdministrative } from "../core/governance/administrative-codec.ts";
import { constitutionDigest } from "../core/governance/constitution-codec.ts";
import type { AdapterEntry, Constitution } from "../core/governance/constitution.ts";
import type { RunScript } from "../core/governance/script.ts";
import type { SignedMessage } from "../core/governance/proposal.ts";
import { decodeMessages } from "../core/governance/proposal-codec.ts";
import { parseBatch } from "../core/ledger/batch-format.ts";
import { batchKindOf } from "../core/ledger/batch-glance.ts";
import { nodeEntropy, sha256 } from "../enclave/manager/node-crypto.ts";
import { type NodeKeys, openNodeKeys } from "../enclave/manager/node-keys.ts";
import { ValidatingNode } from "../enclave/manager/validating-node.ts";
import type { StoredSnapshot, Tracer, WorkerIsolation } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";
import { PUBLIC_FILE_MODE, readConfigurationFile, writeFileAtomic } from "./files.ts";
import { readConstitutionFile } from "./genesis.ts";
import { type LedgerEnds, type LedgerFiles, openLedgerFiles } from "./ledger-files.ts";
import { readLedgerGovernance } from "./ledger-governance.ts";
import type { AdapterWorkerData } from "./adapter-worker.ts";
import {
  APPROVAL_FILE,
  JOINED_FILE,
  loadNode,
  type NodeFolder,
  SERVICE_CERTIFICATE_FILE,
  teeOf,
} from "./node-folder.ts";
import { readSnapshotManifest } from "./snapshot-head.ts";
import { loadScriptRunner } from "./script-engine-file.ts";
import { nodeSockets } from "./sockets.ts";
import { adapterProblem } from "./adapters.ts";
import { createTracer, systemClock } from "./system.ts";
import { type WorkerCommands, workerCommands } from "./worker-commands.ts";
import type { RunningExecutor } from "./running-executor.ts";
import { startWorker } from "./worker-level.ts";
import type { WorkerLevel } from "./worker-settings.ts";
import { askTeeOf, tellTee } from "./tee/ask-tee.ts";
import type { NodeTee, PlayedMachine } from "./tee/node-tee.ts";
import type { TeeSettings } from "./tee/tee-settings.ts";

/** Largest approval of code in bytes: a proposal and a ballot of each of a thousand members. */
export const MAX_APPROVAL_BYTES = 1024 * 1024;
/** Time a stopping node may take to write what it has. */
export const STOP_TIMEOUT_MS = 5_000;

/** How a node is started. */
export interface StartNodeOptions {
  readonly dir: string;
  /** Least severity of log lines: debug, info, warn or error. */
  readonly logLevel: string;
  /** Instead of what the node's configuration says. */
  readonly workers?: WorkerLevel | undefined;
  /** Likewise. */
  readonly tee?: TeeSettings | undefined;
  /** Takes what happens, instead of lines on standard error. */
  readonly tracer?: Tracer;
  /** Compiled file to run as an adapter's worker process; for tests that play a hostile worker. */
  readonly workerEntry?: string;
  /** Clients are served; the service certificate is in the node's folder. */
  readonly onServing: () => void;
  /** The node cannot go on; it is stopped already. */
  readonly onFatal: (error: CocoError) => void;
}

/** A running node. */
export interface RunningNode {
  readonly nodeId: string;
  /** Hands the lead over if it has it, stops taking part and gives the folder free. */
  stop(): Promise<void>;
}

/** What a node's folder and code say before its ledger is opened. */
interface NodeContext {
  readonly options: StartNodeOptions;
  readonly folder: NodeFolder;
  readonly tracer: Tracer;
  readonly tee: NodeTee;
  readonly played: PlayedMachine | undefined;
  readonly keys: NodeKeys;
  readonly genesis: Constitution;
  /** The constitution its owner approved when the node joined; undefined for a founding node. */
  readonly joined: Constitution | undefined;
  readonly approval: readonly SignedMessage[] | undefined;
  readonly tookPart: boolean;
  readonly runScript: RunScript;
}

/** What runs, as far as it does. */
interface Parts {
  readonly executors: Set<RunningExecutor>;
  ledger: LedgerFiles | undefined;
  node: ValidatingNode | undefined;
  isDiskFull: boolean;
}

async function readContext(options: StartNodeOptions, played: PlayedMachine | undefined): Promise<NodeContext> {
  const folder = await loadNode(options.dir);
  const tee = await teeOf(folder, options.tee, played);
  const keys = await openNodeKeys(folder.sealedKeys, tee.sealer);
  const genesis = await readConstitutionFile(folder.paths.genesis);
  const joined = await readJoined(folder, genesis);
  if (![genesis, joined].some((known) => known?.nodes.some((node) => node.nodeId === keys.nodeId) === true)) {
    const message = `${folder.paths.genesis} does not list the node of ${folder.dir}: it joins with coco node join`;
    throw new CocoError("FolderOfAnotherNetwork", message, { file: folder.paths.genesis });
  }
  const { runScript } = await loadScriptRunner();
  const approval = await readApproval(join(folder.dir, APPROVAL_FILE));
  const tookPart = existsSync(join(folder.dir, SERVICE_CERTIFICATE_FILE));
  const tracer = options.tracer ?? createTracer(folder.name, options.logLevel);
  tellTee(tee, tracer);
  return { options, folder, tracer, tee, played, keys, genesis, approval, tookPart, runScript, joined };
}

/** Whether other nodes have what this one may lose. */
function hasPeers({ genesis, joined }: Pick<NodeContext, "genesis" | "joined">): boolean {
  return Math.max(genesis.nodes.length, joined?.nodes.length ?? 0) > 1;
}

/**
 * What is gone comes back from other nodes; a node alone would wait for ever, or begin another history under the same name. Nodes that
 * joined a network of one stand in its ledger alone: without it this node would let none of them in.
 */
async function refuseAlone(context: NodeContext, missing: "no entry" | "no term and vote"): Promise<void> {
  if (!context.tookPart || hasPeers(context)) return;
  const file = context.folder.paths.ledger;
  const state = missing === "no entry" ? undefined : await readLedgerGovernance(file);
  if (state !== undefined && state.constitution.nodes.length > 1) return;
  const what = `it holds ${missing}, though the node served before, and it knows of no other node with its ledger: put it back`;
  throw new CocoError("LedgerIncomplete", `${file}: ${what}`, { file });
}

function openLedger(context: NodeContext, parts: Parts, damagedFrom?: number): Promise<LedgerFiles> {
  const { folder, genesis, tracer } = context;
  return openLedgerFiles(folder.paths.ledger, {
    // What this node lost its peers still have; alone it must not go on with less than it said it had.
    repair: hasPeers(context) ? "from-peers" : "refuse",
    ...(damagedFrom !== undefined && { damagedFrom }),
    admit: async (ends, snapshots, hardState) => {
      requireOwn(genesis, ends, snapshots);
      if (ends.last === undefined && snapshots.length === 0) await refuseAlone(context, "no entry");
      else if (hardState === undefined) await refuseAlone(context, "no term and vote");
    },
    onRepair: (repair) => tracer.event("warn", "ledger_repaired", { ...repair }),
    onFatal: (error) => fatal(context, parts, error),
    events: {
      diskFull: (full) => {
        parts.isDiskFull = full;
        parts.node?.diskFull(full);
      },
    },
  });
}

function assemble(context: NodeContext, parts: Parts, { disk, content }: LedgerFiles): ValidatingNode {
  const { options, folder, tracer, tee, played, keys, genesis, approval, tookPart, runScript, joined } = context;
  const commands = chooseWorkers(context);
  const onFatal = (error: CocoError): void => fatal(context, parts, error);
  const failed = (error: unknown): void =>
    onFatal(new CocoError("DiskFailed", "the service certificate cannot be written", {}, { cause: error }));
  return new ValidatingNode({
    ...{ keys, genesis, joined, approval, runScript, disk, content, tookPart, tracer, onFatal },
    ...{ listen: folder.listen, clientListen: folder.clientListen },
    ...{ clock: systemClock, entropy: nodeEntropy, sockets: nodeSockets },
    askTee: askTeeOf(tee),
    hardwareRoots: played?.roots,
    workers: { level: commands === undefined ? "thread" : "process", ...isolationOf(commands) },
    startExecutor: (adapter, onMessage) => {
      const executor = startWorker(commands, workerDataOf(adapter), onMessage);
      parts.executors.add(executor);
      const close = (): void => void executor.ended().then(() => parts.executors.delete(executor));
      return { send: (message) => executor.send(message), close };
    },
    adapterProblem,
    onServing: serviceCertificateWriter(join(folder.dir, SERVICE_CERTIFICATE_FILE), options.onServing, failed),
  });
}

/** How processes of workers are started; undefined for threads. What does not hold on this machine is said in the log. */
function chooseWorkers({ options, folder, tracer }: NodeContext): WorkerCommands | undefined {
  const level = options.workers ?? folder.workers.level;
  const { workerEntry: entry } = options;
  const commands =
    level === "thread"
      ? undefined
      : workerCommands({ memoryMb: folder.workers.memoryMb, ...(entry !== undefined && { entry }) });
  const isolation = isolationOf(commands);
  const isWhole =
    isolation.network === "isolated" && isolation.files === "isolated" && isolation.privileges === "dropped";
  tracer.event(isWhole ? "info" : "warn", "workers", { isolation: level, ...isolation });
  return commands;
}

function isolationOf(commands: WorkerCommands | undefined): Omit<WorkerIsolation, "level"> {
  const { network = "shared", files = "shared", privileges = "shared" } = commands ?? {};
  return { network, files, privileges };
}

function workerDataOf({ name, version, options }: AdapterEntry): AdapterWorkerData {
  return { adapter: name, version, options };
}

/** Writes each new service certificate in its turn; tells of the first. */
function serviceCertificateWriter(
  file: string,
  onFirst: () => void,
  onFailed: (error: unknown) => void,
): (certificate: string) => void {
  let written: Promise<void> | undefined;
  return (certificate) => {
    const write = () => writeFileAtomic(file, certificate, PUBLIC_FILE_MODE);
    written = written === undefined ? write().then(onFirst) : written.then(write);
    written.catch(onFailed);
  };
}

function fatal({ options }: NodeContext, parts: Parts, error: CocoError): void {
  parts.node?.close();
  options.onFatal(error);
}

async function stopParts({ node, executors, ledger }: Parts): Promise<void> {
  node?.close();
  await Promise.all([...executors].map((executor) => executor.ended()));
  await ledger?.close();
}

/** Opens and verifies the ledger; entries that do not verify are set aside where other nodes have them. */
async function createNode(context: NodeContext, parts: Parts): Promise<ValidatingNode> {
  parts.ledger = await openLedger(context, parts);
  try {
    return assemble(context, parts, parts.ledger);
  } catch (error) {
    const damagedFrom = damagedIndex(error);
    if (damagedFrom === undefined || !hasPeers(context)) throw error;
    await parts.ledger.close();
    parts.ledger = await openLedger(context, parts, damagedFrom);
    return assemble(context, parts, parts.ledger);
  }
}

/**
 * Starts the node of a folder. Throws, with nothing changed on disk, when its configuration, keys or ledger do not hold
 * or belong to another network, and `TeeUnavailable` when its TEE gives no evidence.
 * @param played nothing but a test gives it
 */
export async function startNode(options: StartNodeOptions, played?: PlayedMachine): Promise<RunningNode> {
  const context = await readContext(options, played);
  const parts: Parts = { executors: new Set(), ledger: undefined, node: undefined, isDiskFull: false };
  try {
    const node = await createNode(context, parts);
    parts.node = node;
    if (parts.isDiskFull) node.diskFull(true);
    await node.start();
  } catch (error) {
    await stopParts(parts);
    throw error;
  }
  const stop = async (): Promise<void> => {
    await parts.node?.handOver();
    await stopParts(parts);
  };
  return { nodeId: context.keys.nodeId, stop };
}

/** The first entry that did not verify, when that is why a ledger was refused. */
function damagedIndex(error: unknown): number | undefined {
  if (!(error instanceof CocoError) || error.code !== "LedgerCorrupt") return undefined;
  const index = error.data["index"];
  return typeof index === "number" ? index : undefined;
}

/**
 * Refuses a ledger of another network or of a later version, by its first and last entry and its snapshots, before anything in
 * its folder is changed. What a later version has written it has written at the end.
 */
function requireOwn(genesis: Constitution, { first, last }: LedgerEnds, snapshots: readonly StoredSnapshot[]): void {
  if (last !== undefined) batchKindOf(last.data);
  const expected = toHex(constitutionDigest(genesis, sha256));
  for (const found of [networkOfGenesis(first), ...snapshots.map(networkOfSnapshot)])
    if (found !== undefined && found !== expected)
      throw new CocoError("FolderOfAnotherNetwork", `the ledger belongs to network ${found}, not ${expected}`);
}

/** Network id by the first entry of a ledger; undefined when the ledger begins later. */
function networkOfGenesis(first: LogEntry | undefined): string | undefined {
  if (first === undefined || batchKindOf(first.data) !== "administrative") return undefined;
  const [transaction] = parseBatch(first.data).transactions;
  const administrative = transaction && decodeAdministrative(transaction.publicPart);
  return administrative?.type === "genesis"
    ? toHex(constitutionDigest(administrative.constitution, sha256))
    : undefined;
}

/** Network id by a snapshot; undefined when it cannot be read: whoever begins from it finds out why. */
function networkOfSnapshot(snapshot: StoredSnapshot): string | undefined {
  try {
    return readSnapshotManifest(snapshot).networkId;
  } catch (error) {
    if (isTooNew(error)) throw error;
    return undefined;
  }
}

/** The constitution a node joined with; it must be of the network of its genesis, as far as a constitution can tell. */
async function readJoined({ dir }: NodeFolder, genesis: Constitution): Promise<Constitution | undefined> {
  const file = join(dir, JOINED_FILE);
  if (!existsSync(file)) return undefined;
  const joined = await readConstitutionFile(file);
  if (joined.network.name === genesis.network.name) return joined;
  throw new CocoError("FolderOfAnotherNetwork", `${file} is of network ${joined.network.name}`, { file });
}

async function readApproval(file: string): Promise<readonly SignedMessage[] | undefined> {
  if (!existsSync(file)) return undefined;
  try {
    return decodeMessages(await readConfigurationFile(file, MAX_APPROVAL_BYTES));
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: not an approval of code`, { file }, { cause: error });
  }
}
