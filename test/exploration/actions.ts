/** What can happen to one machine in a model, as data; the same event in the same local state always has the same outcome. */
import type { Configuration, ConsensusMessage, NodeId } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { plainText } from "./canonical.ts";
import { ELECTION_MS, HEARTBEAT_MS } from "./core-options.ts";
import type { Effects, Machine, Stable, Torn } from "./machine.ts";

/** An event at one machine. A reboot is a crash and a restart at once: a node that is down does the same as one that is slow. */
export type LocalEvent =
  | { readonly type: "start"; readonly id: NodeId; readonly stable: Stable }
  /** A message arrives; with `late` after an election timeout in which nothing happened. */
  | { readonly type: "deliver"; readonly from: NodeId; readonly message: ConsensusMessage; readonly late: boolean }
  /** The oldest write becomes durable. */
  | { readonly type: "persist" }
  /** An election timeout passes: followers campaign, leaders that hear nobody step down. */
  | { readonly type: "timeout" }
  /** A heartbeat interval passes. */
  | { readonly type: "beat" }
  | { readonly type: "reboot"; readonly torn: Torn }
  | { readonly type: "propose"; readonly label: string }
  | { readonly type: "configure"; readonly configuration: Configuration }
  /** The leader ends a joint configuration. */
  | { readonly type: "leave" }
  | { readonly type: "transfer"; readonly to: NodeId };

/** Longer than any timer. */
const LONG_MS = 10 * ELECTION_MS;

/** Carries out an event other than a start or a reboot. */
export function perform(machine: Machine, event: LocalEvent): Effects {
  switch (event.type) {
    case "deliver":
      return machine.step({ type: "message", from: event.from, message: event.message }, event.late ? LONG_MS : 0);
    case "persist":
      return machine.finishWrite();
    case "timeout":
      return machine.step({ type: "tick" }, LONG_MS);
    case "beat":
      return machine.step({ type: "tick" }, HEARTBEAT_MS);
    case "propose":
      return machine.propose(event.label);
    case "configure":
      return machine.configure(event.configuration);
    case "leave":
      return machine.leave();
    case "transfer":
      return machine.step({ type: "transfer", to: event.to });
    default:
      invariant(false, `${event.type} begins a life`);
  }
}

/** An event as a line of a trace. */
export function showEvent(event: LocalEvent): string {
  switch (event.type) {
    case "start":
      return `starts with ${event.stable.entries.length} entries`;
    case "deliver":
      return `receives${event.late ? ", after a long silence," : ""} from ${event.from} ${plainText(event.message)}`;
    case "reboot":
      return event.torn === undefined
        ? "reboots"
        : `reboots; of its unfinished write ${event.torn} entries are on disk`;
    case "propose":
      return `proposes ${event.label}`;
    case "configure":
      return `proposes the voters ${event.configuration.current.voters.join(" ")}`;
    case "leave":
      return "proposes to end the joint configuration";
    case "transfer":
      return `hands over to ${event.to}`;
    default:
      return event.type;
  }
}
