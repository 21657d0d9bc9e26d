/**
 * VN list entries (R6): the tuple of a validating node, signed by its owner together with the name of the network.
 *
 * The name stands for the network because its id does not exist before all entries are signed.
 */
import { encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, toHex, type Bytes } from "../codec/bytes.ts";
import { nodeTupleTree } from "./constitution-codec.ts";
import type { Actor, NodeEntry, NodeTuple } from "./constitution.ts";
import { encodeSign1, parseSign1, type Sign1 } from "./cose.ts";
import { treeToCbor } from "./fields.ts";
import type { GovernanceCrypto, Signer } from "./governance-crypto.ts";
import { CocoError } from "../../errors.ts";

/** COSE content type of a VN list entry. */
export const NODE_ENTRY_CONTENT_TYPE = "application/vnd.coco.node-entry+cbor";

/** What the owner signs: the canonical encoding of the network name and the tuple. */
export function encodeNodeTuple(networkName: string, node: NodeTuple): Bytes {
  return encodeCbor(treeToCbor({ network: networkName, ...nodeTupleTree(node) }));
}

/** The VN list entry of a node, signed by its owner. */
export function signNodeTuple(networkName: string, node: NodeTuple, owner: Signer): NodeEntry {
  const payload = encodeNodeTuple(networkName, node);
  const { algorithm = "ES256", sign } = owner;
  const signature = encodeSign1({ algorithm, contentType: NODE_ENTRY_CONTENT_TYPE, keyId: owner.actor, payload }, sign);
  const { nodeId, address, clientAddress, publicKey, encryptionKey } = node;
  return { nodeId, address, clientAddress, publicKey, encryptionKey, owner: owner.actor, signature };
}

/** Why an entry does not hold, or undefined when its owner signed it for this network. */
export function nodeEntryProblem(
  networkName: string,
  entry: NodeEntry,
  owner: Actor,
  crypto: GovernanceCrypto,
): string | undefined {
  if (toHex(crypto.sha256(entry.publicKey)) !== entry.nodeId) return "node id is not the SHA-256 of the public key";
  const message = readSignature(entry.signature);
  if (message === undefined) return "signature is not a COSE Sign1 message";
  if (message.contentType !== NODE_ENTRY_CONTENT_TYPE) return "signature is of another content type";
  if (message.keyId !== entry.owner || owner.id !== entry.owner) return "signature is by another actor than the owner";
  if (!bytesEqual(message.payload, encodeNodeTuple(networkName, entry)))
    return `signature is over another entry, or for a network of another name than ${networkName}`;
  return isSignedByActor(message, owner, crypto)
    ? undefined
    : "signature does not verify by a certificate of the owner";
}

/** Whether one of an actor's own certificates verifies a message. */
export function isSignedByActor(message: Sign1, actor: Actor, crypto: GovernanceCrypto): boolean {
  return actor.certificates.some((certificate) => {
    const key = crypto.certificateKey(certificate);
    return key !== undefined && crypto.verify(key, message.signedBytes, message.signature);
  });
}

function readSignature(signature: Bytes): Sign1 | undefined {
  try {
    return parseSign1(signature);
  } catch (error) {
    if (error instanceof CocoError && error.code !== "Internal") return undefined;
    throw error;
  }
}
