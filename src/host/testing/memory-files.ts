/**
 * A file system in memory for tests of crashes: it knows what was made durable and what was not, so that a crash at any
 * operation can be played with what had not been synced lost, kept, or kept in part.
 *
 * Model: data becomes durable by a sync of the file, names (creation, rename, deletion) by a sync of the folder. Without one,
 * any first part of a file's changes may have arrived, and any selection of the changes of names.
 */
import * as path from "node:path";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { FileOperations } from "../file-operations.ts";

/** An operation that is about to run. */
export interface FileOperationCall {
  readonly name: Exclude<keyof FileOperations, "readSync">;
  readonly file: string;
  /** Bytes to be written, for `write`. */
  readonly length: number;
}

/** Decides over an operation before it runs: an error to fail with, with the bytes of a write that still arrive. */
export type FailureRule = (call: FileOperationCall) => { readonly code: string; readonly written?: number } | undefined;

type DataChange = { readonly position: number; readonly data: Bytes } | { readonly length: number };

interface Inode {
  /** What survives every crash, and the changes since. */
  durable: Bytes;
  changes: DataChange[];
}

type NameChange =
  | { readonly type: "link"; readonly name: string; readonly inode: Inode }
  | { readonly type: "unlink"; readonly name: string }
  | { readonly type: "rename"; readonly from: string; readonly to: string; readonly inode: Inode };

/** What a crash does to what was not durable. */
export interface CrashOutcome {
  /** How many of the last changes of names are lost, per whole file system. */
  readonly lostNames: number | "all";
  /** Of each file's changes: all kept, all lost, or all kept but the last one, of which this share (0 to 1) arrived. */
  readonly data: "kept" | "lost" | number;
  /** A sector of 512 bytes of the last change that did not arrive, counted from its start, or all but that one. */
  readonly hole?: { readonly sector: number; readonly onlyIt: boolean };
}

const SECTOR = 512;

function failure(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}

function apply(content: Bytes, change: DataChange): Bytes {
  if ("length" in change) {
    const resized = new Uint8Array(change.length);
    resized.set(content.subarray(0, change.length));
    return resized;
  }
  const end = change.position + change.data.length;
  const grown = new Uint8Array(Math.max(content.length, end));
  grown.set(content);
  grown.set(change.data, change.position);
  return grown;
}

function contentOf({ durable, changes }: Inode): Bytes {
  return changes.reduce(apply, durable);
}

/** What of a write arrives: its front, or all but (or only) one sector, the rest being zeros. */
function partOf(change: DataChange, outcome: CrashOutcome): readonly DataChange[] {
  if ("length" in change) return outcome.data === "kept" || outcome.hole !== undefined ? [change] : [];
  if (outcome.hole !== undefined) {
    const { sector, onlyIt } = outcome.hole;
    const data = Uint8Array.from(change.data, (byte, at) => {
      const inSector = Math.floor((change.position + at) / SECTOR) - Math.floor(change.position / SECTOR) === sector;
      return inSector === onlyIt ? byte : 0;
    });
    return [{ position: change.position, data }];
  }
  if (typeof outcome.data !== "number") return [change];
  const data = change.data.subarray(0, Math.floor(change.data.length * outcome.data));
  return data.length === 0 ? [] : [{ position: change.position, data }];
}

/** A file system in memory. */
export class MemoryFiles implements FileOperations {
  readonly #names: Map<string, Inode>;
  readonly #durableNames: Map<string, Inode>;
  #nameChanges: NameChange[] = [];
  readonly #folders: Set<string>;
  readonly #descriptors = new Map<number, Inode>();
  #nextDescriptor = 3;
  /** Called before each operation that changes something, or reads. */
  failures: FailureRule = () => undefined;
  /** Called after each operation that changes something. */
  afterChange: () => void = () => undefined;

  constructor(files: ReadonlyMap<string, Bytes> = new Map(), folders: Iterable<string> = []) {
    const inodes = [...files].map(([name, durable]): [string, Inode] => [name, { durable, changes: [] }]);
    this.#names = new Map(inodes);
    this.#durableNames = new Map(inodes);
    this.#folders = new Set(folders);
  }

  /** Files by path as a process sees them. */
  get files(): ReadonlyMap<string, Bytes> {
    return new Map([...this.#names].map(([name, inode]) => [name, contentOf(inode)]));
  }

  /** Changes of names that are not durable. */
  get pendingNames(): number {
    return this.#nameChanges.length;
  }

  /** Bytes of the longest last change that is not durable, over all files. */
  get pendingBytes(): number {
    const inodes = [...new Set(this.#names.values())];
    return Math.max(0, ...inodes.map(({ changes }) => lengthOf(changes.at(-1))));
  }

  /** The file system that a machine finds after it crashed now. */
  crash(outcome: CrashOutcome): MemoryFiles {
    const names = new Map(this.#durableNames);
    const kept = outcome.lostNames === "all" ? 0 : Math.max(0, this.#nameChanges.length - outcome.lostNames);
    for (const change of this.#nameChanges.slice(0, kept)) applyName(names, change);
    const contents = new Map<string, Bytes>();
    for (const [name, { durable, changes }] of names) {
      const whole =
        outcome.data === "lost" ? [] : outcome.data === "kept" && !outcome.hole ? changes : changes.slice(0, -1);
      const last = changes.at(-1);
      const isPart = whole.length < changes.length && outcome.data !== "lost" && last !== undefined;
      contents.set(name, [...whole, ...(isPart ? partOf(last, outcome) : [])].reduce(apply, durable));
    }
    return new MemoryFiles(contents, this.#folders);
  }

  #begin(name: FileOperationCall["name"], file: string, length = 0): number {
    const rule = this.failures({ name, file, length });
    if (rule === undefined) return length;
    if (name === "write" && rule.written !== undefined && rule.written > 0) return rule.written;
    throw failure(rule.code, `${name} ${file}`);
  }

  #inode(descriptor: number): Inode {
    const inode = this.#descriptors.get(descriptor);
    if (inode === undefined) throw failure("EBADF", "not open");
    return inode;
  }

  #nameOf(descriptor: number): string {
    const inode = this.#descriptors.get(descriptor);
    for (const [name, other] of this.#names) if (other === inode) return name;
    return "";
  }

  #changeName(change: NameChange): void {
    this.#nameChanges.push(change);
    applyName(this.#names, change);
    this.afterChange();
  }

  async open(file: string, flags: string): Promise<number> {
    this.#begin("open", file);
    let inode = this.#names.get(file);
    if (inode === undefined) {
      if (!flags.startsWith("w")) throw failure("ENOENT", file);
      inode = { durable: new Uint8Array(0), changes: [] };
      this.#changeName({ type: "link", name: file, inode });
    } else if (flags === "wx") throw failure("EEXIST", file);
    else if (flags === "w") this.#change(inode, { length: 0 });
    this.#descriptors.set(this.#nextDescriptor, inode);
    return this.#nextDescriptor++;
  }

  #change(inode: Inode, change: DataChange): void {
    inode.changes.push(change);
    this.afterChange();
  }

  async close(descriptor: number): Promise<void> {
    this.#inode(descriptor);
    this.#descriptors.delete(descriptor);
  }

  async write(descriptor: number, data: Bytes, position: number): Promise<void> {
    const inode = this.#inode(descriptor);
    const name = this.#nameOf(descriptor);
    const written = this.#begin("write", name, data.length);
    this.#change(inode, { position, data: data.slice(0, written) });
    if (written < data.length) throw failure("ENOSPC", `write ${name}`);
  }

  async read(descriptor: number, position: number, length: number): Promise<Bytes> {
    this.#begin("read", this.#nameOf(descriptor), length);
    return contentOf(this.#inode(descriptor)).slice(position, position + length);
  }

  async truncate(descriptor: number, length: number): Promise<void> {
    this.#begin("truncate", this.#nameOf(descriptor));
    this.#change(this.#inode(descriptor), { length });
  }

  async syncData(descriptor: number): Promise<void> {
    this.#begin("syncData", this.#nameOf(descriptor));
    const inode = this.#inode(descriptor);
    inode.durable = contentOf(inode);
    inode.changes = [];
    this.afterChange();
  }

  async sync(descriptor: number): Promise<void> {
    this.#begin("sync", this.#nameOf(descriptor));
    const inode = this.#inode(descriptor);
    inode.durable = contentOf(inode);
    inode.changes = [];
    this.afterChange();
  }

  async rename(from: string, to: string): Promise<void> {
    this.#begin("rename", from);
    const inode = this.#names.get(from);
    if (inode === undefined) throw failure("ENOENT", from);
    this.#changeName({ type: "rename", from, to, inode });
  }

  async unlink(file: string): Promise<void> {
    this.#begin("unlink", file);
    if (!this.#names.has(file)) throw failure("ENOENT", file);
    this.#changeName({ type: "unlink", name: file });
  }

  async syncDirectory(directory: string): Promise<void> {
    this.#begin("syncDirectory", directory);
    const isHere = (name: string): boolean => path.dirname(name) === directory;
    const rest: NameChange[] = [];
    for (const change of this.#nameChanges) {
      const names = change.type === "rename" ? [change.from, change.to] : [change.name];
      if (names.some(isHere)) applyName(this.#durableNames, change);
      else rest.push(change);
    }
    this.#nameChanges = rest;
    this.afterChange();
  }

  async makeDirectory(directory: string): Promise<void> {
    this.#begin("makeDirectory", directory);
    // Folders are durable at once: nothing here depends on their absence.
    this.#folders.add(directory);
    this.afterChange();
  }

  async list(directory: string): Promise<readonly string[]> {
    const inside = [...this.#names.keys(), ...this.#folders].filter((name) => path.dirname(name) === directory);
    return inside.map((name) => path.basename(name));
  }

  async size(file: string): Promise<number> {
    const inode = this.#names.get(file);
    if (inode === undefined) throw failure("ENOENT", file);
    return contentOf(inode).length;
  }

  readSync(file: string, position: number, length: number): Bytes {
    const inode = this.#names.get(file);
    if (inode === undefined) throw failure("ENOENT", file);
    return contentOf(inode).slice(position, position + length);
  }
}

function lengthOf(change: DataChange | undefined): number {
  return change === undefined || "length" in change ? 0 : change.data.length;
}

function applyName(names: Map<string, Inode>, change: NameChange): void {
  if (change.type === "link") names.set(change.name, change.inode);
  else if (change.type === "unlink") names.delete(change.name);
  else {
    names.delete(change.from);
    names.set(change.to, change.inode);
  }
}
