/** Ports for the processes of a test. */
import { randomInt } from "node:crypto";
import { createServer, type Server } from "node:net";
import { FREE_PORTS } from "../../../src/host/sandbox/ports.ts";

const ATTEMPTS = 100;

/** Listens at a port nobody listens at, below those that the system gives to outgoing connections meanwhile. */
async function reserve(): Promise<{ readonly port: number; readonly server: Server }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(FREE_PORTS.min, FREE_PORTS.max);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen({ host: "127.0.0.1", port, exclusive: true }, () => resolve(true));
    });
    if (isFree) return { port, server };
  }
  throw new Error("there is no free port");
}

/** Ports that nobody listens at, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const reserved = await Promise.all(Array.from({ length: count }, reserve));
  await Promise.all(reserved.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  return reserved.map(({ port }) => port);
}
