/**
 * A validating node as a process: reads its folder, opens its ledger, gives the enclave its ports, and ends the process
 * cleanly when it is told to or when the node cannot go on.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { decodeCodeApproval, type CodeApproval } from "../core/governance/code-approval.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { openNodeKeys } from "../enclave/manager/node-keys.ts";
import { ValidatingNode } from "../enclave/manager/validating-node.ts";
import { CocoError } from "../errors.ts";
import { PUBLIC_FILE_MODE, readConfigurationFile, writeFileAtomic } from "./files.ts";
import { readConstitutionFile } from "./genesis.ts";
import { type LedgerFiles, openLedgerFiles } from "./ledger-files.ts";
import { measureCode, PACKAGE_FOLDER } from "./measure-code.ts";
import { APPROVAL_FILE, loadNode, SERVICE_CERTIFICATE_FILE } from "./node-folder.ts";
import { nodeSockets } from "./sockets.ts";
import { createTracer, systemClock } from "./system.ts";
import { startThreadExecutor, type ThreadExecutor } from "./thread-executor.ts";
import { openVirtualTee } from "./virtual-tee.ts";

/** Largest approval of code in bytes: a proposal and a ballot of each of a thousand members. */
export const MAX_APPROVAL_BYTES = 1024 * 1024;
/** Time a stopping node may take to write what it has. */
export const STOP_TIMEOUT_MS = 5_000;

/** How a node is started. */
export interface StartNodeOptions {
  readonly dir: string;
  /** Least severity of log lines: debug, info, warn or error. */
  readonly logLevel: string;
  /** Clients are served; the service certificate is in the node's folder. */
  readonly onServing: () => void;
  /** The node cannot go on; it is stopped already. */
  readonly onFatal: (error: CocoError) => void;
}

/** A running node. */
export interface RunningNode {
  readonly nodeId: string;
  /** Stops taking part and gives the folder free. */
  stop(): Promise<void>;
}

/**
 * Starts the node of a folder. Throws, with nothing changed on disk, when its configuration, keys or ledger do not hold
 * or belong to another network.
 */
export async function startNode(options: StartNodeOptions): Promise<RunningNode> {
  const folder = await loadNode(options.dir);
  const tracer = createTracer(folder.name, options.logLevel);
  const tee = await openVirtualTee(folder.paths.machineKeyFile);
  const keys = openNodeKeys(folder.sealedKeys, tee);
  const genesis = await readConstitutionFile(folder.paths.genesis);
  if (!genesis.nodes.some((node) => node.nodeId === keys.nodeId)) {
    throw new CocoError("FolderOfAnotherNetwork", `${folder.paths.genesis} does not list the node of ${folder.dir}`, {
      file: folder.paths.genesis,
    });
  }
  const measurement = await measureCode(PACKAGE_FOLDER);
  const approval = await readApproval(join(folder.dir, APPROVAL_FILE));
  const tookPart = existsSync(join(folder.dir, SERVICE_CERTIFICATE_FILE));
  const executors: ThreadExecutor[] = [];
  let ledger: LedgerFiles | undefined;
  let node: ValidatingNode | undefined;
  const stop = async (): Promise<void> => {
    node?.close();
    await Promise.all(executors.map((executor) => executor.close()));
    await ledger?.close();
  };
  const fatal = (error: CocoError): void => {
    node?.close();
    options.onFatal(error);
  };
  ledger = await openLedgerFiles(folder.paths.ledger, {
    repair: "refuse",
    events: { diskFull: (full) => tracer.event("warn", "disk_full", { full }) },
    onRepair: (repair) => tracer.event("warn", "ledger_repaired", { ...repair }),
    onFatal: fatal,
  });
  try {
    node = new ValidatingNode({
      keys,
      genesis,
      approval,
      attest: (reportData) => tee.attest(measurement, reportData),
      listen: folder.listen,
      clientListen: folder.clientListen,
      clock: systemClock,
      entropy: nodeEntropy,
      disk: ledger.disk,
      content: ledger.content,
      tookPart,
      sockets: nodeSockets,
      tracer,
      startExecutor: (adapter, onMessage) => {
        const log = (message: string) => tracer.event("info", "adapter", { adapter: adapter.name, message });
        const executor = startThreadExecutor({ adapter: adapter.name, options: adapter.options }, onMessage, log);
        executors.push(executor);
        return executor;
      },
      onServing: (certificate) => {
        writeFileAtomic(join(folder.dir, SERVICE_CERTIFICATE_FILE), certificate, PUBLIC_FILE_MODE).then(
          options.onServing,
          (error: unknown) =>
            fatal(new CocoError("DiskFailed", "the service certificate cannot be written", {}, { cause: error })),
        );
      },
      onFatal: fatal,
    });
    await node.start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodeId: keys.nodeId, stop };
}

async function readApproval(file: string): Promise<CodeApproval | undefined> {
  if (!existsSync(file)) return undefined;
  try {
    return decodeCodeApproval(await readConfigurationFile(file, MAX_APPROVAL_BYTES));
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: not an approval of code`, { file }, { cause: error });
  }
}
