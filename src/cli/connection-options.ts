/** Options by which commands reach a network and sign, without anything that takes time to load. */
import type { Command } from "commander";

/** Where a node is and who asks. */
export interface ConnectionOptions {
  readonly url?: string;
  readonly serviceCert?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

/** Environment variables that say what an option is when it is not given. */
export const VARIABLES: Readonly<Record<keyof ConnectionOptions, string>> = {
  url: "COCO_URL",
  serviceCert: "COCO_SERVICE_CERT",
  cert: "COCO_CERT",
  key: "COCO_KEY",
  tlsCert: "COCO_TLS_CERT",
  tlsKey: "COCO_TLS_KEY",
};

/** Adds the options of a connection. */
export function addConnectionOptions(command: Command): Command {
  return command
    .option("--url <url>", "https://host:port of a validating node (COCO_URL)")
    .option("--service-cert <file>", "service certificate of the network (COCO_SERVICE_CERT)")
    .option("--cert <file>", "your certificate, with those between it and the listed one (COCO_CERT)")
    .option("--key <file>", "its private key, PEM (COCO_KEY)")
    .option("--tls-cert <file>", "another certificate for the connection alone (COCO_TLS_CERT)")
    .option("--tls-key <file>", "its private key (COCO_TLS_KEY)")
    .option("--json", "print JSON");
}

/** The options with what the environment says in place of those that are not given. */
export function withEnvironment<Options extends ConnectionOptions>(options: Options): Options {
  const named = Object.entries(VARIABLES).flatMap(([name, variable]) => {
    const value = process.env[variable];
    return value === undefined || value === "" ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(named), ...options };
}

/** Options of commands that sign. */
export interface SigningOptions extends ConnectionOptions {
  readonly pkcs11Module?: string;
  readonly pkcs11Token?: string;
  readonly pkcs11Key?: string;
  readonly pkcs11PinEnv: string;
  readonly prepare?: string;
  readonly out?: string;
  readonly networkId?: string;
}

/** Adds the options of a connection and those of signing. */
export function addSigningOptions(command: Command): Command {
  return addConnectionOptions(command)
    .option("--pkcs11-module <file>", "sign with a key behind this PKCS#11 library, instead of --key")
    .option("--pkcs11-token <label>", "label of the token, if there are several")
    .option("--pkcs11-key <label>", "label of the key there")
    .option("--pkcs11-pin-env <variable>", "environment variable with the PIN", "COCO_PKCS11_PIN")
    .option("--prepare <file>", "do not sign: write what is to be signed, for coco member finish")
    .option("--out <file>", "sign, and write the request instead of sending it: see coco member send")
    .option("--network-id <hex>", "network id, to prepare or sign without asking a node");
}
