/**
 * Name constraints of CA certificates (RFC 5280, 4.2.1.10): which names may stand in the certificates below.
 *
 * Fail closed: a name that cannot be judged (a form nothing here interprets, a DNS name, address or URI that is not in its
 * plain form) counts as excluded when the CA constrains that form, whether or not the extension is critical.
 */
import type { Bytes } from "../codec/bytes.ts";
import { contextTag, type DerReader } from "../codec/der.ts";
import { CocoError } from "../../errors.ts";
import { type GeneralName, lowerAscii, MAX_GENERAL_NAMES, readGeneralName } from "./name.ts";

/** The subtrees of names a CA may and may not issue for. */
export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/** Reads the value of the extension. A minimum or maximum distance is not for this profile: refused. */
export function readNameConstraints(reader: DerReader): NameConstraints {
  return reader.sequence((inner) => {
    const permitted = inner.optional(contextTag(0, "constructed"), readSubtrees);
    const excluded = inner.optional(contextTag(1, "constructed"), readSubtrees);
    if (permitted === undefined && excluded === undefined)
      throw new CocoError("MalformedInput", "name constraints without a subtree");
    return { permitted: permitted ?? [], excluded: excluded ?? [] };
  });
}

function readSubtrees(reader: DerReader): readonly GeneralName[] {
  return reader.list(MAX_GENERAL_NAMES, (list) =>
    list.sequence((subtree) => {
      const base = readGeneralName(subtree);
      if (base.form === "ip" && !isAddressRange(base.bytes))
        throw new CocoError("MalformedInput", "name constraints with an address range that is none");
      return base;
    }),
  );
}

/** Address and mask, of 4 or 16 bytes each; the mask is ones, then zeros. */
function isAddressRange(bytes: Bytes): boolean {
  if (bytes.length !== 8 && bytes.length !== 32) return false;
  const bits = Array.from(bytes.subarray(bytes.length / 2), (byte) => byte.toString(2).padStart(8, "0")).join("");
  return /^1*0*$/.test(bits);
}

/** Whether a CA with these constraints may not issue for this name. */
export function violatesConstraints(constraints: NameConstraints, name: GeneralName): boolean {
  const permitted = constraints.permitted.filter((base) => isSameForm(base, name));
  if (permitted.length > 0 && !permitted.some((base) => isWithin(name, base) === true)) return true;
  return constraints.excluded.some((base) => isSameForm(base, name) && isWithin(name, base) !== false);
}

function isSameForm(base: GeneralName, name: GeneralName): boolean {
  return base.form === name.form && (base.form !== "other" || name.form !== "other" || base.tag === name.tag);
}

/** Whether a name is in the subtree of a base of the same form; undefined when that cannot be said. */
function isWithin(name: GeneralName, base: GeneralName): boolean | undefined {
  if (name.form === "directory" && base.form === "directory") {
    const { parts } = base.name;
    return parts.length <= name.name.parts.length && parts.every((part, at) => part === name.name.parts[at]);
  }
  if (name.form === "ip" && base.form === "ip") return isInRange(name.bytes, base.bytes);
  if (name.form === "dns" && base.form === "dns") return isInDomain(lowerAscii(name.text), lowerAscii(base.text));
  if (name.form === "email" && base.form === "email") return isMailOf(name.text, base.text);
  if (name.form === "uri" && base.form === "uri") return isHostOf(hostOfUri(name.text), lowerAscii(base.text));
  return undefined;
}

function isInRange(address: Bytes, range: Bytes): boolean {
  const { length } = address;
  if (2 * length !== range.length) return false;
  return address.every((byte, at) => ((byte ^ (range[at] as number)) & (range[length + at] as number)) === 0);
}

const DNS_NAME = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

function isDnsName(name: string): boolean {
  return name.length <= 253 && DNS_NAME.test(name);
}

/** Lower-case DNS names: the base itself and all below it; below it only when the base starts with a period. */
function isInDomain(name: string, base: string): boolean | undefined {
  const isWildcard = name.startsWith("*.");
  const host = isWildcard ? name.slice(2) : name;
  if (!isDnsName(host)) return undefined;
  if (base === "") return true;
  const domain = base.startsWith(".") ? base.slice(1) : base;
  if (!isDnsName(domain)) return undefined;
  if (host.endsWith(`.${domain}`)) return true;
  if (host === domain) return isWildcard || !base.startsWith(".");
  // A wildcard above the base stands for names inside of it and outside.
  return isWildcard && domain.endsWith(`.${host}`) ? undefined : false;
}

/** Hosts of addresses and URIs: exactly the base, or with a period in front of the base, all below it. */
function isHostOf(host: string | undefined, base: string): boolean | undefined {
  if (host === undefined || !isDnsName(host)) return undefined;
  if (base === "") return true;
  if (!isDnsName(base.startsWith(".") ? base.slice(1) : base)) return undefined;
  return base.startsWith(".") ? host.endsWith(base) : host === base;
}

/** A base with an `@` is one mailbox. Quoted local parts have more than one spelling: they are not judged. */
function isMailOf(address: string, base: string): boolean | undefined {
  const mailbox = readMailbox(address);
  if (mailbox === undefined) return undefined;
  if (!base.includes("@")) return isHostOf(mailbox.host, lowerAscii(base));
  const wanted = readMailbox(base);
  return wanted && wanted.local === mailbox.local && wanted.host === mailbox.host;
}

function readMailbox(address: string): { readonly local: string; readonly host: string } | undefined {
  const match = /^([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)@([^@]+)$/.exec(address);
  const host = lowerAscii(match?.[2] ?? "");
  return match?.[1] !== undefined && isDnsName(host) ? { local: match[1], host } : undefined;
}

/** The host of `scheme://[user@]host[:port]…`; undefined when there is none, or it is an IP address. */
function hostOfUri(uri: string): string | undefined {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(uri)?.[1];
  const host = /^(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?([A-Za-z0-9._-]+)(?::[0-9]*)?$/.exec(authority ?? "")?.[1];
  return host === undefined || /(?:^|\.)[0-9]+$/.test(host) ? undefined : lowerAscii(host);
}
