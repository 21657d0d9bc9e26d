/**
 * Network addresses as the constitution and configuration files write them: `host:port`, with an IPv6 host in brackets.
 */
import { EMPTY, type Bytes } from "../codec/bytes.ts";

/** Longest address: a DNS name of 253 characters, a colon and a port. */
export const MAX_ADDRESS_LENGTH = 259;

/** The parts of an address; an IPv6 host without its brackets. */
export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

const DNS_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const BRACKETED = /^\[([0-9a-f:.]{2,45})\]$/i;

/** Splits `host:port`; undefined when it is none. Port 0 (any free port) only with `anyPort`. */
export function parseAddress(text: string, anyPort = false): HostAndPort | undefined {
  const colon = text.lastIndexOf(":");
  if (colon < 1 || text.length > MAX_ADDRESS_LENGTH) return undefined;
  const port = /^(0|[1-9][0-9]{0,4})$/.test(text.slice(colon + 1)) ? Number(text.slice(colon + 1)) : -1;
  if (port < (anyPort ? 0 : 1) || port > 65535) return undefined;
  const name = text.slice(0, colon);
  const bracketed = BRACKETED.exec(name);
  if (bracketed?.[1] !== undefined)
    return parseIpv6(bracketed[1]) === undefined ? undefined : { host: bracketed[1], port };
  return DNS_NAME.test(name) ? { host: name, port } : undefined;
}

/** The 4 or 16 bytes of an IP address (no brackets, no zone); undefined when the text is none. */
export function parseIpAddress(host: string): Bytes | undefined {
  return host.includes(":") ? parseIpv6(host) : parseIpv4(host);
}

function parseIpv4(text: string): Bytes | undefined {
  const parts = text.split(".");
  const valid = parts.length === 4 && parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256);
  return valid ? Uint8Array.from(parts, Number) : undefined;
}

/** RFC 4291 section 2.2: eight groups, of which one run of zeros may be `::`; the last two may be an IPv4 address. */
function parseIpv6(text: string): Bytes | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = parseGroups(halves[1] ?? "", true);
  if (head === undefined || tail === undefined) return undefined;
  const length = head.length + tail.length;
  if (halves.length === 1 ? length !== 16 : length > 14) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

function parseGroups(text: string, mayEndInIpv4: boolean): Bytes | undefined {
  if (text === "") return EMPTY;
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [at, group] of groups.entries()) {
    const ipv4 = mayEndInIpv4 && at === groups.length - 1 ? parseIpv4(group) : undefined;
    if (ipv4 !== undefined) bytes.push(...ipv4);
    else if (/^[0-9a-f]{1,4}$/i.test(group))
      bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255);
    else return undefined;
  }
  return Uint8Array.from(bytes);
}
