/**
 * A simulated machine with a validating node on it: the real node core on simulated ports. A crash takes everything but
 * the disk and the clock. What an operator would do is done by the machine: a ledger that does not hold is moved away.
 */
import type { ClientResponse, StateReader } from "../../src/adapters/adapter.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { ConsensusStatus, NodeId } from "../../src/core/consensus/types.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import type { SignedMessage } from "../../src/core/governance/proposal.ts";
import type { NodeEntry } from "../../src/core/governance/constitution.ts";
import type { TransactionStatus } from "../../src/core/ledger/tail.ts";
import type { Manager } from "../../src/enclave/manager/manager.ts";
import { hindranceOf } from "../../src/enclave/manager/readiness.ts";
import type { NodeCore } from "../../src/enclave/manager/node-core.ts";
import type { Crypto, PeerTransport } from "../../src/enclave/ports.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import type { FaultCounts } from "./fault-counts.ts";
import { type CrashedAt, type CrashPoint, NODE_ENDED, PortWatch } from "./port-watch.ts";
import { startOnDisk } from "./opened-ledger.ts";
import { ProcessGate } from "./process-gate.ts";
import type { MachineClock } from "./simulated-clock.ts";
import { type OpenedDisk, SimulatedDisk } from "./simulated-disk.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { SimulatedNetwork } from "./simulated-network.ts";
import { assembleProcess, type Life, type ProcessWorld, type Running } from "./simulated-process.ts";

/** What all nodes of a simulation share. */
export interface NodeWorld extends ProcessWorld {
  readonly network: SimulatedNetwork;
  readonly faults: FaultCounts;
  /** Whether the committed constitution lists a node. */
  readonly isMember: (node: NodeId) => boolean;
  /** Whether a node votes in the committed configuration. */
  readonly isVoter: (node: NodeId) => boolean;
  /** Told when a node starts, before anything passes its ports. */
  readonly onStarts: (node: SimulatedNode, watch: PortWatch) => void;
  /** Told when a node ended by itself: by its disk, or at a chosen call through a port. */
  readonly onEnded: (node: SimulatedNode) => void;
}

/** A client's request. */
export interface NodeRequest {
  readonly body: string;
  /** Whose client sends it. */
  readonly actor: string;
  /** The first adapter's unless given. */
  readonly path?: string;
  readonly linearizable?: boolean;
}

/** Seconds over which the times of members' signatures spread: fewer than a request may be ahead of the ledger's clock. */
const GOVERNED_SECONDS = 60;

/** See the module's header. */
export class SimulatedNode {
  readonly id: NodeId;
  readonly name: string;
  readonly disk: SimulatedDisk;
  readonly clock: MachineClock;
  readonly #world: NodeWorld;
  readonly #crypto: Crypto;
  readonly #publicKey: Bytes;
  #life: Life | undefined;
  #running: Running | undefined;
  /** How often members were asked to sign. */
  #governed = 0;
  #transport: PeerTransport | undefined;
  /** Whether a node on this machine ever served: what the service certificate in its folder says. */
  #served = false;
  /** Whether the machine's TEE gives no evidence. */
  teeIsSilent = false;
  /** Starts of the node so far. */
  boots = 0;

  constructor(world: NodeWorld, entry: NodeEntry, parts: { readonly crypto: Crypto; readonly clock: MachineClock }) {
    this.id = entry.nodeId;
    this.#publicKey = entry.publicKey;
    this.name = entry.address.split(".")[0] ?? "";
    this.disk = new SimulatedDisk(world.scheduler, world.faults);
    this.clock = parts.clock;
    this.#world = world;
    this.#crypto = parts.crypto;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Whether it runs and takes its input in. */
  get isAwake(): boolean {
    return this.#running !== undefined && this.#life?.gate.isPaused === false;
  }

  /** What its consensus knows; undefined while it does not run. */
  get status(): ConsensusStatus | undefined {
    return this.#running?.consensus.status();
  }

  /**
   * Whether it holds what it promised: nothing on its disk is damaged or lost, and it does not wait to be told. A node that
   * is down and does not trust its disk will wait.
   */
  get isSound(): boolean {
    const { trustDisk } = this.#world.founded.constitution.settings;
    return !this.disk.hasLost && this.status?.recovering !== true && (trustDisk || this.isRunning);
  }

  /** Whether the node led at some time since then: what it said may be an execution that was not committed. */
  hasLedSince(time: number): boolean {
    return this.status?.role === "leader" || (this.#running?.consensus.stoppedLeadingAt ?? time) >= time;
  }

  /** Transactions of this node's clients without final outcome. */
  get pendingTransactions(): number {
    return this.#running?.core.manager.pendingTransactions ?? 0;
  }

  /** Its manager; undefined while it does not run. */
  get manager(): Manager | undefined {
    return this.#running?.core.manager;
  }

  /** What governance has in effect there; undefined while it does not run. */
  get governance(): GovernanceState | undefined {
    return this.#running?.core.administration.committed;
  }

  /** Requests of clients that are not answered. */
  get openRequests(): number {
    return this.#life?.openRequests ?? 0;
  }

  /** The committed state; undefined while the node does not run. */
  get committedState(): StateReader | undefined {
    return this.committedStateOf(this.#world.protocol.adapter.id);
  }

  /** The committed state of an adapter; undefined while it does not run. */
  committedStateOf(adapterId: number): StateReader | undefined {
    const store = this.#running?.workers.get(adapterId)?.store;
    return store?.reader(store.committedVersion);
  }

  /** Ids of the adapters that run. */
  get adapterIds(): readonly number[] {
    return [...(this.#running?.workers.keys() ?? [])].sort((one, other) => one - other);
  }

  /** One of its workers ends by itself; false when there is none. */
  loseWorker(random: Pick<SeededRandom, "pick">): boolean {
    const workers = [...(this.#running?.workers.values() ?? [])];
    if (workers.length === 0) return false;
    this.#life?.gate.enter(() => random.pick(workers).breakDown());
    return true;
  }

  /** Merkle root over the node's whole log. */
  get root(): Bytes {
    invariant(this.#running, `${this.name} runs`);
    return this.#running.core.tail.root();
  }

  /** What the node says of a transaction id, as its endpoint would; undefined while it does not serve. */
  transactionStatus(view: number, seqno: number): TransactionStatus | undefined {
    if (this.#life?.serving !== true || this.#life.gate.isPaused) return undefined;
    const core = this.#running?.core;
    return core?.tail.status(view, seqno, core.manager.committedSeqno);
  }

  /** The members' requests reach this node, one when the one before is committed; false when it does not take the first. */
  govern(make: (state: GovernanceState, nowMs: number) => readonly SignedMessage[]): boolean {
    const core = this.#running?.core;
    const state = core?.administration.committed;
    if (core === undefined || state === undefined || this.#life?.gate.isPaused !== false) return false;
    try {
      // The ledger's clock stands still after another's leapt ahead: what members sign twice is signed at another second.
      const second = this.#governed++ % GOVERNED_SECONDS;
      return this.#request(make(state, core.sealing.batchTime() + 1000 * second));
    } catch (error) {
      if (error === NODE_ENDED || (error instanceof CocoError && error.code !== "Internal")) return false;
      throw error;
    }
  }

  /** False when the first one is refused at once; when something comes in between later, a proposal waits for its votes. */
  #request([message, ...later]: readonly SignedMessage[]): boolean {
    if (message === undefined) return true;
    let refused = false;
    const { core } = this.#running ?? {};
    this.#life?.watch.pass("client.request", () =>
      core?.manager.govern(message, (answer) => {
        if (answer.type === "committed") this.#request(later);
        else refused = true;
      }),
    );
    return !refused;
  }

  /** Starts the node on what its disk holds. */
  start(): void {
    invariant(this.#life === undefined, `${this.name} does not run yet`);
    const life = this.#begin();
    try {
      this.#running = this.#open(life);
      this.#running.core.manager.start();
      this.#transport = this.#attach(life, this.#running.core);
    } catch (error) {
      if (life.alive) throw error;
    }
  }

  #begin(): Life {
    const { scheduler, trace } = this.#world;
    this.boots++;
    trace.event("starts", this.name, this.disk.length);
    const life: Life = {
      gate: new ProcessGate(scheduler, (input) => this.#take(life, input)),
      watch: new PortWatch((point) => this.#endAt(point)),
      alive: true,
      serving: false,
      openRequests: 0,
    };
    this.#life = life;
    this.#world.onStarts(this, life.watch);
    return life;
  }

  /** Runs an input. What a process throws that ended meanwhile is its end, nothing more. */
  #take(life: Life, input: () => void): void {
    try {
      input();
    } catch (error) {
      if (life.alive || (error !== NODE_ENDED && !(error instanceof CocoError))) throw error;
    }
  }

  #attach(life: Life, { manager }: NodeCore): PeerTransport {
    const { gate, watch } = life;
    const transport = this.#world.network.attach(this.id, {
      channelUp: (peer) => gate.enter(() => watch.pass("transport.channelUp", () => manager.channelUp(peer))),
      channelDown: (peer) => gate.enter(() => watch.pass("transport.channelDown", () => manager.channelDown(peer))),
      frame: (peer, frame, refused) =>
        gate.enter(() => {
          try {
            watch.pass("transport.frame", () => manager.frame(peer, frame));
          } catch (error) {
            if (life.alive) refused(error);
          }
        }),
    });
    return watch.transport(transport);
  }

  /** Opens the disk. */
  #open(life: Life): Running {
    const { disk, name } = this;
    const full = (isFull: boolean): void => this.#running?.core.manager.diskFull(isFull);
    return startOnDisk({
      ...{ name, disk, world: this.#world },
      events: {
        died: (failure) => this.#endByDisk(failure),
        diskFull: (isFull) => life.gate.enter(() => life.watch.pass("disk.diskFull", () => full(isFull))),
      },
      assemble: (opened) => this.#assemble(life, opened),
      isAlive: () => life.alive,
    });
  }

  #endByDisk(failure: string): void {
    this.#world.trace.event(failure, this.name);
    this.end({ silent: false, byItself: true });
  }

  #endAt({ call, phase }: CrashedAt): void {
    this.#world.faults.add(`crash.${phase}.${call}`);
    this.#world.trace.event(`crash ${phase} ${call}`, this.name);
    this.end({ silent: false, byItself: true });
  }

  /** Ends the node at once. `silent`: the peers are not told by a closed connection. */
  end(how: { readonly silent: boolean; readonly byItself: boolean }): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#world.trace.event("ends", this.name);
    life.alive = false;
    life.gate.close();
    life.watch.close();
    this.#running?.core.manager.stop();
    this.disk.crash();
    this.#life = undefined;
    this.#running = undefined;
    this.#transport = undefined;
    this.#world.network.detach(this.id, how.silent);
    if (how.byItself) this.#world.onEnded(this);
  }

  /** Ends the node before or after a call through a port. */
  arm(point: CrashPoint): void {
    this.#life?.watch.arm(point);
  }

  /** No crash is to come any more. */
  disarm(): void {
    this.#life?.watch.disarm();
  }

  /** Stops the process where it is. */
  pause(): void {
    this.#life?.gate.pause();
  }

  /** Lets it go on: everything that came meanwhile arrives at once. */
  resume(): void {
    this.#life?.gate.resume();
  }

  /** Sets how long the process takes for each input, in milliseconds. */
  slowDown(costMs: number): void {
    this.#life?.gate.slowDown(costMs);
  }

  /** A client's request; `undefined` answers a connection that was refused or broke. */
  request(
    { body, actor, path = this.#world.protocol.adapter.mount, linearizable = false }: NodeRequest,
    respond: (response: ClientResponse | undefined) => void,
  ): void {
    const life = this.#life;
    if (life === undefined || !life.serving) {
      respond(undefined);
      return;
    }
    life.openRequests++;
    life.gate.enter(() => {
      const request = { path, body: utf8Encode(body), caller: { actor, certificate: "00" }, linearizable };
      const isReady = this.manager !== undefined && hindranceOf(this.manager) === undefined;
      const answer = (response: ClientResponse): void => {
        life.openRequests--;
        const isPromised = isReady && path === this.#world.protocol.adapter.mount;
        invariant(!isPromised || !saysNotReady(response), `${this.name} is ready, and answers that it is not`);
        if (life.alive) respond(response);
      };
      const { watch } = life;
      watch.pass("client.request", () =>
        this.manager?.request(request, (response) => watch.pass("client.answer", () => answer(response))),
      );
    });
  }

  #assemble(life: Life, opened: OpenedDisk): Running {
    return assembleProcess(this.#world, life, opened, {
      teeIsSilent: () => this.teeIsSilent,
      id: this.id,
      name: this.name,
      publicKey: this.#publicKey,
      crypto: this.#crypto,
      clock: this.clock,
      isFirstBoot: this.boots === 1,
      tookPart: this.#served,
      send: (peer, frame) => this.#transport?.send(peer, frame) ?? false,
      onServing: () => {
        this.#served = true;
      },
      onFatal: (error) => this.#onFatal(life, error),
    });
  }

  /**
   * A node that was voted out has no keys for what comes after: it may end, and stays away. A newcomer that is given entries
   * before it is given their keys ends, and is started again by its operator. Nobody else may end by itself.
   */
  #onFatal(life: Life, error: CocoError): void {
    if (!life.alive) return;
    if (error.code === "DiskFailed") return this.#endByDisk("readError");
    if (error.code === "LedgerCorrupt" && this.disk.hasDamagedSnapshot) return this.#endByDisk("damage found");
    const { isMember, isVoter, faults } = this.#world;
    const isNewcomer = isMember(this.id) && !isVoter(this.id);
    if (error.code !== "NotReady" || (isMember(this.id) && !isNewcomer))
      throw new CocoError("Internal", `${this.name} cannot go on: ${error.message}`, {}, { cause: error });
    faults.add(isNewcomer ? "membership.newcomerEnds" : "membership.removedNodeEnds");
    this.end({ silent: false, byItself: isNewcomer });
  }
}

function saysNotReady({ status, body }: ClientResponse): boolean {
  return status === 503 && utf8Decode(body).includes("NotReady");
}
