/**
 * Strict JSON (RFC 8259) for signed documents: what `JSON.parse` lets pass and readers understand differently is refused,
 * above all a name that stands twice in an object. Depth and size are bounded.
 */
import { CocoError } from "../../errors.ts";

/** Deepest nesting of a document. */
export const MAX_STRICT_JSON_DEPTH = 16;
/** Longest document, in UTF-16 units. */
export const MAX_STRICT_JSON_LENGTH = 1024 * 1024;

/** A value read from JSON; objects are maps, so that no name is special. */
export type StrictJson = null | boolean | number | string | readonly StrictJson[] | ReadonlyMap<string, StrictJson>;

const WHITE_SPACE = /[ \t\n\r]*/y;
const LITERAL = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

class StrictJsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): StrictJson {
    const value = this.#value(0);
    this.#match(WHITE_SPACE);
    if (this.#at !== this.#text.length) throw this.#malformed("something follows the value");
    return value;
  }

  #malformed(problem: string): CocoError {
    return new CocoError("MalformedInput", `JSON, position ${this.#at}: ${problem}`);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  /** Passes white space and this character; false when another comes. */
  #pass(character: string): boolean {
    this.#match(WHITE_SPACE);
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #expect(character: string): void {
    if (!this.#pass(character)) throw this.#malformed(`expected ${character}`);
  }

  #value(depth: number): StrictJson {
    if (depth > MAX_STRICT_JSON_DEPTH) throw this.#malformed("nested too deep");
    if (this.#pass("{")) return this.#object(depth);
    if (this.#pass("[")) return this.#array(depth);
    return this.#text[this.#at] === '"' ? this.#string() : this.#literal();
  }

  #object(depth: number): StrictJson {
    const fields = new Map<string, StrictJson>();
    if (this.#pass("}")) return fields;
    do {
      this.#match(WHITE_SPACE);
      const name = this.#string();
      if (fields.has(name)) throw this.#malformed("a name stands twice in an object");
      this.#expect(":");
      fields.set(name, this.#value(depth + 1));
    } while (this.#pass(","));
    this.#expect("}");
    return fields;
  }

  #array(depth: number): StrictJson {
    const values: StrictJson[] = [];
    if (this.#pass("]")) return values;
    do values.push(this.#value(depth + 1));
    while (this.#pass(","));
    this.#expect("]");
    return values;
  }

  #string(): string {
    const text = this.#match(TEXT);
    if (text === undefined) throw this.#malformed("expected text");
    return String(JSON.parse(text));
  }

  #literal(): StrictJson {
    const literal = this.#match(LITERAL);
    if (literal === undefined) throw this.#malformed("expected a value");
    const value: unknown = JSON.parse(literal);
    if (value === null || typeof value === "boolean") return value;
    const number = Number(value);
    if (!Number.isFinite(number)) throw this.#malformed("a number too large");
    return number;
  }
}

/** Reads a document; throws `MalformedInput`. */
export function parseStrictJson(text: string): StrictJson {
  if (text.length > MAX_STRICT_JSON_LENGTH) throw new CocoError("MalformedInput", "JSON: the document is too long");
  return new StrictJsonReader(text).document();
}
