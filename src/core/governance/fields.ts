/**
 * Strict reading of records by field name, for documents that have a binary form (CBOR) and a form for people (JSON).
 *
 * Contract: every field is read once by its name and type; `end` refuses what was not asked for. Both forms are read by
 * the same code: byte strings are CBOR byte strings or lower-case hex, certificates are DER or PEM. Each error names
 * the path of the field, such as `nodes[2].address`, in its message and as `field` in its data.
 */
import { CocoError, type ErrorCode } from "../../errors.ts";
import { fromHex, toHex, utf8Decode, type Bytes } from "../codec/bytes.ts";
import type { CborValue } from "../codec/cbor.ts";
import { isWellFormed, type JsonValue } from "./json-value.ts";
import { derOfPem, isOneDerSequence, pemOfDer } from "./pem.ts";

/** How a document is read: its form, the code of its errors, and data that goes with each error (a file name, say). */
export interface FieldContext {
  readonly form: "cbor" | "json";
  readonly code: ErrorCode;
  readonly data?: Readonly<Record<string, string | number>>;
  /** Whether errors say in `reason` what kind of problem it is. */
  readonly givesReasons?: boolean;
}

/** What kind of problem a field has. */
export type FieldProblem = "UnknownField" | "MissingField" | "WrongType" | "ValueInvalid";

/** An error that names a field. */
export function fieldInvalid(
  context: FieldContext,
  path: string,
  problem: string,
  kind: FieldProblem = "ValueInvalid",
): CocoError {
  const file = context.data?.["file"];
  const message = `${file === undefined ? "" : `${file}: `}${path === "" ? "document" : path}: ${problem}`;
  const reason = context.givesReasons === true ? { reason: kind } : {};
  return new CocoError(context.code, message, { ...context.data, ...reason, field: path });
}

/** Bounds of an integer field, both inclusive. */
export interface IntegerBounds {
  readonly min: number;
  readonly max: number;
}

/** Bounds of a text field in UTF-16 units, and the pattern it must match. */
export interface TextBounds {
  readonly max: number;
  readonly pattern?: RegExp;
}

/** Bounds of a byte string field: an exact length, or at least one byte and at most `max`. */
export type BytesBounds = { readonly length: number } | { readonly max: number };

/** What a PEM block holds, by its label: a certificate, or a list of revoked ones. */
export type PemLabel = "CERTIFICATE" | "X509 CRL";

function fieldsOf(value: unknown, path: string, context: FieldContext): Map<string, unknown> {
  const fields = new Map<string, unknown>();
  if (context.form === "cbor" && value instanceof Map) {
    for (const [name, field] of value) {
      if (typeof name !== "string") throw fieldInvalid(context, path, "a field name is not text");
      fields.set(name, field);
    }
    return fields;
  }
  if (context.form === "json" && typeof value === "object" && value !== null && !Array.isArray(value)) {
    for (const [name, field] of Object.entries(value)) fields.set(name, field);
    return fields;
  }
  throw fieldInvalid(context, path, "expected a record of named fields", "WrongType");
}

/** Reads one record field by field. */
export class FieldReader {
  readonly path: string;
  readonly context: FieldContext;
  readonly #fields: Map<string, unknown>;

  constructor(value: unknown, path: string, context: FieldContext) {
    this.path = path;
    this.context = context;
    this.#fields = fieldsOf(value, path, context);
  }

  /** The path of a field of this record. */
  pathOf(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  /** An error that names a field of this record. */
  invalid(name: string, problem: string, kind?: FieldProblem): CocoError {
    return fieldInvalid(this.context, this.pathOf(name), problem, kind);
  }

  /** Whether the record has a field that was not read yet. */
  has(name: string): boolean {
    return this.#fields.has(name);
  }

  /** Names of the fields that were not read yet, for records whose names are data. */
  names(): readonly string[] {
    return [...this.#fields.keys()];
  }

  /** The field as it is; it must be there. */
  value(name: string): unknown {
    if (!this.#fields.has(name)) throw this.invalid(name, "is missing", "MissingField");
    const value = this.#fields.get(name);
    this.#fields.delete(name);
    return value;
  }

  /** Null where the field is, otherwise what `read` makes of it. */
  nullable<T>(name: string, read: () => T): T | null {
    if (this.#fields.get(name) !== null) return read();
    this.#fields.delete(name);
    return null;
  }

  /** A text without control characters, not empty. */
  text(name: string, bounds: TextBounds): string {
    const value = this.value(name);
    if (typeof value !== "string") throw this.invalid(name, "expected text", "WrongType");
    if (value.length === 0 || value.length > bounds.max)
      throw this.invalid(name, `expected 1 to ${bounds.max} characters`);
    if (!isWellFormed(value)) throw this.invalid(name, "is not well-formed Unicode");
    if (/[\u0000-\u001f\u007f]/.test(value)) throw this.invalid(name, "has a control character");
    if (bounds.pattern !== undefined && !bounds.pattern.test(value))
      throw this.invalid(name, `does not match ${bounds.pattern.source}`);
    return value;
  }

  /** One of the given texts. */
  choice<T extends string>(name: string, choices: readonly T[]): T {
    const value = this.value(name);
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw this.invalid(name, `expected one of: ${choices.join(", ")}`);
    return found;
  }

  /** A list of some of the given texts, none twice. */
  choices<T extends string>(name: string, choices: readonly T[]): readonly T[] {
    const found = this.values(name, choices.length).map((value, at) => {
      const choice = choices.find((candidate) => candidate === value);
      if (choice === undefined) throw this.invalid(`${name}[${at}]`, `expected one of: ${choices.join(", ")}`);
      return choice;
    });
    if (new Set(found).size !== found.length) throw this.invalid(name, "has an item twice");
    return found;
  }

  /** A whole number within bounds. */
  integer(name: string, bounds: IntegerBounds): number {
    const value = this.value(name);
    if (typeof value !== "number" || !Number.isSafeInteger(value))
      throw this.invalid(name, "expected a whole number", "WrongType");
    if (value < bounds.min || value > bounds.max) throw this.invalid(name, `expected ${bounds.min} to ${bounds.max}`);
    return value;
  }

  /** True or false. */
  flag(name: string): boolean {
    const value = this.value(name);
    if (typeof value !== "boolean") throw this.invalid(name, "expected true or false", "WrongType");
    return value;
  }

  /** A byte string; lower-case hex in the JSON form. */
  bytes(name: string, bounds: BytesBounds): Bytes {
    const value = this.value(name);
    const bytes = this.#bytesOf(name, value);
    if ("length" in bounds) {
      if (bytes.length !== bounds.length) throw this.invalid(name, `expected ${bounds.length} bytes`);
    } else if (bytes.length === 0 || bytes.length > bounds.max) {
      throw this.invalid(name, `expected 1 to ${bounds.max} bytes`);
    }
    return bytes;
  }

  #bytesOf(name: string, value: unknown): Bytes {
    if (this.context.form === "cbor") {
      if (value instanceof Uint8Array) return value;
      throw this.invalid(name, "expected a byte string", "WrongType");
    }
    if (typeof value === "string" && value.length % 2 === 0 && /^[0-9a-f]*$/.test(value)) return fromHex(value);
    throw this.invalid(name, "expected lower-case hex", "WrongType");
  }

  /** Hex of a byte string of `length` bytes, for identifiers that are compared as text. */
  hex(name: string, length: number): string {
    return toHex(this.bytes(name, { length }));
  }

  /** Hex of each of at most `count` byte strings of `length` bytes. */
  hexes(name: string, bounds: { readonly length: number; readonly count: number }): readonly string[] {
    return this.values(name, bounds.count).map((value, at) => {
      const bytes = this.#bytesOf(`${name}[${at}]`, value);
      if (bytes.length !== bounds.length) throw this.invalid(`${name}[${at}]`, `expected ${bounds.length} bytes`);
      return toHex(bytes);
    });
  }

  /** A certificate as DER; PEM in the JSON form. */
  certificate(name: string, max: number): Bytes {
    return this.#der(name, this.value(name), max, "CERTIFICATE");
  }

  /** A list of at most `count` certificates or lists of revoked ones, each as DER of at most `max` bytes; PEM in the JSON form. */
  ders(name: string, label: PemLabel, bounds: { readonly count: number; readonly max: number }): readonly Bytes[] {
    const values = this.values(name, bounds.count);
    return values.map((value, at) => this.#der(`${name}[${at}]`, value, bounds.max, label));
  }

  #der(name: string, value: unknown, max: number, label: PemLabel): Bytes {
    const der = this.context.form === "cbor" ? value : this.#derOfPem(value, max, label);
    const what = `one ${label === "CERTIFICATE" ? "certificate" : "CRL"}${this.context.form === "cbor" ? "" : " in PEM"}`;
    // DER that does not start as such may be taken for PEM by a reader that tries both.
    if (!(der instanceof Uint8Array) || !isOneDerSequence(der)) throw this.invalid(name, `expected ${what}`);
    if (der.length > max) throw this.invalid(name, `expected 1 to ${max} bytes`);
    return der;
  }

  #derOfPem(value: unknown, max: number, label: PemLabel): Bytes | undefined {
    return typeof value === "string" && value.length <= max * 2 ? derOfPem(value, label) : undefined;
  }

  /** A list of at most `max` records, each read by `read`. */
  list<T>(name: string, max: number, read: (item: FieldReader) => T): readonly T[] {
    return this.values(name, max).map((item, at) => {
      const reader = new FieldReader(item, `${this.pathOf(name)}[${at}]`, this.context);
      const result = read(reader);
      reader.end();
      return result;
    });
  }

  /** A list of at most `max` values, as they are. */
  values(name: string, max: number): readonly unknown[] {
    const value = this.value(name);
    if (!Array.isArray(value)) throw this.invalid(name, "expected a list", "WrongType");
    if (value.length > max) throw this.invalid(name, `has ${value.length} items, ${max} allowed`);
    return value;
  }

  /** A record inside this one, read by `read`. */
  record<T>(name: string, read: (fields: FieldReader) => T): T {
    const reader = new FieldReader(this.value(name), this.pathOf(name), this.context);
    const result = read(reader);
    reader.end();
    return result;
  }

  /** Throws unless every field was read. */
  end(): void {
    for (const name of this.#fields.keys()) throw this.invalid(name, "is not a field of this document", "UnknownField");
  }
}

/** The value of a JSON text, to be read field by field; throws the error of the context when it is none. */
export function parseJson(text: string, context: FieldContext): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw fieldInvalid(context, "", "is not JSON");
  }
}

/** Parses JSON in UTF-8. */
export function parseJsonBytes(bytes: Bytes, context: FieldContext): unknown {
  let text: string;
  try {
    text = utf8Decode(bytes);
  } catch {
    throw fieldInvalid(context, "", "is not UTF-8");
  }
  return parseJson(text, context);
}

/** Reads a whole document that is one record. */
export function readDocument<T>(value: unknown, context: FieldContext, read: (fields: FieldReader) => T): T {
  const reader = new FieldReader(value, "", context);
  const result = read(reader);
  reader.end();
  return result;
}

/** A document to be written: records are objects, in the order people read them. */
export type FieldTree = string | number | boolean | null | Bytes | PemField | readonly FieldTree[] | FieldRecord;

/** A record in a {@link FieldTree}; fields that are undefined are not there. */
export interface FieldRecord {
  readonly [name: string]: FieldTree | undefined;
}

/** A certificate or a list of revoked ones in a {@link FieldTree}: DER in CBOR, PEM in JSON. */
export class PemField {
  readonly der: Bytes;
  readonly label: PemLabel;

  constructor(der: Bytes, label: PemLabel) {
    this.der = der;
    this.label = label;
  }
}

/** The CBOR form of a document; fields that are undefined are left out. */
export function treeToCbor(tree: FieldTree): CborValue {
  if (tree instanceof PemField) return tree.der;
  if (tree === null || typeof tree !== "object" || tree instanceof Uint8Array) return tree;
  if (isList(tree)) return tree.map(treeToCbor);
  const fields = new Map<string, CborValue>();
  for (const [name, field] of Object.entries(tree)) if (field !== undefined) fields.set(name, treeToCbor(field));
  return fields;
}

/** The JSON form of a document, as plain values for `JSON.stringify`. */
export function treeToJson(tree: FieldTree): JsonValue {
  if (tree instanceof PemField) return pemOfDer(tree.der, tree.label);
  if (tree instanceof Uint8Array) return toHex(tree);
  if (tree === null || typeof tree !== "object") return tree;
  if (isList(tree)) return tree.map(treeToJson);
  return Object.fromEntries(
    Object.entries(tree).flatMap(([name, field]) => (field === undefined ? [] : [[name, treeToJson(field)]])),
  );
}

function isList(tree: object): tree is readonly FieldTree[] {
  return Array.isArray(tree);
}
