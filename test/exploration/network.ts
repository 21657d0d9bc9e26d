/**
 * A model's network as rows of numbers: the local state of each machine, the history, what was used of each bound, and the
 * messages on their way, sorted. Says what can happen in a row, and what comes of it.
 *
 * Messages arrive in any order. One that is never delivered is lost, so losses need no action of their own, except to make
 * room; and neither does a delivery without effect, which is a loss. Throws where a property is broken.
 */
import type { Configuration, ConsensusMessage, LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { sameEntry } from "../../src/core/consensus/testing/invariants.ts";
import { invariant } from "../../src/errors.ts";
import { showEvent } from "./actions.ts";
import { joint } from "./core-options.ts";
import { BLANK } from "./machine.ts";
import { commits, type History, historyText, leads, logsMatch, NO_HISTORY, quorumHolds } from "./history.ts";
import { EVENT, LocalStates, type Transition } from "./local-states.ts";
import { type Bounds, coreOptionsIn, type Model } from "./model.ts";

/** Room for messages beyond the bound: a step may send several at once. */
const SPARE_MESSAGES = 6;

const KIND = { deliver: 0, late: 1, twice: 2, drop: 3, local: 4 } as const;

/** Bits of a row's counter per bound. */
const COUNTER_BITS = 4;
const COUNTERS = ["timeouts", "beats", "reboots", "requests", "duplicates", "changes", "transfers"] as const;
type Counter = (typeof COUNTERS)[number];

/** No message. Greater than every number of a message, so that free places sort last. */
const FREE = 0x7fffffff;

const kindOf = (action: number): number => action >>> 26;
const machineOf = (action: number): number => (action >>> 23) & 7;
const argumentOf = (action: number): number => action & 0x7fffff;
const action = (kind: number, machine: number, argument: number): number => (kind << 26) | (machine << 23) | argument;

/** A network of a model. */
export class Network {
  readonly model: Model;
  readonly width: number;
  readonly locals: LocalStates;
  readonly #ids: readonly NodeId[];
  readonly #histories: History[] = [];
  readonly #historyNumbers = new Map<string, number>();
  readonly #matching = new Map<number, boolean>();
  readonly #historyAt: number;
  readonly #countersAt: number;
  readonly #messagesAt: number;

  constructor(model: Model) {
    this.model = model;
    this.#ids = model.machines;
    this.locals = new LocalStates((id) => coreOptionsIn(model, id));
    this.#historyAt = model.machines.length;
    this.#countersAt = this.#historyAt + 1;
    this.#messagesAt = this.#countersAt + 1;
    this.width = this.#messagesAt + model.bounds.inFlight + SPARE_MESSAGES;
  }

  /** The row the search starts from. */
  initial(): Int32Array {
    let row: Int32Array = new Int32Array(this.width).fill(FREE);
    for (const [at, id] of this.#ids.entries()) row[at] = this.locals.start(id, BLANK);
    row[this.#historyAt] = this.#historyNumber(NO_HISTORY);
    row[this.#countersAt] = 0;
    for (const step of this.model.prefix) row = step === "drain" ? this.#drained(row) : this.#prefixed(row, step);
    row[this.#countersAt] = 0;
    return row;
  }

  #prefixed(row: Int32Array, step: string): Int32Array {
    const [verb = "", id = ""] = step.split(" ");
    const machine = this.#ids.indexOf(id);
    const event = verb === "timeout" ? EVENT.timeout : verb === "beat" ? EVENT.beat : this.#request(`before ${step}`);
    return this.#after(row, action(KIND.local, machine, event));
  }

  #drained(row: Int32Array): Int32Array {
    for (let current = row; ; ) {
      const machine = this.#ids.findIndex((_, at) => this.#facts(current, at).writes > 0);
      const message = current[this.#messagesAt] as number;
      if (machine < 0 && message === FREE) return current;
      const next = machine < 0 ? this.#delivery(KIND.deliver, message) : action(KIND.local, machine, EVENT.persist);
      current = this.#after(current, next);
    }
  }

  #after(row: Int32Array, next: number): Int32Array {
    const result = new Int32Array(this.width);
    invariant(this.apply(row, next, result) !== "bounded", "the way to the start is within bounds");
    return result;
  }

  #facts(row: Int32Array, machine: number) {
    return this.locals.facts(row[machine] as number);
  }

  #delivery(kind: number, message: number): number {
    const envelope = this.locals.messages.items[message];
    invariant(envelope !== undefined, "the message is known");
    return action(kind, this.#ids.indexOf(envelope.to), message);
  }

  #request(label: string): number {
    return this.locals.eventNumber(`propose ${label}`, { type: "propose", label });
  }

  #used(row: Int32Array, counter: Counter): number {
    return ((row[this.#countersAt] as number) >>> (COUNTERS.indexOf(counter) * COUNTER_BITS)) & (2 ** COUNTER_BITS - 1);
  }

  #isLeft(row: Int32Array, counter: Counter & keyof Bounds): boolean {
    return this.#used(row, counter) < this.model.bounds[counter];
  }

  /** Everything that can happen in a row, into `actions`; returns how many. */
  actions(row: Int32Array, actions: number[]): number {
    actions.length = 0;
    let inFlight = 0;
    while (this.#messagesAt + inFlight < this.width && row[this.#messagesAt + inFlight] !== FREE) inFlight++;
    const { bounds } = this.model;
    const mayDuplicate = this.#isLeft(row, "duplicates") && inFlight < bounds.inFlight;
    for (let at = 0; at < inFlight; at++) {
      const message = row[this.#messagesAt + at] as number;
      if (at > 0 && row[this.#messagesAt + at - 1] === message) continue;
      const delivery = this.#delivery(KIND.deliver, message);
      actions.push(delivery);
      const envelope = this.locals.messages.items[message];
      if (envelope?.message.type === "vote" && this.#facts(row, machineOf(delivery)).hearsLeader)
        actions.push(this.#delivery(KIND.late, message));
      if (mayDuplicate) actions.push(this.#delivery(KIND.twice, message));
      if (inFlight >= bounds.inFlight) actions.push(this.#delivery(KIND.drop, message));
    }
    for (let machine = 0; machine < this.#ids.length; machine++) {
      const facts = this.#facts(row, machine);
      if (facts.writes > 0) actions.push(action(KIND.local, machine, EVENT.persist));
      if (inFlight < bounds.inFlight) this.#spontaneous(row, machine, actions);
    }
    return actions.length;
  }

  #spontaneous(row: Int32Array, machine: number, actions: number[]): void {
    const { role, term, tornChoices, mayChange } = this.#facts(row, machine);
    const local = (event: number) => actions.push(action(KIND.local, machine, event));
    if (this.#isLeft(row, "timeouts") && (role === "leader" || term < this.model.bounds.term)) local(EVENT.timeout);
    if (this.#isLeft(row, "reboots")) {
      local(EVENT.reboot);
      for (let torn = 0; torn < tornChoices; torn++) local(EVENT.tornReboot + torn);
    }
    if (role !== "leader") return;
    if (this.#isLeft(row, "beats")) local(EVENT.beat);
    if (this.#isLeft(row, "requests")) local(this.#request(`r${this.#used(row, "requests") + 1}`));
    if (mayChange === "leave") local(this.#leave());
    if (mayChange === "begin" && this.#isLeft(row, "changes")) local(this.#change(machine, row));
    if (!this.#isLeft(row, "transfers")) return;
    for (const to of this.#ids) if (to !== this.#ids[machine]) local(this.#transfer(to));
  }

  #change(machine: number, row: Int32Array): number {
    const { configurationId } = this.#facts(row, machine);
    const from = this.locals.configurations.items[configurationId] as Configuration;
    const configuration = joint(from, this.model.target ?? this.model.voters);
    return this.locals.eventNumber(`change ${configurationId}`, { type: "configure", configuration });
  }

  #leave(): number {
    return this.locals.eventNumber("leave", { type: "leave" });
  }

  #transfer(to: NodeId): number {
    return this.locals.eventNumber(`transfer ${to}`, { type: "transfer", to });
  }

  /** What comes of an action, into `into`: a row, one outside the bounds, or nothing that another action would not do. */
  apply(row: Int32Array, next: number, into: Int32Array): "row" | "bounded" | "void" {
    into.set(row);
    const kind = kindOf(next);
    const machine = machineOf(next);
    const argument = argumentOf(next);
    let event = argument;
    if (kind !== KIND.local) {
      if (kind === KIND.twice) this.#count(into, "duplicates");
      else this.#remove(into, argument);
      if (kind === KIND.drop) return "row";
      event = EVENT.deliveries + argument * 2 + (kind === KIND.late ? 1 : 0);
    } else this.#countLocal(into, event);
    const transition = this.locals.transition(row[machine] as number, event);
    const idle = transition.next === row[machine] && transition.sent.length === 0;
    if (idle && transition.committed.length === 0 && event !== EVENT.beat) return "void";
    into[machine] = transition.next;
    if (this.locals.facts(transition.next).term > this.model.bounds.term) return "bounded";
    this.#checkSafety(row, into, machine, transition);
    if (this.locals.facts(transition.next).durableTerm !== this.#facts(row, machine).durableTerm)
      this.#sweep(into, machine);
    return this.#insert(into, transition.sent) ? "row" : "bounded";
  }

  #countLocal(row: Int32Array, event: number): void {
    if (event === EVENT.timeout) this.#count(row, "timeouts");
    else if (event === EVENT.beat) this.#count(row, "beats");
    else if (event >= EVENT.reboot && event < EVENT.others) this.#count(row, "reboots");
    else if (event >= EVENT.others) {
      const { type } = this.locals.event(event);
      if (type === "propose") this.#count(row, "requests");
      else if (type === "configure") this.#count(row, "changes");
      else if (type === "transfer") this.#count(row, "transfers");
    }
  }

  #count(row: Int32Array, counter: Counter): void {
    row[this.#countersAt] = (row[this.#countersAt] as number) + (1 << (COUNTERS.indexOf(counter) * COUNTER_BITS));
  }

  #remove(row: Int32Array, message: number): void {
    let at = this.#messagesAt;
    while (at < this.width && row[at] !== message) at++;
    invariant(at < this.width, "the message is on its way");
    row.copyWithin(at, at + 1);
    row[this.width - 1] = FREE;
  }

  /** Takes away answers that the machine does not heed, since they are of a term that it has left for good. */
  #sweep(row: Int32Array, machine: number): void {
    for (let at = this.width - 1; at >= this.#messagesAt; at--) {
      const message = row[at] as number;
      if (message !== FREE && this.#isUseless(row, machine, message)) this.#remove(row, message);
    }
  }

  #isUseless(row: Int32Array, machine: number, message: number): boolean {
    const envelope = this.locals.messages.items[message];
    if (envelope === undefined || envelope.to !== this.#ids[machine]) return false;
    if (!this.#isSpent(envelope.message, this.#facts(row, machine).durableTerm)) return false;
    const { next, sent } = this.locals.transition(row[machine] as number, EVENT.deliveries + message * 2);
    invariant(next === row[machine] && sent.length === 0, `${envelope.to} heeds an answer of a term that it has left`);
    return true;
  }

  #isSpent(message: ConsensusMessage, durableTerm: number): boolean {
    if (message.type === "appendResponse") return message.term < durableTerm;
    // A pre-vote speaks of the term after the asker's.
    return message.type === "voteResponse" && message.term < durableTerm + (message.preVote ? 1 : 0);
  }

  #insert(row: Int32Array, sent: readonly number[]): boolean {
    for (const message of sent) {
      const envelope = this.locals.messages.items[message];
      const to = this.#ids.indexOf(envelope?.to ?? "");
      if (envelope === undefined || to < 0) continue;
      if (this.#isUseless(row, to, message)) continue;
      if (row[this.width - 1] !== FREE) return false;
      let at = this.width - 1;
      for (; at > this.#messagesAt && (row[at - 1] as number) > message; at--) row[at] = row[at - 1] as number;
      row[at] = message;
    }
    return true;
  }

  #checkSafety(row: Int32Array, into: Int32Array, machine: number, transition: Transition): void {
    const { committed } = transition;
    const facts = this.locals.facts(transition.next);
    if (facts.logId !== this.#facts(row, machine).logId) this.#checkMatching(into, machine, facts.logId);
    if (!transition.leads && committed.length === 0) return;
    const id = this.#ids[machine] as NodeId;
    const log = this.locals.logs.items[facts.logId] as readonly LogEntry[];
    let history = this.#histories[into[this.#historyAt] as number] as History;
    const view = { base: 0, entryAt: (index: number) => log[index - 1] };
    if (transition.leads) history = leads(history, id, facts.term, view);
    const configuration = this.locals.configurations.items[facts.configurationId] as Configuration;
    history = commits(history, committed, facts.term, (entry) => this.#isDurable(into, configuration, entry));
    into[this.#historyAt] = this.#historyNumber(history);
  }

  #isDurable(row: Int32Array, configuration: Configuration, entry: LogEntry): boolean {
    return quorumHolds(configuration, (id) => {
      const { diskId } = this.#facts(row, this.#ids.indexOf(id));
      return sameEntry(this.locals.logs.items[diskId]?.[entry.index - 1], entry);
    });
  }

  #checkMatching(row: Int32Array, machine: number, logId: number): void {
    for (let other = 0; other < this.#ids.length; other++) {
      if (other === machine) continue;
      const otherId = this.#facts(row, other).logId;
      const key = Math.min(logId, otherId) * 0x100000 + Math.max(logId, otherId);
      let match = this.#matching.get(key);
      if (match === undefined) {
        const logOf = (id: number) => this.locals.logs.items[id] as readonly LogEntry[];
        match = logsMatch(logOf(logId), logOf(otherId));
        this.#matching.set(key, match);
      }
      invariant(match, `the logs of ${this.#ids[machine]} and ${this.#ids[other]} do not match`);
    }
  }

  #historyNumber(history: History): number {
    const text = historyText(history);
    const known = this.#historyNumbers.get(text);
    if (known !== undefined) return known;
    this.#historyNumbers.set(text, this.#histories.length);
    this.#histories.push(history);
    return this.#histories.length - 1;
  }

  /** Whether an action can be carried out in a row, for traces from which some were left out. */
  isPossible(row: Int32Array, next: number): boolean {
    if (kindOf(next) === KIND.local) {
      const facts = this.#facts(row, machineOf(next));
      const event = argumentOf(next);
      if (event === EVENT.persist) return facts.writes > 0;
      if (event >= EVENT.tornReboot && event < EVENT.others) return event - EVENT.tornReboot < facts.tornChoices;
      if (event === EVENT.timeout || event === EVENT.reboot) return true;
      return event === this.#leave() ? facts.mayChange === "leave" : facts.role === "leader";
    }
    return row.indexOf(argumentOf(next), this.#messagesAt) >= 0;
  }

  /** An action as a line of a trace. */
  show(next: number): string {
    const id = this.#ids[machineOf(next)] as NodeId;
    const kind = kindOf(next);
    if (kind === KIND.local) return `${id} ${showEvent(this.locals.event(argumentOf(next)))}`;
    const envelope = this.locals.messages.items[argumentOf(next)];
    if (kind === KIND.drop) return `lost: ${envelope?.text}`;
    const event = this.locals.event(EVENT.deliveries + argumentOf(next) * 2 + (kind === KIND.late ? 1 : 0));
    return `${id} ${showEvent(event)}${kind === KIND.twice ? " (and will once more)" : ""}`;
  }
}
