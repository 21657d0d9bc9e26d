/**
 * A worker process gone bad: the real adapter, with a back door. A client's request whose body begins with `hostile ` is a JSON
 * command to attack, and what it could do is the answer. It runs as a node starts any worker, under the same bounds.
 */
import { ByteReader, ByteWriter, type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import { encodeAdministrative } from "../../src/core/governance/administrative-codec.ts";
import { encodeWriteSet } from "../../src/core/kv/write-set.ts";
import { packList, unpackResults } from "../../src/enclave/worker/packing.ts";
import type { PrepareResult } from "../../src/adapters/adapter.ts";
import type { FromWorker } from "../../src/enclave/worker/protocol.ts";
import { encodeFromWorker } from "../../src/enclave/worker/wire-from-worker.ts";
import { decodeToWorker } from "../../src/enclave/worker/wire-to-worker.ts";
import { AdapterWorker } from "../../src/host/adapter-worker.ts";
import { FrameReader } from "../../src/host/worker-frames.ts";
import { openPipe, PREPARE_PIPE } from "../../src/host/worker-pipe.ts";
import { decodeStart } from "../../src/host/worker-start.ts";
import { createServer, type NetConnectOpts, Socket } from "node:net";

/** What a client tells the worker to do. */
export interface HostileCommand {
  readonly attack: string;
  /** Files to read. */
  readonly files?: readonly string[];
  /** Ports of this machine to connect to. */
  readonly port?: number;
  /** Unix sockets to connect to. */
  readonly sockets?: readonly string[];
  /** Processes to signal. */
  readonly pids?: readonly number[];
}

const PREFIX = "hostile ";
const OTHER_ADAPTER = "other";
const KEY = Uint8Array.of(1);

const socket = new Socket({ fd: 3, readable: true, writable: true });
let number = 0;

function frame(payload: Bytes, at: number = number++): Bytes {
  return new ByteWriter().u32(payload.length).u32(at).bytes(payload).finish();
}
const say = (message: FromWorker): void => void socket.write(frame(encodeFromWorker(message)));

/** How the next batch is answered. */
let onExecuted: ((message: Extract<FromWorker, { type: "executed" }>) => void) | undefined;
/** Whether its state has no end. */
let isEndless = false;
const ENDLESS_PART = new Uint8Array(1024 * 1024).fill(7);

const jobs = new Map<number, (results: readonly PrepareResult[]) => void>();
let nextJob = 0;
const toPrepare = openPipe(PREPARE_PIPE, (payload) => {
  const reader = new ByteReader(payload);
  const id = reader.u32();
  jobs.get(id)?.(unpackResults(reader.rest()));
  jobs.delete(id);
});

const worker = new AdapterWorker({
  emit: (message) => {
    if (message.type === "executed" && onExecuted !== undefined) onExecuted(message);
    else say(message);
  },
  createPreparer: () => ({
    prepare: (transactions, done) => {
      jobs.set(nextJob, done);
      toPrepare(new ByteWriter().u32(nextJob++).bytes(packList(transactions)).finish());
    },
  }),
});

let started = false;
const reader = new FrameReader((payload) => {
  if (!started) {
    started = true;
    const data = decodeStart(payload);
    // The network's second adapter is a second Ethereum, under the name of its own that it needs.
    void worker.start({ ...data, adapter: data.adapter === OTHER_ADAPTER ? "ethereum" : data.adapter });
    return;
  }
  const message = decodeToWorker(payload);
  if (message.type === "nextPart" && isEndless) {
    say({ type: "snapshotPart", version: message.version, part: ENDLESS_PART, last: false });
    return;
  }
  if (message.type !== "requests") {
    worker.handle(message);
    return;
  }
  const isHostile = ({ body }: { readonly body: Bytes }) => utf8Decode(body).startsWith(PREFIX);
  const requests = message.requests.filter((request) => !isHostile(request));
  if (requests.length > 0) worker.handle({ ...message, requests });
  for (const { id, body } of message.requests.filter(isHostile)) {
    const command: HostileCommand = JSON.parse(utf8Decode(body).slice(PREFIX.length));
    void attack(command, id).then((result) => {
      if (result !== undefined) answer(id, result);
    });
  }
});
socket.on("data", (chunk: Buffer) => reader.push(chunk));
socket.on("close", () => process.exit(0));

function answer(id: number, result: unknown): void {
  const body = utf8Encode(JSON.stringify(result));
  say({ type: "responses", responses: [{ id, response: { status: 200, contentType: "application/json", body } }] });
}

/** What came of trying something: `done`, or the code it was refused with. */
async function outcomeOf(action: () => unknown): Promise<string> {
  try {
    await action();
    return "done";
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    return typeof code === "string" ? code : "refused";
  }
}

function connection(options: NetConnectOpts): Promise<void> {
  return new Promise((resolve, reject) => {
    const attempt = new Socket();
    attempt.on("connect", resolve).on("error", reject);
    attempt.setTimeout(2_000, () => reject(new Error("timeout")));
    attempt.connect(options);
  });
}

function listen(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    createServer().on("error", reject).listen(path, resolve);
  });
}

async function reach({
  files = [],
  port = 0,
  pids = [],
  sockets = [],
}: HostileCommand): Promise<Record<string, unknown>> {
  const fs = await import("node:fs");
  const { networkInterfaces } = await import("node:os");
  const { spawnSync } = await import("node:child_process");
  const { lookup } = await import("node:dns/promises");
  const { Worker } = await import("node:worker_threads");
  const inspector = await import("node:inspector");
  const attempts: Record<string, () => unknown> = {
    "write beside the program": () => fs.writeFileSync(new URL("./planted", import.meta.url), ""),
    "write to /tmp": () => fs.writeFileSync("/tmp/planted", ""),
    "spawn a program": () => {
      const { error } = spawnSync(process.execPath, ["--version"]);
      if (error !== undefined) throw error;
    },
    "start a thread": () => new Worker("0", { eval: true }),
    "load native code": () => process.dlopen({ exports: {} }, "/lib/x86_64-linux-gnu/libm.so.6"),
    "open the inspector": () => {
      inspector.open(0, "127.0.0.1");
      return connection({ port: Number(new URL(inspector.url() ?? "ws://x:1").port), host: "127.0.0.1" });
    },
    "connect to a socket": () => connection({ port, host: "127.0.0.1" }),
    "connect outside": () => connection({ port: 53, host: "1.1.1.1" }),
    "make a socket": () => listen("/tmp/hostile.sock"),
    "make a socket at the root": () => listen("/hostile.sock"),
    ...Object.fromEntries(sockets.map((path) => [`connect to ${path}`, () => connection({ path })])),
    "resolve a name": () => lookup("example.com"),
    ...Object.fromEntries(files.map((file) => [`read ${file}`, () => fs.readFileSync(file)])),
    ...Object.fromEntries(pids.map((pid) => [`signal ${pid}`, () => process.kill(pid, 0)])),
  };
  const outcomes: Record<string, unknown> = {};
  for (const [name, action] of Object.entries(attempts)) outcomes[name] = await outcomeOf(action);
  const up = Object.entries(networkInterfaces()).flatMap(([name, list]) => ((list ?? []).length > 0 ? [name] : []));
  return { outcomes, environment: Object.keys(process.env), arguments: process.argv.slice(2), interfaces: up };
}

type Executed = Extract<FromWorker, { type: "executed" }>;

/** Attacks on the answer to a batch. */
const ON_EXECUTED: Readonly<Record<string, (message: Executed) => Executed>> = {
  "write to a table that is not its own": (message) => changeFirst(message, { privatePart: writeTo(999) }),
  "write private data into a public part": (message) => changeFirst(message, { publicPart: writeTo(1) }),
  "write what is no write set": (message) => changeFirst(message, { privatePart: Uint8Array.of(1, 2, 3) }),
  "write an administrative transaction": (message) => changeFirst(message, { publicPart: CONFIGURE }),
  "put in a transaction nobody sent": (message) => {
    const forged = { id: new Uint8Array(32).fill(7), publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined };
    return { ...message, transactions: [...message.transactions, forged] };
  },
  "answer for another generation": (message) => ({ ...message, generation: message.generation + 1 }),
  "go on without end": (message) => ({ ...message, more: true }),
  "put off every transaction": (message) => ({
    ...message,
    outcomes: message.outcomes.map(() => ({ type: "deferred" })),
    transactions: [],
  }),
  "give a result of any size": (message) => ({
    ...message,
    outcomes: message.outcomes.map((outcome) => ("result" in outcome ? { ...outcome, result: ENDLESS_PART } : outcome)),
  }),
  "answer for another batch": (message) => ({ ...message, outcomes: [...message.outcomes, { type: "deferred" }] }),
};

/** The node this worker is of would have no vote any more. */
const CONFIGURE = encodeAdministrative({
  type: "configure",
  current: { voters: ["00".repeat(32)], quorum: { type: "majority" } },
  previous: undefined,
  learners: [],
});

function writeTo(table: number): Bytes {
  return encodeWriteSet([{ table, key: KEY, value: KEY }]);
}

function changeFirst(message: Executed, change: Partial<Executed["transactions"][number]>): Executed {
  return { ...message, transactions: message.transactions.map((one, at) => (at === 0 ? { ...one, ...change } : one)) };
}

/** Attacks at once, on the channel and on the process. */
const AT_ONCE: Readonly<Record<string, (id: number) => void>> = {
  "answer a request of others": () => answer(1, {}),
  "answer twice": (id) => {
    answer(id, {});
    answer(id, {});
    // What was forgotten may still be answered; what was answered may not.
  },
  "claim a batch that was not sent": () =>
    say({ type: "executed", generation: 0, outcomes: [], transactions: [], dropped: [], more: false }),
  "submit transactions of nobody": () =>
    say({ type: "submit", submissions: [{ id: 1, items: [{ id: KEY, body: KEY }] }] }),
  "submit more than it was asked": (id) =>
    say({ type: "submit", submissions: [{ id, items: [{ id: KEY, body: ENDLESS_PART }] }] }),
  "say nothing, in many messages": () => {
    for (let left = 1000; left > 0; left--) say({ type: "responses", responses: [] });
  },
  "claim that another node leads": (id) => say({ type: "leader", ids: [id] }),
  "name other tables": () => say({ type: "ready", tables: [{ id: 1, name: "public:everything" }] }),
  "submit an administrative transaction": (id) =>
    say({ type: "submit", submissions: [{ id, items: [{ id: new Uint8Array(32).fill(9), body: CONFIGURE }] }] }),
  "name a table of the framework": () => say({ type: "ready", tables: [{ id: 1, name: "coco.nodes" }] }),
  "put a line break into a header": (id) =>
    say({
      type: "responses",
      responses: [{ id, response: { status: 200, contentType: "text/plain\r\nset-cookie: a=b", body: EMPTY } }],
    }),
  "send a message of no kind": () => socket.write(frame(Uint8Array.of(200, 1, 2))),
  "send trailing bytes": () => socket.write(frame(Uint8Array.of(3, 0, 0, 0, 0, 9))),
  "announce an endless frame": () => socket.write(new ByteWriter().u32(0xffffffff).u32(number).finish()),
  "repeat a frame": () => {
    const log = encodeFromWorker({ type: "log", message: "again" });
    socket.write(frame(log));
    socket.write(frame(log, number - 1));
  },
  "flood the channel": () => {
    const pong = encodeFromWorker({ type: "pong", id: 0 });
    for (let left = 100_000; left > 0; left--) socket.write(frame(pong));
  },
  crash: () => process.abort(),
  "use up memory beside its heap": () => {
    const kept: Uint8Array[] = [];
    for (;;) kept.push(Buffer.alloc(16 * 1024 * 1024));
  },
  "use up its memory": () => {
    const kept: unknown[] = [];
    for (;;) kept.push({ kept, more: new Array(10_000).fill(kept.length) });
  },
};

async function attack(command: HostileCommand, id: number): Promise<unknown> {
  if (command.attack === "reach") return reach(command);
  if (command.attack === "have a state without end") {
    isEndless = true;
    return {};
  }
  const change = ON_EXECUTED[command.attack];
  if (change !== undefined) {
    onExecuted = (message) => {
      if (command.attack !== "go on without end") onExecuted = undefined;
      say(change(message));
    };
    return {};
  }
  AT_ONCE[command.attack]?.(id);
  return undefined;
}
