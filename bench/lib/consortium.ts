/**
 * A consortium for a demonstration: organisations that own nothing but a folder, their keys in it, and the command line. What
 * they do is done by the program a user runs, each command a process of its own in the organisation's folder; files go from
 * one to another only by {@link Consortium.hand}.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { CocoError } from "../../src/errors.ts";

/** The folder of the package that runs. */
export const PACKAGE = fileURLToPath(new URL("../../..", import.meta.url));
const COMMAND_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;
const SHOWN_WIDTH = 150;
const SHOWN_LINES = 8;
const OUTPUT_MAX = 1024 * 1024;

/** Whoever runs commands: an organisation or an auditor. */
export interface Party {
  readonly id: string;
  readonly dir: string;
  /** Settings of the command line in its environment. */
  env: Readonly<Record<string, string>>;
  /** Folder of the package it has installed. */
  code: string;
}

/** A party with a validating node. */
export interface Organisation extends Party {
  readonly name: string;
  readonly peerPort: number;
  readonly clientPort: number;
}

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What it has written so far. */
  text(): string;
}

/** How a command is run and shown. */
export interface Shown {
  /** Lines worth showing; none: the first few. */
  readonly show?: RegExp;
  /** Exit code that is expected; 0 unless given. */
  readonly code?: number;
}

/** Throws with a message when something the demonstration promises does not hold. */
export function assertThat(holds: boolean, what: string): asserts holds {
  if (!holds) throw new CocoError("Internal", `does not hold: ${what}`);
}

/** Waits until a question is answered; throws after a time. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  limitMs = 60_000,
): Promise<T> {
  const endMs = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > endMs) throw new CocoError("RequestTimeout", `${what}: not after ${limitMs / 1000} s`);
    await sleep(100);
  }
}

/** The folder of it all, and every process started in it. */
export class Consortium {
  readonly dir = mkdtempSync(join(tmpdir(), "coco-consortium-"));
  readonly #say: (line: string) => void;
  readonly #children = new Set<ChildProcess>();
  readonly #nodes = new Map<string, Running>();

  /** `say` prints a line. */
  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  /** A party with its own folder. */
  party(id: string): Party {
    const dir = join(this.dir, id);
    mkdirSync(dir, { mode: 0o700 });
    return { id, dir, env: {}, code: PACKAGE };
  }

  /** Gives a copy of a file of one party to others. */
  hand(from: Party, file: string, ...to: readonly Party[]): void {
    for (const party of to) copyFileSync(join(from.dir, file), join(party.dir, basename(file)));
    this.#say(`  (${from.id} gives ${basename(file)} to ${to.map(({ id }) => id).join(", ")})`);
  }

  /** Starts a command of a party without waiting for its end. */
  start(party: Party, args: readonly string[], hidden: readonly string[] = []): Running {
    this.#say(`${party.id}$ coco ${args.map(quoted).join(" ")}`);
    const child = spawn(process.execPath, [join(party.code, "dist/src/cli/main.js"), ...args, ...hidden], {
      cwd: party.dir,
      env: { ...process.env, ...party.env, NO_COLOR: "1" },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#children.add(child);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data: Buffer) => {
      stdout = (stdout + data.toString()).slice(-OUTPUT_MAX);
    });
    child.stderr.on("data", (data: Buffer) => {
      stderr = (stderr + data.toString()).slice(-OUTPUT_MAX);
    });
    const ended = new Promise<Ended>((resolve) => {
      child.once("close", (code) => {
        this.#children.delete(child);
        resolve({ code, stdout, stderr });
      });
    });
    return { child, ended, text: () => stdout + stderr };
  }

  /** Runs a command of a party and shows what is essential of its output; throws when it ends otherwise than expected. */
  async run(party: Party, args: readonly string[], shown: Shown = {}): Promise<Ended> {
    return await this.finish(this.start(party, args), `${party.id}: coco ${args.slice(0, 3).join(" ")}`, shown);
  }

  /** Waits for the end of a command; see {@link run}. */
  async finish({ child, ended }: Running, name: string, { show, code = 0 }: Shown = {}): Promise<Ended> {
    child.stdin?.end();
    const limit = setTimeout(() => child.kill("SIGKILL"), COMMAND_LIMIT_MS);
    const result = await ended;
    clearTimeout(limit);
    this.#show(result.stdout + result.stderr, show);
    assertThat(result.code === code, `${name} ends with ${code}, not ${result.code}: ${result.stderr.slice(-800)}`);
    return result;
  }

  #show(text: string, pattern?: RegExp): void {
    const lines = text.split("\n").filter((line) => line.trim() !== "" && (pattern?.test(line) ?? true));
    for (const line of lines.slice(0, pattern === undefined ? SHOWN_LINES : lines.length))
      this.#say(`    ${line.length > SHOWN_WIDTH ? `${line.slice(0, SHOWN_WIDTH)}…` : line}`);
  }

  /** Runs a command with `--json` and gives what it printed, which is not shown. */
  async json<T>(party: Party, args: readonly string[]): Promise<T> {
    const { stdout } = await this.run(party, [...args, "--json"], { show: /^$/ });
    return JSON.parse(stdout) as T;
  }

  /** Starts the node of an organisation with the code it has installed. */
  startNode(organisation: Organisation): void {
    const running = this.start(organisation, ["node", "start", "--dir", "node"], ["--parent-pipe"]);
    this.#nodes.set(organisation.id, running);
  }

  /** The log of an organisation's node. */
  nodeLog(organisation: Organisation): string {
    return this.#nodes.get(organisation.id)?.text() ?? "";
  }

  /** Stops a node in order. */
  async stopNode(organisation: Organisation): Promise<void> {
    const running = this.#nodes.get(organisation.id);
    if (running === undefined) return;
    this.#nodes.delete(organisation.id);
    this.#say(`  (${organisation.id} stops its node)`);
    await endOf(running);
  }

  /** Ends all processes; removes the folder unless it is to be kept. */
  async close(keep: boolean): Promise<void> {
    await Promise.all([...this.#nodes.values()].map(endOf));
    this.kill(keep);
  }

  /** Ends all processes at once, from a process that is about to end. */
  kill(keep: boolean): void {
    for (const child of this.#children) child.kill("SIGKILL");
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
  }
}

async function endOf({ child, ended }: Running): Promise<void> {
  const limit = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
  child.kill("SIGTERM");
  await ended;
  clearTimeout(limit);
}

function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument}'`;
}

/** A text file of a party. */
export function readOf(party: Party, file: string): string {
  return readFileSync(join(party.dir, file), "utf8");
}
