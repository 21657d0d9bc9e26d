/**
 * A TCP proxy before a validating node's address for peers, whose links can be cut: bytes stop in both directions while
 * connections stay open, as when a cable is pulled. Who connects is found by the process that owns the other end.
 */
import { readFile, readdir, readlink } from "node:fs/promises";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";

/** Whether connections can be told apart by process on this platform. */
export const canTellLinks = process.platform === "linux";

interface Connection {
  readonly source: number | undefined;
  readonly inbound: Socket;
  readonly outbound: Socket;
}

/** One proxy; see the module's header. */
export class LinkProxy {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  /** Process ids whose link is cut. */
  readonly #cut = new Set<number>();
  readonly #sources: () => readonly number[];
  #target = 0;

  private constructor(server: Server, sources: () => readonly number[]) {
    this.#server = server;
    this.#sources = sources;
    server.on("connection", (socket) => {
      void this.#accept(socket);
    });
  }

  /** Listens; `sources` are the process ids that may connect. */
  static async start(sources: () => readonly number[]): Promise<LinkProxy> {
    const server = createServer({ noDelay: true, pauseOnConnect: true });
    const proxy = new LinkProxy(server, sources);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Where connections go to. */
  forwardTo(port: number): void {
    this.#target = port;
  }

  /** Cuts the link between a process and the node behind this proxy. */
  cut(pid: number): void {
    this.#cut.add(pid);
    for (const connection of this.#connections) this.#apply(connection);
  }

  /** Lets the bytes through again. */
  heal(): void {
    this.#cut.clear();
    for (const connection of this.#connections) this.#apply(connection);
  }

  close(): void {
    this.#server.close();
    for (const { inbound, outbound } of this.#connections) {
      inbound.destroy();
      outbound.destroy();
    }
  }

  async #accept(inbound: Socket): Promise<void> {
    inbound.on("error", () => {});
    const source = await ownerOf(inbound.remotePort ?? 0, this.#sources());
    const outbound = createConnection({ port: this.#target, host: "127.0.0.1", noDelay: true });
    outbound.on("error", () => {});
    const connection = { source, inbound, outbound };
    this.#connections.add(connection);
    const end = (): void => {
      inbound.destroy();
      outbound.destroy();
      this.#connections.delete(connection);
    };
    inbound.on("close", end);
    outbound.on("close", end);
    this.#apply(connection);
  }

  #apply({ source, inbound, outbound }: Connection): void {
    if (source !== undefined && this.#cut.has(source)) {
      inbound.unpipe(outbound);
      outbound.unpipe(inbound);
      inbound.pause();
      outbound.pause();
    } else {
      inbound.pipe(outbound);
      outbound.pipe(inbound);
    }
  }
}

/** Which of the processes owns the connection from this local port. */
async function ownerOf(port: number, candidates: readonly number[]): Promise<number | undefined> {
  if (!canTellLinks) return undefined;
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  const table = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((line) => line.trim().split(/\s+/));
  const inodes = new Set(table.filter((fields) => fields[1]?.endsWith(`:${wanted}`)).map((fields) => fields[9]));
  for (const pid of candidates) {
    for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
      if (inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1])) return pid;
    }
  }
  return undefined;
}
