/** The client of a node that a command's options name. */
import { X509Certificate } from "node:crypto";
import { CocoError } from "../errors.ts";
import { readText } from "./arguments.ts";
import { type ConnectionOptions, VARIABLES } from "./connection-options.ts";
import type { ClientIdentity, ServiceClient } from "./service-client.ts";

/** Largest file of a key or of certificates, in bytes. */
export const MAX_PEM_FILE_BYTES = 256 * 1024;

/** The value of an option that a command can't do without. */
export function required(options: ConnectionOptions, name: keyof ConnectionOptions, why: string): string {
  const value = options[name];
  if (value !== undefined) return value;
  const flag = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new CocoError("WrongUsage", `${flag} (or ${VARIABLES[name]}) is missing: ${why}`);
}

/** The identity of the connection; undefined when no key for one is given. */
async function identityOf(options: ConnectionOptions): Promise<ClientIdentity | undefined> {
  const [certificateFile, keyFile] =
    options.tlsCert === undefined && options.tlsKey === undefined
      ? [options.cert, options.key]
      : [options.tlsCert, options.tlsKey];
  if (certificateFile === undefined || keyFile === undefined) return undefined;
  const certificate = await readText(certificateFile, MAX_PEM_FILE_BYTES);
  const privateKey = await readText(keyFile, MAX_PEM_FILE_BYTES);
  await requireKeyOf(certificate, privateKey, keyFile);
  return { certificate, privateKey };
}

/** Throws `ConfigurationInvalid`, without a word of the key, unless it is of the first certificate. */
export async function requireKeyOf(certificate: string, privateKey: string, file: string): Promise<void> {
  const { createPrivateKey } = await import("node:crypto");
  let fits: boolean;
  try {
    fits = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    throw new CocoError("ConfigurationInvalid", `${file}: expected certificate and private key in PEM`, { file });
  }
  if (!fits) throw new CocoError("ConfigurationInvalid", `${file}: is not the key of the certificate`, { file });
}

/** What a client must be able to do: `read` what members and participants see, or only `send` what is signed. */
export type Purpose = "read" | "send";

/** A client of the node that the options name. Throws `WrongUsage` for what is missing. */
export async function connect(options: ConnectionOptions, purpose: Purpose = "read"): Promise<ServiceClient> {
  const url = required(options, "url", "which node to ask");
  const serviceFile = required(options, "serviceCert", "without it nobody knows whether the node is of the network");
  const serviceCertificate = await readServiceCertificate(serviceFile);
  const identity = await identityOf(options);
  if (identity === undefined && purpose === "read")
    throw new CocoError(
      "WrongUsage",
      "--cert and --key (or COCO_CERT and COCO_KEY; or --tls-cert and --tls-key) are missing: nodes answer members and participants only",
    );
  const { ServiceClient: Client } = await import("./service-client.ts");
  return new Client({ url, serviceCertificate, identity });
}

async function readServiceCertificate(file: string): Promise<string> {
  const text = await readText(file, MAX_PEM_FILE_BYTES);
  try {
    if (new X509Certificate(text).ca) return text;
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: expected a certificate in PEM`, { file }, { cause: error });
  }
  throw new CocoError("ConfigurationInvalid", `${file}: is not a service certificate`, { file });
}

/** Identity of the connection, for nodes that have no service certificate yet. */
export async function connectDirectly(url: string, options: ConnectionOptions): Promise<ServiceClient> {
  const { ServiceClient: Client } = await import("./service-client.ts");
  return new Client({ url, serviceCertificate: undefined, identity: await identityOf(options) });
}
