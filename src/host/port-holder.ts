/** Finds the process that listens on a TCP port, so that "port taken" can name it. */
import { execFile } from "node:child_process";
import { readdir, readFile, readlink } from "node:fs/promises";

/** A process that holds a port. */
export interface PortHolder {
  readonly pid: number;
  readonly command: string;
}

/** Time a platform tool may take to answer. */
export const PORT_TOOL_TIMEOUT_MS = 2_000;

/** The process listening on `port`; undefined where the platform does not tell (another user's process, say). */
export async function portHolder(port: number): Promise<PortHolder | undefined> {
  try {
    if (process.platform === "linux") return await linuxHolder(port);
    if (process.platform === "win32") return await windowsHolder(port);
    return await lsofHolder(port);
  } catch {
    return undefined;
  }
}

async function linuxHolder(port: number): Promise<PortHolder | undefined> {
  const inodes = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of (await readFile(table, "utf8").catch(() => "")).split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      // Field 3 is the state (0A = LISTEN), field 9 the inode of the socket.
      const [, local, , state] = fields;
      if (state === "0A" && Number.parseInt(local?.split(":")[1] ?? "", 16) === port && fields[9] !== undefined)
        inodes.add(fields[9]);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    for (const descriptor of await readdir(`/proc/${entry}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${entry}/fd/${descriptor}`).catch(() => "");
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      const command = (await readFile(`/proc/${entry}/cmdline`, "utf8")).replaceAll("\0", " ").trim().slice(0, 80);
      return { pid: Number(entry), command };
    }
  }
  return undefined;
}

async function lsofHolder(port: number): Promise<PortHolder | undefined> {
  const output = await run("lsof", ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fpc"]);
  const pid = /^p(\d+)$/m.exec(output)?.[1];
  return pid === undefined ? undefined : { pid: Number(pid), command: /^c(.+)$/m.exec(output)?.[1] ?? "unknown" };
}

async function windowsHolder(port: number): Promise<PortHolder | undefined> {
  const output = await run("netstat", ["-ano", "-p", "TCP"]);
  const pid = new RegExp(`:${port}\\s+\\S+\\s+LISTENING\\s+(\\d+)`).exec(output)?.[1];
  if (pid === undefined) return undefined;
  const task = await run("tasklist", ["/FI", `PID eq ${pid}`, "/FO", "CSV", "/NH"]).catch(() => "");
  return { pid: Number(pid), command: /^"([^"]+)"/m.exec(task)?.[1] ?? "unknown" };
}

function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, [...args], { timeout: PORT_TOOL_TIMEOUT_MS }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
}
