/** Ports for the processes of a test. */
import { randomInt } from "node:crypto";
import { createServer, type Server } from "node:net";
import { FREE_PORTS } from "../../../src/host/sandbox/ports.ts";

const ATTEMPTS = 100;
const HOST = "127.0.0.1";
/**
 * A server at this address of the machine itself marks a port as given away: from then until a node listens at it, other processes of
 * tests would find it free. Where there is no such address (macOS) nothing marks it.
 */
const MARK_HOST = "127.0.0.2";

/** Listens, as long as the process does other things; the code of the error when that cannot be done. */
async function listen(host: string, port: number): Promise<Server | string> {
  const server = createServer().unref();
  return new Promise((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}

/** Listens at a port nobody listens at, below those that the system gives to outgoing connections meanwhile. */
async function reserve(): Promise<{ readonly port: number; readonly server: Server }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(FREE_PORTS.min, FREE_PORTS.max);
    const mark = await listen(MARK_HOST, port);
    if (mark === "EADDRINUSE") continue;
    const server = await listen(HOST, port);
    if (typeof server !== "string") return { port, server };
    if (typeof mark !== "string") mark.close();
  }
  throw new Error("there is no free port");
}

/** Ports that nobody listens at, all different, which no other process of tests is given while this one runs. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const reserved = await Promise.all(Array.from({ length: count }, reserve));
  await Promise.all(reserved.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  return reserved.map(({ port }) => port);
}
