/**
 * The keys all validating nodes share: epoch keys, wrapped in the ledger to each listed node, and the service identity,
 * whose private key the epoch transaction carries sealed under the epoch key. A node learns both from committed
 * transactions only, and can endorse any listed node's certificate.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type { Bytes } from "../../core/codec/bytes.ts";
import { ByteWriter, concatBytes, fromHex, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { encodeAdministrative, type EpochRecord, type GovernanceState } from "../../core/governance/administrative.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Crypto, Entropy } from "../ports.ts";
import {
  certificateDer,
  createServiceCertificate,
  endorseNodeCertificate,
  generateKeyPairPem,
  type Issuer,
} from "./certificates.ts";
import { createSignFunction, unwrapKey, wrapKey } from "./node-crypto.ts";

/** Validity of the service certificate in days; a vote renews it. */
export const SERVICE_CERTIFICATE_DAYS = 365;
/** Validity of an endorsed node certificate in days; each start of a node makes a new one. */
export const NODE_CERTIFICATE_DAYS = 90;
/** Most endorsed certificates kept for receipts. */
export const ENDORSED_CERTIFICATES_MAX = 128;

const WRAP_CONTEXT = utf8Encode("coco epoch key v1");
const SERVICE_KEY_INFO = "coco service key v1";
const ZERO_NONCE = new Uint8Array(12);
const DAY_MS = 86_400_000;

/** What binds a wrapped epoch key to its place. */
function wrapContext(networkId: string, epoch: number, nodeId: NodeId): Bytes {
  return concatBytes(WRAP_CONTEXT, fromHex(networkId), new ByteWriter(8).u64(epoch).finish(), fromHex(nodeId));
}

/** What the functions of this module need. */
export interface ServiceKeyPorts {
  readonly crypto: Crypto;
  readonly entropy: Entropy;
  readonly clock: Clock;
}

/** A key used once per epoch, so that the nonce of its only message may be zero. */
function serviceSealingKey(crypto: Crypto, epochKey: Bytes, networkId: string): Bytes {
  return crypto.hkdf(epochKey, fromHex(networkId), SERVICE_KEY_INFO, 32);
}

/**
 * The transactions a network begins with: its constitution, and the first epoch with a new service identity.
 * @param networkId hex, 32 bytes
 */
export function firstTransactions(genesis: Constitution, networkId: string, ports: ServiceKeyPorts): Bytes[] {
  const { crypto, entropy, clock } = ports;
  const epoch = 1;
  const epochKey = entropy.bytes(32);
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: clock.wallTime() - DAY_MS, days: SERVICE_CERTIFICATE_DAYS, entropy };
  const serviceCertificate = certificateDer(createServiceCertificate(privateKey, issuance));
  const secret = new Uint8Array(createPrivateKey(privateKey).export({ type: "pkcs8", format: "der" }));
  const sealedServiceKey = crypto.seal(
    serviceSealingKey(crypto, epochKey, networkId),
    ZERO_NONCE,
    secret,
    serviceCertificate,
  );
  const wraps = genesis.nodes.map(({ nodeId, encryptionKey }) => ({
    nodeId,
    wrapped: wrapKey(encryptionKey, epochKey, wrapContext(networkId, epoch, nodeId), entropy),
  }));
  return [
    encodeAdministrative({ type: "genesis", constitution: genesis }),
    encodeAdministrative({ type: "epoch", epoch, wraps, serviceCertificate, sealedServiceKey }),
  ];
}

/** Opens the key of an epoch that is wrapped to this node; throws `EvidenceRejected` never, `LedgerCorrupt` when it does not open. */
export function openEpochKey(
  record: EpochRecord,
  networkId: string,
  node: { readonly nodeId: NodeId; readonly decryptionKey: KeyObject },
): Bytes {
  const wrap = record.wraps.find((entry) => entry.nodeId === node.nodeId);
  const key = wrap && unwrapKey(node.decryptionKey, wrap.wrapped, wrapContext(networkId, record.epoch, node.nodeId));
  if (key === undefined)
    throw new CocoError("LedgerCorrupt", `the key of epoch ${record.epoch} does not open with this node's key`);
  return key;
}

/** The service identity as this node holds it. */
export class ServiceIdentity {
  /** Service certificate, PEM. */
  readonly certificate: string;
  /** SubjectPublicKeyInfo of the service, DER. */
  readonly publicKey: Bytes;
  /** Signs with the service's key (ECDSA P-256, SHA-256): 64 bytes r ‖ s. */
  readonly sign: (data: Bytes) => Bytes;
  readonly #issuer: Issuer;
  readonly #ports: ServiceKeyPorts;
  readonly #endorsed = new Map<NodeId, string>();

  /** Opens the service key of a governance state that has an epoch; `epochKey` is the newest epoch's. */
  constructor(state: GovernanceState, epochKey: Bytes, ports: ServiceKeyPorts) {
    const { serviceCertificate, epochs, networkId } = state;
    const record = epochs.at(-1);
    const { crypto } = ports;
    const secret =
      record &&
      serviceCertificate &&
      crypto.open(
        serviceSealingKey(crypto, epochKey, networkId),
        ZERO_NONCE,
        record.sealedServiceKey,
        serviceCertificate,
      );
    if (secret === undefined || serviceCertificate === undefined)
      throw new CocoError("LedgerCorrupt", "the service key does not open");
    const key = createPrivateKey({ key: Buffer.from(secret), format: "der", type: "pkcs8" });
    this.publicKey = new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" }));
    this.sign = createSignFunction(key);
    const privateKey = key.export({ type: "pkcs8", format: "pem" }).toString();
    this.certificate = pemOfDer(serviceCertificate, "CERTIFICATE");
    this.#issuer = { certificate: this.certificate, privateKey };
    this.#ports = ports;
  }

  /** Endorses a listed node's public key (SubjectPublicKeyInfo, DER) for these host names and addresses; PEM. */
  endorse(nodeId: NodeId, publicKey: Bytes, hosts: readonly string[]): string {
    const { clock, entropy } = this.#ports;
    const issuance = { notBeforeMs: clock.wallTime() - DAY_MS, days: NODE_CERTIFICATE_DAYS, entropy };
    return endorseNodeCertificate(
      { nodeId, publicKey: pemOfDer(publicKey, "PUBLIC KEY"), hosts },
      this.#issuer,
      issuance,
    );
  }

  /** A certificate of a listed node for receipts; made once. */
  receiptCertificate(nodeId: NodeId, publicKey: Bytes): string {
    const known = this.#endorsed.get(nodeId);
    if (known !== undefined) return known;
    const made = this.endorse(nodeId, publicKey, []);
    if (this.#endorsed.size >= ENDORSED_CERTIFICATES_MAX) this.#endorsed.clear();
    this.#endorsed.set(nodeId, made);
    return made;
  }
}

/** Node id bytes of a batch's signer as hex. */
export function signerId(signer: Bytes): NodeId {
  return toHex(signer);
}
