/** Reading Intel's signed JSON documents by field, strictly: types, lengths and forms; `MalformedInput` for what differs. */
import { parseStrictJson, type StrictJson } from "../../core/codec/json.ts";
import { CocoError } from "../../errors.ts";

/** Most entries of any list in a document. */
export const MAX_DOCUMENT_ENTRIES = 1024;

const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/;

/**
 * One object of a document. Fields nobody asks for are let pass: the document is signed as a whole, and its signer adds
 * fields without a new version of it.
 */
export class SignedFields {
  readonly #fields: ReadonlyMap<string, StrictJson>;
  readonly #path: string;

  constructor(value: StrictJson, path: string) {
    if (!(value instanceof Map)) throw new CocoError("MalformedInput", `${path}: expected an object`);
    this.#fields = value;
    this.#path = path;
  }

  #malformed(name: string, problem: string): CocoError {
    return new CocoError("MalformedInput", `${this.#path}.${name}: ${problem}`);
  }

  /** Whether there is such a field. */
  has(name: string): boolean {
    return this.#fields.has(name);
  }

  /** A text. */
  text(name: string): string {
    const value = this.#fields.get(name);
    if (typeof value !== "string") throw this.#malformed(name, "expected text");
    return value;
  }

  /** One of these texts. */
  choice<T extends string>(name: string, choices: readonly T[]): T {
    const value = this.text(name);
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw this.#malformed(name, `expected one of: ${choices.join(", ")}`);
    return found;
  }

  /** A whole number from 0 to `max`. */
  integer(name: string, max: number): number {
    const value = this.#fields.get(name);
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max)
      throw this.#malformed(name, `expected a whole number from 0 to ${max}`);
    return value;
  }

  /** Hex of so many bytes, in lower case. */
  hex(name: string, length: number): string {
    const value = this.text(name).toLowerCase();
    if (value.length !== 2 * length || !/^[0-9a-f]*$/.test(value))
      throw this.#malformed(name, `expected ${length} bytes in hex`);
    return value;
  }

  /** A time in UTC with whole seconds, in milliseconds since 1970. */
  time(name: string): number {
    const value = this.text(name);
    const time = TIME.test(value) ? Date.parse(value) : Number.NaN;
    // A day that its month does not have would be taken for one of the next month.
    if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 19) !== value.slice(0, 19))
      throw this.#malformed(name, "expected a time");
    return time;
  }

  /** An object. */
  object(name: string): SignedFields {
    return new SignedFields(this.#fields.get(name) ?? null, `${this.#path}.${name}`);
  }

  /** A list of objects, each read by `read`. */
  list<T>(name: string, read: (item: SignedFields) => T): readonly T[] {
    return this.#items(name).map((item, at) => read(new SignedFields(item, `${this.#path}.${name}[${at}]`)));
  }

  /** A list of texts; one that is not there is empty. */
  texts(name: string): readonly string[] {
    if (!this.has(name)) return [];
    return this.#items(name).map((item) => {
      if (typeof item !== "string") throw this.#malformed(name, "expected texts");
      return item;
    });
  }

  #items(name: string): readonly StrictJson[] {
    const value = this.#fields.get(name);
    if (!Array.isArray(value) || value.length > MAX_DOCUMENT_ENTRIES)
      throw this.#malformed(name, `expected a list of at most ${MAX_DOCUMENT_ENTRIES} entries`);
    return value;
  }
}

/** Reads a document that is one object. */
export function readSignedJson<T>(text: string, name: string, read: (fields: SignedFields) => T): T {
  return read(new SignedFields(parseStrictJson(text), name));
}

/**
 * The document inside an answer of Intel's service, `{"<name>":<document>,"signature":"<hex>"}`, as the very text that is
 * signed.
 */
export function cutSignedJson(answer: string, name: string): { readonly document: string; readonly signature: string } {
  const start = `{"${name}":`;
  const end = /,"signature":"([0-9a-fA-F]{128})"\}\s*$/.exec(answer);
  if (!answer.startsWith(start) || end === null)
    throw new CocoError("MalformedInput", `answer: expected ${name} and its signature, in the form that is signed`);
  const document = answer.slice(start.length, end.index);
  // Had the answer further fields, what was cut out would be no document.
  readSignedJson(document, name, () => undefined);
  return { document, signature: (end[1] ?? "").toLowerCase() };
}
