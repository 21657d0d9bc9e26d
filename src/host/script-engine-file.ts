/** The file of the script engine: the host reads it, the enclave checks its digest before it runs it. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import { createGovernanceCrypto } from "../enclave/manager/node-crypto.ts";
import { createScriptRunner, type ScriptRunner } from "../enclave/manager/script-sandbox.ts";

const ENGINE_FILE = fileURLToPath(import.meta.resolve("@jitl/quickjs-wasmfile-release-sync/wasm"));

/** A runner for scripts of governance; the same for nodes, the command line and simulations. */
export async function loadScriptRunner(): Promise<ScriptRunner> {
  return createScriptRunner(await readFile(ENGINE_FILE));
}

/** The cryptography of governance with its runner for scripts: for whoever executes governance transactions. */
export async function loadGovernanceCrypto(): Promise<GovernanceCrypto> {
  const { runScript } = await loadScriptRunner();
  return createGovernanceCrypto(runScript);
}
