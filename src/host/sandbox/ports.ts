/**
 * Ports of a sandbox: for base port P, node i has its Ethereum gateway at P + i, its clients at P + 100 + i and its
 * peers at P + 200 + i. All are looked at before anything starts, so that a taken one is named at once.
 */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { CocoError } from "../../errors.ts";
import { hasErrorCode } from "../files.ts";
import { portTaken } from "../sockets.ts";

/** Everything of a sandbox listens here: never beyond this machine. */
export const SANDBOX_HOST = "127.0.0.1";
/** Any free ports are taken from this range: below those the system gives to outgoing connections. */
export const FREE_PORTS = { min: 10_000, max: 32_000 };

const CLIENT_OFFSET = 100;
const PEER_OFFSET = 200;
const ATTEMPTS = 50;

/** The ports of one node. */
export interface NodePorts {
  /** Plain HTTP for wallets. */
  readonly ethRpc: number;
  /** HTTP over mutually authenticated TLS. */
  readonly client: number;
  /** Other validating nodes. */
  readonly peer: number;
}

/** The ports of `count` nodes for a base port. */
export function portsFrom(base: number, count: number): readonly NodePorts[] {
  return Array.from({ length: count }, (_, at) => ({
    ethRpc: base + at,
    client: base + CLIENT_OFFSET + at,
    peer: base + PEER_OFFSET + at,
  }));
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: SANDBOX_HOST, port, exclusive: true }, resolve);
    });
    return true;
  } catch (error) {
    if (hasErrorCode(error, "EADDRINUSE")) return false;
    throw new CocoError("ConfigurationInvalid", `port ${port} cannot be used`, { port }, { cause: error });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Throws `PortTaken`, naming the process that holds the port, unless all ports are free. */
export async function requireFree(ports: readonly NodePorts[]): Promise<void> {
  for (const port of ports.flatMap(({ ethRpc, client, peer }) => [ethRpc, client, peer])) {
    if (!(await isFree(port))) throw await portTaken(`${SANDBOX_HOST}:${port}`, port);
  }
}

/** Free ports for `count` nodes: those of the base port, or any when it is 0. Throws `PortTaken`. */
export async function choosePorts(base: number, count: number): Promise<readonly NodePorts[]> {
  if (base !== 0) {
    const ports = portsFrom(base, count);
    await requireFree(ports);
    return ports;
  }
  for (let attempt = 1; ; attempt++) {
    const ports = portsFrom(randomInt(FREE_PORTS.min, FREE_PORTS.max), count);
    try {
      await requireFree(ports);
      return ports;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}
