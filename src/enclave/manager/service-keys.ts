/**
 * The keys all validating nodes share: epoch keys, wrapped in the ledger to each listed node, and the service identity,
 * whose private key the epoch transaction carries sealed under the epoch key. A node learns both from committed
 * transactions only, and can endorse any listed node's certificate.
 */
import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import type { Bytes } from "../../core/codec/bytes.ts";
import { ByteWriter, bytesEqual, concatBytes, fromHex, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import {
  encodeAdministrative,
  type EpochTransaction,
  type GrantTransaction,
} from "../../core/governance/administrative-codec.ts";
import { type EpochRecord, missingEpochs } from "../../core/governance/epochs.ts";
import { nodesInGoodStanding } from "../../core/governance/leases.ts";
import type { Constitution, NodeEntry } from "../../core/governance/constitution.ts";
import { type OfferedService, type ServiceRecord, serviceCertificateOf } from "../../core/governance/service-chain.ts";
import type { EndorsementUse } from "../../core/governance/governance-crypto.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Crypto, Entropy } from "../ports.ts";
import {
  certificateDer,
  createServiceCertificate,
  endorseNodeCertificate,
  endorseServiceCertificate,
  generateKeyPairPem,
  type Issuance,
  type Issuer,
} from "./certificates.ts";
import { createSignFunction } from "./node-crypto.ts";
import { unwrapKey, wrapKey, WRAPPED_KEY_BYTES } from "./key-wrapping.ts";

/** Validity of the service certificate in days; a vote renews it. */
export const SERVICE_CERTIFICATE_DAYS = 365;
/** Validity of an endorsed node certificate in days; each start of a node makes a new one. */
export const NODE_CERTIFICATE_DAYS = 90;
/** Most endorsed certificates kept for receipts. */
export const ENDORSED_CERTIFICATES_MAX = 128;

/** Most rotations back that a client's trust in an older service certificate leads to this node in TLS; receipts hold them all. */
export const TLS_ENDORSEMENTS_MAX = 8;

/** Newest epochs that are searched for the service key. */
export const SERVICE_KEY_EPOCHS_MAX = 8;

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
  const place = { networkId, epoch: 1, nodes: genesis.nodes };
  return [
    encodeAdministrative({ type: "genesis", constitution: genesis }),
    encodeAdministrative(newEpoch(place, newService(ports), ports)),
  ];
}

function serviceIssuance({ clock, entropy }: ServiceKeyPorts): Issuance {
  return { notBeforeMs: clock.wallTime() - DAY_MS, days: SERVICE_CERTIFICATE_DAYS, entropy };
}

function newService(ports: ServiceKeyPorts): ServiceSecret & OfferedService {
  const { privateKey } = generateKeyPairPem();
  const certificate = createServiceCertificate(privateKey, serviceIssuance(ports));
  return { privateKey, serviceCertificate: certificateDer(certificate) };
}

/** A new service identity in place of this one, with the cross certificates that tie the two together. */
function rotatedService(old: ServiceSecret, ports: ServiceKeyPorts): ServiceSecret & OfferedService {
  const service = newService(ports);
  const [before, after] = [old, service].map(({ privateKey, serviceCertificate }) => ({
    privateKey,
    certificate: pemOfDer(serviceCertificate, "CERTIFICATE"),
  })) as [Issuer, Issuer];
  const cross = (subject: Issuer, issuer: Issuer, use: EndorsementUse): Bytes =>
    certificateDer(endorseServiceCertificate(subject.certificate, issuer, serviceIssuance(ports), use));
  const endorsement = cross(after, before, "service");
  return { ...service, endorsement, backEndorsement: cross(before, after, "documents") };
}

/**
 * The next epoch of a network that has one: a new random key, wrapped to each listed node that is not quarantined, with the service
 * identity sealed under it, a new one when a rotation is due. The state is the newest of the log; nothing of the keys is kept
 * here: this node, too, takes them from the ledger. `service` is the identity in force.
 */
export function createEpoch(
  state: GovernanceState,
  service: ServiceIdentity,
  ports: ServiceKeyPorts,
): EpochTransaction {
  const { networkId, epochs } = state;
  const carried = state.serviceRotationDue ? rotatedService(service.secret, ports) : service.secret;
  return newEpoch({ networkId, epoch: epochs.length + 1, nodes: nodesInGoodStanding(state) }, carried, ports);
}

function newEpoch(
  place: { readonly networkId: string; readonly epoch: number; readonly nodes: readonly NodeEntry[] },
  { privateKey, ...service }: ServiceSecret & OfferedService,
  { crypto, entropy }: ServiceKeyPorts,
): EpochTransaction {
  const { networkId, epoch, nodes } = place;
  const { serviceCertificate } = service;
  const epochKey = entropy.bytes(32);
  const secret = new Uint8Array(createPrivateKey(privateKey).export({ type: "pkcs8", format: "der" }));
  const sealingKey = serviceSealingKey(crypto, epochKey, networkId);
  const sealedServiceKey = crypto.seal(sealingKey, ZERO_NONCE, secret, serviceCertificate);
  const wraps = nodes.map((node) => ({
    nodeId: node.nodeId,
    wrapped: wrapFor(node, epochKey, { networkId, epoch }, entropy),
  }));
  for (const bytes of [epochKey, sealingKey, secret]) bytes.fill(0);
  return { type: "epoch", epoch, wraps, ...service, sealedServiceKey };
}

/** A node whose listed key is of no use gets a wrap that opens to nobody: it must not keep all others from a new epoch. */
function wrapFor(
  { nodeId, encryptionKey }: NodeEntry,
  epochKey: Bytes,
  { networkId, epoch }: { readonly networkId: string; readonly epoch: number },
  entropy: Entropy,
): Bytes {
  try {
    return wrapKey(encryptionKey, epochKey, wrapContext(networkId, epoch, nodeId), entropy);
  } catch (error) {
    if (error instanceof CocoError && error.code === "MalformedInput") return entropy.bytes(WRAPPED_KEY_BYTES);
    throw error;
  }
}

/**
 * A grant of the keys a listed node lacks, as far as this node has them and one grant holds them; undefined when there is
 * nothing to grant.
 */
export function createGrant(
  state: GovernanceState,
  nodeId: NodeId,
  keyOf: (epoch: number) => Bytes | undefined,
  { entropy }: Pick<ServiceKeyPorts, "entropy">,
): GrantTransaction | undefined {
  const node = state.constitution.nodes.find((entry) => entry.nodeId === nodeId);
  if (node === undefined) return undefined;
  const { networkId } = state;
  const keys = missingEpochs(state, nodeId).flatMap((epoch) => {
    const key = keyOf(epoch);
    return key === undefined ? [] : [{ epoch, wrapped: wrapFor(node, key, { networkId, epoch }, entropy) }];
  });
  return keys.length === 0 ? undefined : { type: "grant", nodeId, keys };
}

/**
 * The key of an epoch as it is wrapped to this node, at its opening or by a grant since; undefined when it is not, or when
 * the wrap does not open with this node's key. Whoever made the epoch may have wrapped anything: that must cost this node
 * the key and not its life.
 */
export function openEpochKey(
  record: Pick<EpochRecord, "epoch" | "wraps">,
  networkId: string,
  node: { readonly nodeId: NodeId; readonly decryptionKey: KeyObject },
): Bytes | undefined {
  const wrap = record.wraps.find((entry) => entry.nodeId === node.nodeId);
  if (wrap === undefined) return undefined;
  return unwrapKey(node.decryptionKey, wrap.wrapped, wrapContext(networkId, record.epoch, node.nodeId));
}

/** What leads from the newest identity to those before it, newest first; PEM. */
export function endorsementsOf(services: readonly ServiceRecord[]): readonly string[] {
  return services
    .toReversed()
    .flatMap(({ endorsement }) => (endorsement === undefined ? [] : [pemOfDer(endorsement, "CERTIFICATE")]));
}

/** What leads from the oldest identity to those after it, oldest first; PEM. */
export function backEndorsementsOf(services: readonly ServiceRecord[]): readonly string[] {
  return services.flatMap(({ backEndorsement }) =>
    backEndorsement === undefined ? [] : [pemOfDer(backEndorsement, "CERTIFICATE")],
  );
}

/** The private half of the service identity. */
interface ServiceSecret {
  /** PEM. */
  readonly privateKey: string;
  /** DER. */
  readonly serviceCertificate: Bytes;
}

/** The service key that an epoch carries for a certificate, PEM; undefined when it does not open, or is of another certificate. */
export function openServiceKey(
  { serviceCertificate, sealedServiceKey }: Pick<EpochTransaction, "serviceCertificate" | "sealedServiceKey">,
  networkId: string,
  epochKey: Bytes,
  crypto: Crypto,
): string | undefined {
  const sealingKey = serviceSealingKey(crypto, epochKey, networkId);
  const secret = crypto.open(sealingKey, ZERO_NONCE, sealedServiceKey, serviceCertificate);
  const privateKey = secret && privateKeyOf(secret, pemOfDer(serviceCertificate, "CERTIFICATE"));
  for (const bytes of [sealingKey, secret]) bytes?.fill(0);
  return privateKey;
}

/** Whether an epoch that a peer made carries the private key of its service certificate, for whoever can open the epoch's key. */
export function carriesServiceKey(
  epoch: EpochTransaction,
  networkId: string,
  epochKey: Bytes,
  crypto: Crypto,
): boolean {
  return openServiceKey(epoch, networkId, epochKey, crypto) !== undefined;
}

/** Whether a private key (PKCS #8) is the one of a certificate (PEM): an epoch may hold what its maker liked. */
function privateKeyOf(secret: Bytes, certificate: string): string | undefined {
  try {
    const key = createPrivateKey({ key: Buffer.from(secret), format: "der", type: "pkcs8" });
    return new X509Certificate(certificate).checkPrivateKey(key)
      ? key.export({ type: "pkcs8", format: "pem" }).toString()
      : undefined;
  } catch {
    return undefined;
  }
}

/** A listed node as its service endorses it. */
export interface ServedNode {
  readonly nodeId: NodeId;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Bytes;
  /** DNS names and IP addresses. */
  readonly hosts: readonly string[];
  /** SHA-256 of the evidence recorded of it. */
  readonly evidenceDigest?: Bytes | undefined;
}

/**
 * One service identity as this node holds it: its key is opened from the ledger, and another object takes its place when the
 * identity is rotated.
 */
export class ServiceIdentity {
  /** Service certificate, PEM. */
  readonly certificate: string;
  /** What leads from this identity to each one before it, newest first; PEM. */
  readonly endorsements: readonly string[];
  /** SubjectPublicKeyInfo of the service, DER. */
  readonly publicKey: Bytes;
  /** Signs with the service's key (ECDSA P-256, SHA-256): 64 bytes r ‖ s. */
  readonly sign: (data: Bytes) => Bytes;
  /** For sealing into the next epoch. */
  readonly secret: ServiceSecret;
  readonly #issuer: Issuer;
  readonly #ports: ServiceKeyPorts;
  readonly #endorsed = new Map<NodeId, string>();

  /**
   * Opens the service key of a governance state that has an epoch, from the newest epoch that carries it: whoever made the
   * newest one may have sealed anything. Throws `LedgerCorrupt` when none does.
   */
  constructor(state: GovernanceState, keyOf: (epoch: number) => Bytes | undefined, ports: ServiceKeyPorts) {
    const serviceCertificate = serviceCertificateOf(state);
    if (serviceCertificate === undefined) throw new CocoError("LedgerCorrupt", "there is no service certificate");
    this.certificate = pemOfDer(serviceCertificate, "CERTIFICATE");
    this.endorsements = endorsementsOf(state.services);
    const privateKey = this.#find(state, keyOf, ports.crypto);
    if (privateKey === undefined) throw new CocoError("LedgerCorrupt", "the service key does not open");
    this.secret = { privateKey, serviceCertificate };
    const key = createPrivateKey(privateKey);
    this.publicKey = new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" }));
    this.sign = createSignFunction(key);
    this.#issuer = { certificate: this.certificate, privateKey };
    this.#ports = ports;
  }

  #find(state: GovernanceState, keyOf: (epoch: number) => Bytes | undefined, crypto: Crypto): string | undefined {
    for (const record of state.epochs.slice(-SERVICE_KEY_EPOCHS_MAX).reverse()) {
      const found = this.#inEpoch(state, record, keyOf, crypto);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #inEpoch(
    state: GovernanceState,
    record: EpochRecord,
    keyOf: (epoch: number) => Bytes | undefined,
    crypto: Crypto,
  ): string | undefined {
    const serviceCertificate = serviceCertificateOf(state);
    const epochKey = keyOf(record.epoch);
    if (epochKey === undefined || serviceCertificate === undefined) return undefined;
    const { sealedServiceKey } = record;
    return openServiceKey({ serviceCertificate, sealedServiceKey }, state.networkId, epochKey, crypto);
  }

  /** Whether this is the identity in force; else it was rotated since. */
  isOf(state: GovernanceState): boolean {
    const certificate = serviceCertificateOf(state);
    return certificate !== undefined && bytesEqual(certificate, this.secret.serviceCertificate);
  }

  /**
   * The certificates a node shows its clients: its own, endorsed for these host names and addresses, and what leads from this
   * identity to those that a client may still trust instead. PEM.
   */
  clientChain(node: ServedNode): string {
    const newest = this.endorsements.slice(0, TLS_ENDORSEMENTS_MAX);
    // The self-signed certificate would end a client's search for a path before it reaches the one it trusts.
    const rest = newest.length === 0 ? [this.certificate] : newest;
    return [this.endorse(node), ...rest].join("");
  }

  /** Endorses a listed node's key for its host names and addresses; PEM. */
  endorse({ publicKey, ...node }: ServedNode): string {
    const { clock, entropy } = this.#ports;
    const issuance = { notBeforeMs: clock.wallTime() - DAY_MS, days: NODE_CERTIFICATE_DAYS, entropy };
    return endorseNodeCertificate({ ...node, publicKey: pemOfDer(publicKey, "PUBLIC KEY") }, this.#issuer, issuance);
  }

  /** A certificate of a listed node for receipts; made once. */
  receiptCertificate(nodeId: NodeId, publicKey: Bytes): string {
    const known = this.#endorsed.get(nodeId);
    if (known !== undefined) return known;
    const made = this.endorse({ nodeId, publicKey, hosts: [] });
    if (this.#endorsed.size >= ENDORSED_CERTIFICATES_MAX) this.#endorsed.clear();
    this.#endorsed.set(nodeId, made);
    return made;
  }
}

/** Node id bytes of a batch's signer as hex. */
export function signerId(signer: Bytes): NodeId {
  return toHex(signer);
}
