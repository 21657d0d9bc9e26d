/**
 * Report data: what a validating node has its TEE bind into evidence, so that evidence is good for one purpose only.
 *
 * For a channel (R13) that is one direction of one TLS connection: the network, the sender and its keys, the fresh
 * challenge of the receiver (against replay), the TLS exporter value (against relaying to another connection, RFC 9266)
 * and the constitution the sender follows. The encoding is canonical CBOR, so fields can't run into each other.
 */
import { encodeCbor } from "../core/codec/cbor.ts";
import { fromHex, type Bytes, type HashFunction } from "../core/codec/bytes.ts";
import type { NodeId } from "../core/consensus/types.ts";
import { ENCRYPTION_KEY_BYTES } from "../core/governance/constitution.ts";
import { CocoError } from "../errors.ts";
import { REPORT_DATA_BYTES } from "./evidence.ts";

/** Length of a challenge in bytes. */
export const CHALLENGE_BYTES = 32;
/** Length of the TLS exporter value in bytes. */
export const EXPORTER_BYTES = 32;
/** TLS exporter label (RFC 8446 section 7.5) for channels between validating nodes. */
export const CHANNEL_EXPORTER_LABEL = "EXPORTER-coco-channel-v1";

/** What evidence for a channel is bound to. */
export interface ChannelBinding {
  /** Hex, 32 bytes. */
  readonly networkId: string;
  /** The node that makes the evidence. */
  readonly sender: NodeId;
  /** Its X25519 public key, 32 bytes. */
  readonly senderEncryptionKey: Bytes;
  /** 32 random bytes of the receiver, used once. */
  readonly challenge: Bytes;
  /** 32 bytes exported from the TLS connection under {@link CHANNEL_EXPORTER_LABEL}. */
  readonly exporter: Bytes;
  /** Digest of the constitution the sender follows, 32 bytes. */
  readonly constitutionDigest: Bytes;
}

/** Report data of a channel: SHA-256 of the binding, filled up with zeros to 64 bytes. */
export function channelReportData(binding: ChannelBinding, sha256: HashFunction): Bytes {
  const { senderEncryptionKey, challenge, exporter, constitutionDigest } = binding;
  const lengths =
    senderEncryptionKey.length === ENCRYPTION_KEY_BYTES &&
    challenge.length === CHALLENGE_BYTES &&
    exporter.length === EXPORTER_BYTES &&
    constitutionDigest.length === 32;
  if (!lengths) throw new CocoError("MalformedInput", "channel binding: a field has the wrong length");
  const networkId = fromHex(binding.networkId);
  const sender = fromHex(binding.sender);
  const fields = ["coco channel v1", networkId, sender, senderEncryptionKey, challenge, exporter, constitutionDigest];
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  reportData.set(sha256(encodeCbor(fields)));
  return reportData;
}
