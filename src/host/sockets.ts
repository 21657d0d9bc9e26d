/** TCP for the enclave: listens and connects; carries ciphertext it cannot read. */
import { createConnection, createServer, type Socket } from "node:net";
import { parseAddress } from "../core/governance/address.ts";
import type { Sockets } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";
import { portHolder } from "./port-holder.ts";

/** Connections the operating system may keep waiting to be accepted. */
export const LISTEN_BACKLOG = 1024;

function addressOf(text: string): { host: string; port: number } {
  const parsed = parseAddress(text, true);
  if (parsed === undefined)
    throw new CocoError("ConfigurationInvalid", `not an address of the form host:port: ${text}`);
  return { host: parsed.host, port: parsed.port };
}

async function listen(address: string, onSocket: (socket: Socket) => void): Promise<{ close(): void }> {
  const { host, port } = addressOf(address);
  const server = createServer({ noDelay: true, keepAlive: true }, onSocket);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: LISTEN_BACKLOG }, () => {
      server.off("error", reject);
      resolve();
    });
  }).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE")
      throw new CocoError("ConfigurationInvalid", `cannot listen at ${address}: ${error.code}`, {}, { cause: error });
    throw await portTaken(address, port);
  });
  server.on("error", () => {});
  return { close: () => server.close() };
}

/** The error for a taken port: it names the process that holds it where the platform tells. */
export async function portTaken(address: string, port: number): Promise<CocoError> {
  const holder = await portHolder(port);
  const who = holder === undefined ? "another process" : `process ${holder.pid} (${holder.command})`;
  return new CocoError("PortTaken", `${address} is used by ${who}`, {
    port,
    ...(holder === undefined ? {} : { pid: holder.pid }),
  });
}

/** The operating system's sockets. */
export const nodeSockets: Sockets = {
  listen,
  connect(address) {
    const { host, port } = addressOf(address);
    return createConnection({ host, port, noDelay: true, keepAlive: true });
  },
};
