/** What the workers of adapters tell a node, taken to who has to know. */
import type { FromWorker } from "../worker/protocol.ts";
import type { AdapterLanes, Lane } from "./adapter-lanes.ts";
import type { ArrivedBatches } from "./arrived-batch.ts";
import type { RequestRouter } from "./request-router.ts";
import type { Snapshots } from "./snapshots.ts";

/** Who has to know. */
export interface WorkerMessageReceivers {
  readonly lanes: AdapterLanes;
  readonly arrived: ArrivedBatches;
  readonly requests: RequestRouter;
  readonly snapshots: Snapshots;
}

/** Takes a message of the worker of an adapter that is mounted, or is being imported. */
export function takeWorkerMessage(receivers: WorkerMessageReceivers, lane: Lane, message: FromWorker): void {
  const { lanes, arrived, requests, snapshots } = receivers;
  const { id } = lane.entry;
  switch (message.type) {
    case "ready":
      arrived.mounted(id, message.tables);
      lanes.ready(id);
      return;
    case "unable":
      lanes.unable(id, message.message);
      return;
    case "responses":
      for (const { id: request, response } of message.responses) requests.answer(request, response);
      return;
    case "leader":
      for (const request of message.ids) requests.forLeader(request);
      return;
    case "submit":
      for (const { id: request, items } of message.submissions) {
        // Nobody waits any more for what has no sender: it was answered as timed out, and is not executed.
        const sender = requests.callerOf(request);
        if (sender !== undefined) lane.submissions.submit(request, items, sender);
      }
      return;
    case "executed":
      lane.lane.executed(message);
      return;
    case "snapshotPart":
    case "snapshotUnavailable":
    case "nextPart":
    case "imported":
      snapshots.fromWorker(id, message);
      return;
    case "pong":
    case "log":
    case "failed":
      // Taken by the worker's supervisor.
      return;
  }
}
