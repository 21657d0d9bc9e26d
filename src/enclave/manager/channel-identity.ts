/** Who a node is on its channels, and whom it lets be on the other side: by the newest constitution it knows, at any time. */
import { appraise, otherOnMachine, requireAccepted } from "../../attestation/appraise.ts";
import { evidenceRejected, type Claims, type EvidenceCrypto } from "../../attestation/evidence.ts";
import { channelReportData } from "../../attestation/report-data.ts";
import { verifyEvidence } from "../../attestation/verify-evidence.ts";
import { fromHex, toHex } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import { CocoError } from "../../errors.ts";
import type { Crypto } from "../ports.ts";
import type { Administration } from "./administration.ts";
import type { ChannelIdentity } from "./channels.ts";
import type { EvidenceMaker } from "./evidence-maker.ts";
import { type NodeKeys, signingKeyPem } from "./node-keys.ts";

/** What it is made of. */
export interface ChannelIdentityParts {
  readonly keys: NodeKeys;
  /** Hex, 32 bytes. */
  readonly networkId: string;
  /** Self-signed certificate of the node key, PEM. */
  readonly certificate: string;
  readonly evidence: Pick<EvidenceMaker, "make">;
  readonly crypto: Crypto;
  readonly evidenceCrypto: EvidenceCrypto;
  readonly administration: Administration;
  /** The constitution evidence is appraised by. */
  readonly constitution: () => Constitution;
  /** The ledger's clock. */
  readonly now: () => number;
}

/** See the module's header. */
export function createChannelIdentity(parts: ChannelIdentityParts): ChannelIdentity {
  const { keys, networkId, certificate, crypto, evidenceCrypto, administration, constitution, now } = parts;
  const { sha256 } = crypto;
  const digest = fromHex(networkId);
  const binding = { networkId, constitutionDigest: digest };
  const otherThere = (peer: NodeId, claims: Claims, nowMs: number | undefined): NodeId | undefined =>
    otherOnMachine(claims, peer, { constitution: constitution(), attested: administration.attested }, nowMs);
  // A node that was voted out has channels until its vote is taken away: that step may need its acknowledgement.
  const nodeOf = (nodeId: NodeId) => administration.nodeOf(nodeId);
  return {
    nodeId: keys.nodeId,
    networkId: digest,
    certificate,
    privateKey: signingKeyPem(keys),
    nodeIdOf: (publicKey) => toHex(sha256(publicKey)),
    addressOf: (peer) => nodeOf(peer)?.address,
    attest: (challenge, exporter, take) => {
      const own = { ...binding, sender: keys.nodeId, senderEncryptionKey: keys.encryptionKey };
      return parts.evidence.make(channelReportData({ ...own, challenge, exporter }, sha256), take);
    },
    appraise: (peer, evidence, challenge, exporter) => {
      const node = nodeOf(peer);
      if (node === undefined) throw new CocoError("PeerNotListed", `node ${peer} is not in the VN list`);
      const theirs = { ...binding, sender: peer, senderEncryptionKey: node.encryptionKey };
      const expected = channelReportData({ ...theirs, challenge, exporter }, sha256);
      const claims = verifyEvidence(evidence, expected, evidenceCrypto, now());
      requireAccepted(appraise(claims, constitution(), now()));
      const other = otherThere(peer, claims, now());
      if (other !== undefined)
        throw evidenceRejected("MachineInUse", `node ${other} is recorded on the peer's machine`);
      return claims;
    },
    // What ends by its date ends with the expulsion of its nodes, which waits where they are needed.
    stillAppraises: (peer, claims) =>
      appraise(claims, constitution(), undefined).accepted && otherThere(peer, claims, undefined) === undefined,
  };
}
