/**
 * Every state one machine can be in, numbered, and what each event makes of it, computed once by the real core.
 *
 * A network of a few machines has millions of states, but each of its machines only thousands: so the search works on
 * numbers, and a core runs only for a pair of state and event that was never seen. It is brought to that state by replaying
 * the events of its life, which are few.
 */
import { createHash } from "node:crypto";
import type {
  Configuration,
  ConsensusMessage,
  LogEntry,
  NodeId,
  Outgoing,
  Role,
} from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { type LocalEvent, perform } from "./actions.ts";
import { entriesText, machineText, plainText } from "./canonical.ts";
import type { CoreOptions } from "./core-options.ts";
import { type Effects, Machine, type Stable } from "./machine.ts";

/** Numbers of events without a message; those of deliveries follow. */
export const EVENT = {
  persist: 0,
  timeout: 1,
  beat: 2,
  reboot: 3,
  tornReboot: 4,
  others: 16,
  deliveries: 256,
} as const;

/** The most entries of a torn write that are tried. */
const TORN_ENTRIES_MAX = 3;

/** What the search needs to know of a local state. */
export interface LocalFacts {
  readonly role: Role;
  readonly term: number;
  /** The term it will not fall below, whatever happens. */
  readonly durableTerm: number;
  /** Writes under way. */
  readonly writes: number;
  /** Torn writes that a crash can leave: 0 for none, else entries of the first write + 1. */
  readonly tornChoices: number;
  /** Number of the log in memory. */
  readonly logId: number;
  /** Number of the log on disk. */
  readonly diskId: number;
  readonly commitIndex: number;
  readonly lastIndex: number;
  /** Whether a message after a long silence could mean something else than one now. */
  readonly hearsLeader: boolean;
  /** Whether a change of membership, or its second step, can be proposed. */
  readonly mayChange: "begin" | "leave" | undefined;
  /** Number of the active configuration. */
  readonly configurationId: number;
}

/** What an event made of a local state. */
export interface Transition {
  readonly next: number;
  /** Numbers of the messages sent. */
  readonly sent: readonly number[];
  readonly committed: readonly LogEntry[];
  readonly leads: boolean;
  readonly dropped: boolean;
}

/** A message on its way. */
export interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly message: ConsensusMessage;
  readonly text: string;
}

/** Numbers things by their text. */
class Numbering<Item> {
  readonly items: Item[] = [];
  readonly #numbers = new Map<string, number>();

  /** The number of a text; a new one gets the item that is made for it. */
  of(text: string, make: () => Item): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    this.#numbers.set(text, this.items.length);
    this.items.push(make());
    return this.items.length - 1;
  }
}

interface LocalState {
  readonly parent: number;
  readonly event: LocalEvent;
  readonly facts: LocalFacts;
}

/** The local states of all machines of one model. */
export class LocalStates {
  readonly messages = new Numbering<Envelope>();
  readonly configurations = new Numbering<Configuration>();
  readonly logs = new Numbering<readonly LogEntry[]>();
  readonly #states = new Numbering<LocalState>();
  readonly #others = new Numbering<LocalEvent>();
  readonly #transitions = new Map<number, Transition>();
  readonly #optionsOf: (id: NodeId) => CoreOptions;

  constructor(optionsOf: (id: NodeId) => CoreOptions) {
    this.#optionsOf = optionsOf;
  }

  /** Local states seen. */
  get count(): number {
    return this.#states.items.length;
  }

  /** Events carried out by a core. */
  get transitionCount(): number {
    return this.#transitions.size;
  }

  /** The state of a machine that starts from a disk. */
  start(id: NodeId, stable: Stable): number {
    const event: LocalEvent = { type: "start", id, stable };
    return this.#number(this.#begin(event), -1, event);
  }

  facts(state: number): LocalFacts {
    return this.#state(state).facts;
  }

  /** Number of an event that is no delivery; the same event always has the same one. */
  eventNumber(key: string, event: LocalEvent): number {
    const number = EVENT.others + this.#others.of(key, () => event);
    invariant(number < EVENT.deliveries, "few events are no deliveries");
    return number;
  }

  /** The event of a number. */
  event(number: number): LocalEvent {
    if (number >= EVENT.deliveries) {
      const envelope = this.messages.items[(number - EVENT.deliveries) >> 1];
      invariant(envelope !== undefined, "the message is known");
      return { type: "deliver", from: envelope.from, message: envelope.message, late: (number & 1) === 1 };
    }
    if (number >= EVENT.others) return this.#others.items[number - EVENT.others] as LocalEvent;
    if (number >= EVENT.tornReboot) return { type: "reboot", torn: number - EVENT.tornReboot };
    if (number === EVENT.reboot) return { type: "reboot", torn: undefined };
    if (number === EVENT.beat) return { type: "beat" };
    return { type: number === EVENT.timeout ? "timeout" : "persist" };
  }

  /** What an event makes of a state; throws what the core, or a check on the machine, throws. */
  transition(state: number, eventNumber: number): Transition {
    const key = state * 0x1000000 + eventNumber;
    const known = this.#transitions.get(key);
    if (known !== undefined) return known;
    const made = this.#make(state, this.event(eventNumber));
    this.#transitions.set(key, made);
    return made;
  }

  #make(state: number, event: LocalEvent): Transition {
    const machine = this.#machineAt(state);
    if (event.type === "reboot") {
      const next = this.start(machine.id, machine.crash(event.torn));
      return { next, sent: [], committed: [], leads: false, dropped: false };
    }
    const effects: Effects = perform(machine, event);
    const sent = effects.sent.map((outgoing) => this.#message(machine.id, outgoing));
    const next = this.#number(machine, state, event);
    return { next, sent, committed: effects.committed, leads: effects.leads, dropped: effects.dropped.length > 0 };
  }

  #message(from: NodeId, { to, message }: Outgoing): number {
    const text = `${from}>${to} ${plainText(message)}`;
    return this.messages.of(text, () => ({ from, to, message, text }));
  }

  #state(state: number): LocalState {
    const found = this.#states.items[state];
    invariant(found !== undefined, "the local state is known");
    return found;
  }

  #begin(event: LocalEvent & { type: "start" }): Machine {
    return new Machine(this.#optionsOf(event.id), event.stable);
  }

  #machineAt(state: number): Machine {
    const events: LocalEvent[] = [];
    let at = this.#state(state);
    for (; at.event.type !== "start"; at = this.#state(at.parent)) events.push(at.event);
    const machine = this.#begin(at.event);
    machine.unchecked = true;
    for (let position = events.length - 1; position >= 0; position--) perform(machine, events[position] as LocalEvent);
    machine.checkAgain();
    return machine;
  }

  #number(machine: Machine, parent: number, event: LocalEvent): number {
    const digest = createHash("md5").update(machineText(machine)).digest("base64");
    return this.#states.of(digest, () => ({ parent, event, facts: this.#factsOf(machine) }));
  }

  #factsOf(machine: Machine): LocalFacts {
    const { role, term, commitIndex, lastIndex, leader, configuration, configurationCommitted } = machine.status;
    const isSimple = configuration.previous === undefined;
    const { writes, log, disk } = machine;
    const first = writes[0];
    const tears = first !== undefined && (first.entries.length > 0 || first.truncateFrom !== undefined);
    return {
      role,
      term,
      durableTerm: machine.hardState?.term ?? 0,
      writes: writes.length,
      tornChoices: tears ? Math.min(first.entries.length, TORN_ENTRIES_MAX) + 1 : 0,
      logId: this.logs.of(entriesText(log), () => [...log]),
      diskId: this.logs.of(entriesText(disk), () => [...disk]),
      commitIndex,
      lastIndex,
      hearsLeader: leader !== undefined && role === "follower",
      mayChange: role !== "leader" || !configurationCommitted ? undefined : isSimple ? "begin" : "leave",
      configurationId: this.configurations.of(JSON.stringify(configuration), () => configuration),
    };
  }
}
