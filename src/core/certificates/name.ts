/**
 * Names in certificates: distinguished names (RFC 5280, 4.1.2.4) and general names (4.2.1.6).
 *
 * Two distinguished names are the same when their canonical forms are: string types do not count, nor does the case of
 * ASCII letters or the number of spaces (7.1; letters beyond ASCII must be the same, so that no table of Unicode decides).
 */
import { toHex, type Bytes } from "../codec/bytes.ts";
import { contextTag, type DerReader } from "../codec/der.ts";
import { CocoError } from "../../errors.ts";

/** Most relative names of a distinguished name. */
export const MAX_RELATIVE_NAMES = 32;
/** Most attributes of one relative name. */
export const MAX_NAME_ATTRIBUTES = 8;
/** Most general names in one list: alternative names of a subject, or one side of name constraints. */
export const MAX_GENERAL_NAMES = 256;

const EMAIL_ADDRESS = "1.2.840.113549.1.9.1";
const ATTRIBUTE_LABELS: ReadonlyMap<string, string> = new Map([
  ["2.5.4.3", "CN"],
  ["2.5.4.5", "serialNumber"],
  ["2.5.4.6", "C"],
  ["2.5.4.7", "L"],
  ["2.5.4.8", "ST"],
  ["2.5.4.10", "O"],
  ["2.5.4.11", "OU"],
  ["0.9.2342.19200300.100.1.25", "DC"],
  [EMAIL_ADDRESS, "emailAddress"],
]);

/** A distinguished name. */
export interface Name {
  /** As it stands in the certificate. */
  readonly der: Bytes;
  /** Canonical form of each relative name, the outermost first. */
  readonly parts: readonly string[];
  /** Canonical form of the whole: equal names have equal keys. */
  readonly key: string;
  /** For people: `O=Contoso, CN=Ann`. */
  readonly text: string;
  /** Addresses in the name's emailAddress attributes. */
  readonly emailAddresses: readonly string[];
  /** Every attribute of every relative name, in order. */
  readonly attributes: readonly NameAttribute[];
}

/** One attribute of a name. */
export interface NameAttribute {
  /** Object identifier. */
  readonly type: string;
  /** As it stands there; `#` and the hex of the encoding when it is no character string. */
  readonly text: string;
}

/** A general name; `other` stands for the forms that nothing here interprets, told apart by their tag. */
export type GeneralName =
  | { readonly form: "email" | "dns" | "uri"; readonly text: string }
  | { readonly form: "directory"; readonly name: Name }
  | { readonly form: "ip"; readonly bytes: Bytes }
  | { readonly form: "other"; readonly tag: number };

interface CanonicalAttribute extends NameAttribute {
  readonly canonical: string;
}

const COMMON_NAME = "2.5.4.3";

/** The common name of a name that has exactly one. */
export function commonNameOf({ attributes }: Name): string | undefined {
  const names = attributes.filter(({ type }) => type === COMMON_NAME);
  return names.length === 1 ? names[0]?.text : undefined;
}

/** Lower case of ASCII letters only. */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function readAttribute(reader: DerReader): CanonicalAttribute {
  return reader.sequence((inner) => {
    const type = inner.objectIdentifier();
    if (!inner.nextIsText) {
      const value = toHex(inner.any().encoding);
      return { type, canonical: `${type}#${value}`, text: `#${value}` };
    }
    const text = inner.text();
    return { type, canonical: `${type}=${lowerAscii(text.trim().replace(/\s+/g, " "))}`, text };
  });
}

/** Characters that would break the text, or the terminal that shows it, become `\` and their code. */
function shown(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069,+\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

/** Reads a distinguished name. */
export function readName(reader: DerReader): Name {
  const emailAddresses: string[] = [];
  const all: NameAttribute[] = [];
  const parts: string[] = [];
  const texts: string[] = [];
  const readPart = (sequence: DerReader): void => {
    const attributes = sequence.setOf(MAX_NAME_ATTRIBUTES, readAttribute);
    for (const { type, text } of attributes) {
      all.push({ type, text });
      if (type === EMAIL_ADDRESS) emailAddresses.push(text);
    }
    parts.push(JSON.stringify(attributes.map(({ canonical }) => canonical).sort()));
    texts.push(attributes.map(({ type, text }) => `${ATTRIBUTE_LABELS.get(type) ?? type}=${shown(text)}`).join(" + "));
  };
  const { encoding } = reader.withEncoding(() =>
    reader.sequence((sequence) => {
      if (!sequence.atEnd) sequence.list(MAX_RELATIVE_NAMES, readPart);
    }),
  );
  return { der: encoding, parts, key: parts.join("\n"), text: texts.join(", "), emailAddresses, attributes: all };
}

/** Reads one general name. */
export function readGeneralName(reader: DerReader): GeneralName {
  for (const [number, form] of [
    [1, "email"],
    [2, "dns"],
    [6, "uri"],
  ] as const) {
    const tag = contextTag(number, "primitive");
    if (reader.nextIs(tag)) return { form, text: reader.ascii(tag) };
  }
  const address = contextTag(7, "primitive");
  if (reader.nextIs(address)) return { form: "ip", bytes: reader.content(address) };
  const directory = contextTag(4, "constructed");
  if (reader.nextIs(directory)) return { form: "directory", name: reader.within(directory, readName) };
  const { tag } = reader.any();
  const others = [contextTag(0, "constructed"), contextTag(3, "constructed"), contextTag(5, "constructed")];
  if (!others.includes(tag) && tag !== contextTag(8, "primitive"))
    throw new CocoError("MalformedInput", "a general name of an unknown form");
  return { form: "other", tag };
}

/** Reads a SEQUENCE of general names. */
export function readGeneralNames(reader: DerReader): readonly GeneralName[] {
  return reader.sequence((sequence) => sequence.list(MAX_GENERAL_NAMES, readGeneralName));
}
