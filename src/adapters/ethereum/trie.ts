/**
 * Merkle-Patricia trie (Yellow Paper, appendix D), in memory and synchronous. Changing a key only marks the nodes above
 * it; `root` hashes the marked ones, so a batch of changes hashes every node at most once.
 *
 * Keys, values and node references are held as JavaScript strings with one character per byte: for the 32 to 110 bytes
 * found here a string takes a quarter of the memory of a Uint8Array and none outside the collector's heap. Paths are
 * ranges of a whole key, not copies: leaves need the key they were set with, extensions that of any leaf below them.
 */
import { type Bytes, fromHex } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { keccak256 } from "./keccak.ts";

/** Root of a trie without entries: keccak(RLP("")). */
export const EMPTY_TRIE_ROOT: Bytes = fromHex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/** Longest key in bytes; it bounds the depth of recursion to two levels per byte. */
export const TRIE_KEY_BYTES_MAX = 256;

/** One character per byte. */
type ByteString = string;

/** Set when a node must be encoded again. */
const DIRTY: ByteString = "";

const WIDTH = 16;
const CHUNK = 4096;

function stringOf(bytes: Bytes): ByteString {
  if (bytes.length <= CHUNK) return String.fromCharCode.apply(null, bytes as unknown as number[]);
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) text += stringOf(bytes.subarray(at, at + CHUNK));
  return text;
}

function bytesOf(text: ByteString): Bytes {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

function nibble(key: ByteString, at: number): number {
  const byte = key.charCodeAt(at >> 1);
  return (at & 1) === 0 ? byte >> 4 : byte & 15;
}

/** Number of nibbles two keys share from `from` on, before `end`. */
function sharedNibbles(left: ByteString, right: ByteString, from: number, end: number): number {
  let at = from;
  while (at < end && nibble(left, at) === nibble(right, at)) at++;
  return at - from;
}

/** A key's end: the path is what follows `from`. As the end of a branch its path is empty and its `ref` unused. */
class Leaf {
  readonly key: ByteString;
  from: number;
  value: ByteString;
  ref: ByteString = DIRTY;

  constructor(key: ByteString, from: number, value: ByteString) {
    this.key = key;
    this.from = from;
    this.value = value;
  }
}

/** Nibbles `from` to `to` that all keys below share. */
class Extension {
  readonly key: ByteString;
  from: number;
  readonly to: number;
  child: Branch;
  ref: ByteString = DIRTY;

  constructor(key: ByteString, from: number, to: number, child: Branch) {
    this.key = key;
    this.from = from;
    this.to = to;
    this.child = child;
  }
}

/** One child per nibble, and the leaf whose key ends here. */
class Branch {
  readonly children: (Node | undefined)[] = new Array<Node | undefined>(WIDTH).fill(undefined);
  end: Leaf | undefined = undefined;
  ref: ByteString = DIRTY;
}

type Node = Leaf | Extension | Branch;

function extend(key: ByteString, from: number, to: number, child: Branch): Node {
  return from === to ? child : new Extension(key, from, to, child);
}

/** Puts a leaf below a branch that stands at nibble `depth`. */
function place(branch: Branch, depth: number, leaf: Leaf): void {
  if (leaf.key.length * 2 === depth) {
    leaf.from = depth;
    branch.end = leaf;
    return;
  }
  leaf.from = depth + 1;
  leaf.ref = DIRTY;
  branch.children[nibble(leaf.key, depth)] = leaf;
}

function insertAtLeaf(node: Leaf, key: ByteString, depth: number, value: ByteString): Node {
  const end = Math.min(node.key.length, key.length) * 2;
  const fork = depth + sharedNibbles(node.key, key, depth, end);
  if (fork === end && node.key.length === key.length) {
    node.value = value;
    node.ref = DIRTY;
    return node;
  }
  const branch = new Branch();
  place(branch, fork, node);
  place(branch, fork, new Leaf(key, fork, value));
  return extend(key, depth, fork, branch);
}

function insertAtExtension(node: Extension, key: ByteString, depth: number, value: ByteString): Node {
  const fork = depth + sharedNibbles(node.key, key, depth, Math.min(node.to, key.length * 2));
  if (fork === node.to) {
    insertAtBranch(node.child, key, fork, value);
    node.ref = DIRTY;
    return node;
  }
  const branch = new Branch();
  branch.children[nibble(node.key, fork)] = extend(node.key, fork + 1, node.to, node.child);
  place(branch, fork, new Leaf(key, fork, value));
  return extend(node.key, depth, fork, branch);
}

function insertAtBranch(node: Branch, key: ByteString, depth: number, value: ByteString): void {
  node.ref = DIRTY;
  if (key.length * 2 === depth) {
    if (node.end === undefined) node.end = new Leaf(key, depth, value);
    else node.end.value = value;
    return;
  }
  const slot = nibble(key, depth);
  const child = node.children[slot];
  node.children[slot] = child === undefined ? new Leaf(key, depth + 1, value) : insert(child, key, depth + 1, value);
}

/** Sets a key below `node`, which stands at nibble `depth`; returns the node that takes its place. */
function insert(node: Node, key: ByteString, depth: number, value: ByteString): Node {
  if (node instanceof Leaf) return insertAtLeaf(node, key, depth, value);
  if (node instanceof Extension) return insertAtExtension(node, key, depth, value);
  insertAtBranch(node, key, depth, value);
  return node;
}

/** The leaf of `key` below `node`. */
function find(root: Node | undefined, key: ByteString): Leaf | undefined {
  let node = root;
  let depth = 0;
  while (node !== undefined) {
    if (node instanceof Leaf) return node.key === key ? node : undefined;
    if (node instanceof Extension) {
      if (key.length * 2 < node.to || sharedNibbles(node.key, key, depth, node.to) !== node.to - depth)
        return undefined;
      depth = node.to;
      node = node.child;
    } else if (key.length * 2 === depth) {
      node = node.end;
    } else {
      node = node.children[nibble(key, depth++)];
    }
  }
  return undefined;
}

function firstLeaf(branch: Branch): Leaf {
  let node: Node = branch;
  while (!(node instanceof Leaf)) {
    node =
      node instanceof Extension
        ? node.child
        : ((node.end ?? node.children.find((child) => child !== undefined)) as Node);
  }
  return node;
}

/** Makes `node` start at the earlier nibble `from`; what lies between belongs to all keys below. */
function lengthen(node: Node, from: number, at: number): Node {
  if (node instanceof Branch) return from === at ? node : new Extension(firstLeaf(node).key, from, at, node);
  node.from = from;
  node.ref = DIRTY;
  return node;
}

/** The node that takes the place of a branch at `depth` which may have a single entry left. */
function collapse(branch: Branch, depth: number): Node {
  let only: Node | undefined = branch.end;
  for (const child of branch.children) {
    if (child === undefined) continue;
    if (only !== undefined) return branch;
    only = child;
  }
  return lengthen(only as Node, depth, only === branch.end ? depth : depth + 1);
}

/** Removes a key that is known to be below `node`. */
function remove(node: Node, key: ByteString, depth: number): Node | undefined {
  if (node instanceof Leaf) return undefined;
  node.ref = DIRTY;
  if (node instanceof Extension) {
    const child = remove(node.child, key, node.to) as Node;
    if (child === node.child) return node;
    return lengthen(child, depth, node.to);
  }
  if (key.length * 2 === depth) node.end = undefined;
  else {
    const slot = nibble(key, depth);
    node.children[slot] = remove(node.children[slot] as Node, key, depth + 1);
  }
  return collapse(node, depth);
}

/** Where nodes are encoded before they are hashed; children are done before their parent, so one is enough. */
class Encoder {
  #bytes = new Uint8Array(1024);
  #at = 0;

  /** Starts an RLP list of `length` bytes. */
  begin(length: number): void {
    const needed = length + 9;
    if (needed > this.#bytes.length) this.#bytes = new Uint8Array(needed * 2);
    this.#at = 0;
    this.#header(0xc0, length);
  }

  #header(base: number, length: number): void {
    if (length < 56) {
      this.#bytes[this.#at++] = base + length;
      return;
    }
    const count = length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
    this.#bytes[this.#at++] = base + 55 + count;
    for (let shift = 8 * (count - 1); shift >= 0; shift -= 8) this.#bytes[this.#at++] = (length >>> shift) & 0xff;
  }

  #copy(text: ByteString): void {
    const bytes = this.#bytes;
    const start = this.#at;
    for (let at = 0; at < text.length; at++) bytes[start + at] = text.charCodeAt(at);
    this.#at = start + text.length;
  }

  /** An RLP byte string. */
  string(text: ByteString): void {
    if (text.length !== 1 || text.charCodeAt(0) >= 0x80) this.#header(0x80, text.length);
    this.#copy(text);
  }

  /** A reference to a child: its hash as a byte string, or its encoding as it is. */
  reference(ref: ByteString): void {
    if (ref.length === 32) this.#bytes[this.#at++] = 0xa0;
    this.#copy(ref);
  }

  /** Nibbles of a key in hex-prefix encoding, as an RLP byte string. */
  path(key: ByteString, from: number, to: number, isLeaf: boolean): void {
    const odd = (to - from) & 1;
    const length = pathBytes(from, to);
    if (length > 1) this.#header(0x80, length);
    this.#bytes[this.#at++] = ((isLeaf ? 2 : 0) + odd) * 16 + (odd === 1 ? nibble(key, from) : 0);
    for (let at = from + odd; at < to; at += 2) this.#bytes[this.#at++] = nibble(key, at) * 16 + nibble(key, at + 1);
  }

  /** What was encoded, as a view that the next `begin` overwrites. */
  result(): Bytes {
    return this.#bytes.subarray(0, this.#at);
  }
}

const encoder = new Encoder();

function pathBytes(from: number, to: number): number {
  return 1 + ((to - from) >> 1);
}

function stringLength(length: number): number {
  return length < 56 ? 1 + length : (length < 0x100 ? 2 : length < 0x10000 ? 3 : length < 0x1000000 ? 4 : 5) + length;
}

function valueLength(value: ByteString): number {
  return value.length === 1 && value.charCodeAt(0) < 0x80 ? 1 : stringLength(value.length);
}

/** A path's first byte is below 0x40, so a one-byte path is its own encoding. */
function pathLength(from: number, to: number): number {
  return from + 1 >= to ? 1 : stringLength(pathBytes(from, to));
}

function referenceLength(ref: ByteString): number {
  return ref.length === 32 ? 33 : ref.length;
}

function encodeLeaf({ key, from, value }: Leaf): Bytes {
  const to = key.length * 2;
  encoder.begin(pathLength(from, to) + valueLength(value));
  encoder.path(key, from, to, true);
  encoder.string(value);
  return encoder.result();
}

function encodeExtension({ key, from, to, child }: Extension): Bytes {
  const ref = reference(child);
  encoder.begin(pathLength(from, to) + referenceLength(ref));
  encoder.path(key, from, to, false);
  encoder.reference(ref);
  return encoder.result();
}

function encodeBranch({ children, end }: Branch): Bytes {
  const value = end === undefined ? "" : end.value;
  let length = valueLength(value);
  for (const child of children) length += child === undefined ? 1 : referenceLength(reference(child));
  encoder.begin(length);
  for (const child of children) {
    if (child === undefined) encoder.string("");
    else encoder.reference(child.ref);
  }
  encoder.string(value);
  return encoder.result();
}

function encodeNode(node: Node): Bytes {
  if (node instanceof Branch) return encodeBranch(node);
  return node instanceof Leaf ? encodeLeaf(node) : encodeExtension(node);
}

/** The node's reference in its parent: the encoding if it is shorter than 32 bytes, else its hash. */
function reference(node: Node): ByteString {
  if (node.ref === DIRTY) {
    const encoded = encodeNode(node);
    node.ref = stringOf(encoded.length < 32 ? encoded : keccak256(encoded));
  }
  return node.ref;
}

/** Hashes the subtrees three branches below a node one by one: 4096 of them, of 250 keys each when there are a million. */
function* hashSteps(node: Node, levels = 3): Generator<void, void, undefined> {
  const children = levels > 0 && node instanceof Branch ? node.children : [];
  for (const child of children) if (child !== undefined) yield* hashSteps(child, levels - 1);
  yield void reference(node);
}

/** A Merkle-Patricia trie. Keys of state and storage tries must be hashed by the caller ("secure" tries). */
export class Trie {
  #root: Node | undefined = undefined;
  #size = 0;

  /** Number of entries. */
  get size(): number {
    return this.#size;
  }

  /** Sets a key of at most {@link TRIE_KEY_BYTES_MAX} bytes; an empty value deletes it. Both are copied. */
  set(key: Bytes, value: Bytes): void {
    if (key.length > TRIE_KEY_BYTES_MAX) throw new CocoError("LimitExceeded", `trie key of ${key.length} bytes`);
    if (value.length === 0) return this.delete(key);
    const keyText = stringOf(key);
    const valueText = stringOf(value);
    const leaf = find(this.#root, keyText);
    if (leaf === undefined) this.#size++;
    else if (leaf.value === valueText) return;
    this.#root = this.#root === undefined ? new Leaf(keyText, 0, valueText) : insert(this.#root, keyText, 0, valueText);
  }

  /** Removes a key; a key that is absent changes nothing. */
  delete(key: Bytes): void {
    const text = stringOf(key);
    if (this.#root === undefined || find(this.#root, text) === undefined) return;
    this.#size--;
    this.#root = remove(this.#root, text, 0);
  }

  /** The value of a key, copied. */
  get(key: Bytes): Bytes | undefined {
    const leaf = find(this.#root, stringOf(key));
    return leaf === undefined ? undefined : bytesOf(leaf.value);
  }

  /** Hashes what changed in many small steps, so that `root` has little left to do. The trie must not change meanwhile. */
  *hashSteps(): Generator<void, void, undefined> {
    if (this.#root !== undefined) yield* hashSteps(this.#root);
  }

  /** The root hash (32 bytes); hashes what changed since the last call. */
  root(): Bytes {
    if (this.#root === undefined) return EMPTY_TRIE_ROOT;
    const ref = reference(this.#root);
    return ref.length === 32 ? bytesOf(ref) : keccak256(bytesOf(ref));
  }
}
