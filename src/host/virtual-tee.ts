/**
 * The virtual TEE: attests and seals with a key in a file, so that a network runs on any machine by the same steps as on
 * TEE hardware. IT PROTECTS NOTHING: whoever reads the machine key file can forge evidence of this machine and open what
 * was sealed on it. The TEE manifest names each machine key, so a network that admits none is not weakened by it (R7).
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { stat } from "node:fs/promises";
import { toHex, utf8Decode, type Bytes } from "../core/codec/bytes.ts";
import { encodeVirtualEvidence } from "../attestation/virtual.ts";
import { createSignFunction } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { createFileAtomic, hasErrorCode, readConfigurationFile, SECRET_FILE_MODE } from "./files.ts";
import { sealWith, unsealWith } from "./sealed-secret.ts";

/** Largest machine key file in bytes. */
export const MAX_MACHINE_KEY_BYTES = 4096;

/** The virtual TEE of one machine. */
export interface VirtualTee {
  readonly tee: "virtual";
  /** Public machine key (P-256, SubjectPublicKeyInfo DER): what the TEE manifest lists. */
  readonly machineKey: Bytes;
  /** Evidence that code with this measurement (32 bytes) bound these report data (64 bytes). */
  attest(measurement: Bytes, reportData: Bytes): Bytes;
  /** Encrypts for this machine. */
  seal(secret: Bytes): Bytes;
  /** Opens {@link VirtualTee.seal}; throws `SealedElsewhere` when sealed under another machine key, or changed. */
  unseal(sealed: Bytes): Bytes;
}

/** Opens the virtual TEE of a machine key file, which is made (0600) when it does not exist. Throws `ConfigurationInvalid`. */
export async function createVirtualTee(machineKeyFile: string): Promise<VirtualTee> {
  return virtualTeeOf((await readMachineKey(machineKeyFile)) ?? (await createMachineKey(machineKeyFile)));
}

/** Opens the virtual TEE of a machine key file that must be there. Throws `ConfigurationInvalid`. */
export async function openVirtualTee(machineKeyFile: string): Promise<VirtualTee> {
  const privateKey = await readMachineKey(machineKeyFile);
  if (privateKey === undefined) {
    throw new CocoError("ConfigurationInvalid", `${machineKeyFile}: does not exist`, { file: machineKeyFile });
  }
  return virtualTeeOf(privateKey);
}

function virtualTeeOf(privateKey: KeyObject): VirtualTee {
  const machineKey = new Uint8Array(createPublicKey(privateKey).export({ type: "spki", format: "der" }));
  const sign = createSignFunction(privateKey);
  const material = sealingMaterialOf(privateKey);
  return {
    tee: "virtual",
    machineKey,
    attest: (measurement, reportData) =>
      encodeVirtualEvidence({ measurement: toHex(measurement), reportData, machineKey }, sign),
    seal: (secret) => sealWith(material, secret, "machine"),
    unseal: (sealed) => unsealWith(material, sealed, "machine"),
  };
}

function sealingMaterialOf(privateKey: KeyObject): Bytes {
  const { d } = privateKey.export({ format: "jwk" });
  if (d === undefined) throw new CocoError("Internal", "a private key has a private part");
  return new Uint8Array(Buffer.from(d, "base64url"));
}

async function createMachineKey(file: string): Promise<KeyObject> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" });
  if (await createFileAtomic(file, pem.toString(), SECRET_FILE_MODE)) return privateKey;
  // Another process made it in the meantime: that one is the machine's.
  const existing = await readMachineKey(file);
  if (existing === undefined)
    throw new CocoError("ConfigurationInvalid", `${file}: was removed while it was made`, { file });
  return existing;
}

async function readMachineKey(file: string): Promise<KeyObject | undefined> {
  await checkMode(file);
  let content: Bytes;
  try {
    content = await readConfigurationFile(file, MAX_MACHINE_KEY_BYTES);
  } catch (error) {
    if (error instanceof CocoError && hasErrorCode(error.cause, "ENOENT")) return undefined;
    throw error;
  }
  try {
    const key = createPrivateKey(utf8Decode(content));
    createSignFunction(key);
    return key;
  } catch {
    throw new CocoError("ConfigurationInvalid", `${file}: expected a P-256 private key in PEM`, { file });
  }
}

async function checkMode(file: string): Promise<void> {
  if (process.platform === "win32") return;
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) {
      throw new CocoError("ConfigurationInvalid", `${file}: others than its owner may use it; set its mode to 0600`, {
        file,
      });
    }
  } catch (error) {
    if (!hasErrorCode(error, "ENOENT")) throw error;
  }
}
