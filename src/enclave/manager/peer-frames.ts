/** Frames of peers, taken to who has to know. */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { AdapterLanes } from "./adapter-lanes.ts";
import type { Frame } from "./frames.ts";
import type { LeaderDuties } from "./leader-duties.ts";
import type { Leadership } from "./leadership.ts";
import type { LeaseWatch } from "./lease-watch.ts";
import type { Replicator } from "./replicator.ts";
import type { RequestRouter } from "./request-router.ts";

/** Who has to know. */
export interface FrameReceivers {
  readonly replicator: Replicator;
  readonly lanes: AdapterLanes;
  readonly requests: RequestRouter;
  readonly duties: LeaderDuties;
  readonly leadership: Leadership;
  readonly leases: LeaseWatch;
  /** The leader asks for evidence of this node for a challenge. */
  readonly onChallenge: (challenge: Bytes) => void;
}

/** Takes a frame of an attested peer. Throws for one that holds a batch that does not verify. */
export function takeFrame(receivers: FrameReceivers, peer: NodeId, frame: Frame): void {
  const { replicator, lanes, requests, duties, leadership, leases } = receivers;
  switch (frame.type) {
    case "consensus":
      if (!leases.isDeaf(peer, frame.message)) replicator.receive(peer, frame.message);
      return;
    case "forward":
      if (leadership.leads) lanes.byId.get(frame.adapter)?.lane.enqueue(frame.items, peer);
      return;
    case "outcomes":
      if (peer === leadership.leader) lanes.takeOutcomes(frame.adapter, frame.outcomes, false);
      return;
    case "attest":
      if (leadership.serving) duties.attest({ ...frame, nodeId: peer });
      return;
    case "challenge":
      if (peer === leadership.leader) receivers.onChallenge(frame.challenge);
      return;
    default:
      requests.frame(peer, frame);
  }
}
