/**
 * Simulated clients of the Ethereum adapter: each has an account, signs transfers, creates contracts and calls them, sends a
 * transaction again until there is a receipt, and holds every answer against the ledger.
 *
 * Jobs: one transaction, several in one payload, several in any order so that later nonces wait, bad ones, and reads.
 */
import { type Bytes, EMPTY, fromHex, toHex, utf8Decode } from "../../src/core/codec/bytes.ts";
import { addressOfKey, signedTransaction } from "../../src/adapters/ethereum/test-signing.ts";
import { keccak256 } from "../../src/adapters/ethereum/keccak.ts";
import { invariant } from "../../src/errors.ts";
import { type Answer, ClientRequests, type ClientWorld } from "./client-requests.ts";
import { ACCOUNTS_MAX, COUNTER_ADDRESS, COUNTER_CREATION, keyOfClient } from "./ethereum-chain.ts";
import type { Client } from "./protocol.ts";
import type { SimulatedNode } from "./simulated-node.ts";

const MANY = 6;
/** Share of reads that ask for a linearizable answer. */
const LINEARIZABLE = 0.5;
const WORD_BYTES = 32;
/** What a good transaction may be answered besides its hash: it is under way, or nobody knows what became of it. */
const NO_OUTCOME = /^(already known|request not completed)/;

/** One transaction until there is a receipt. */
interface Pursuit {
  readonly raw: Bytes;
  /** Hex. */
  readonly hash: string;
  readonly creates: boolean;
  /** Whether every transaction with a lower nonce is in the ledger. */
  readonly inOrder: boolean;
  readonly final: () => void;
}

interface RpcAnswer {
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string };
}

function call(method: string, parameters: readonly unknown[]): string {
  return JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: parameters });
}

function prefixed(bytes: Bytes): string {
  return `0x${toHex(bytes)}`;
}

/** What a node answered to one call; undefined when it gave no answer of the adapter's. */
function answerOf({ response }: Answer): RpcAnswer | undefined {
  return response?.status === 200 ? (JSON.parse(utf8Decode(response.body)) as RpcAnswer) : undefined;
}

/** A client; see the module's header. */
export class EthereumClient implements Client {
  readonly #world: ClientWorld;
  readonly #requests: ClientRequests;
  readonly #name: string;
  readonly #key: number;
  readonly #contracts: Bytes[] = [COUNTER_ADDRESS];
  #nonce = 0;
  #stopping = false;
  pending = 0;

  constructor(world: ClientWorld, name: string, place: number) {
    invariant(place < ACCOUNTS_MAX, "every client has an account");
    this.#world = world;
    this.#requests = new ClientRequests(world);
    this.#name = name;
    this.#key = keyOfClient(place);
  }

  start(): void {
    this.#requests.think(() => this.#nextJob());
  }

  finish(): void {
    this.#stopping = true;
  }

  probe(nodes: readonly SimulatedNode[]): void {
    this.#requests.nodes = nodes;
    this.#pursueAll([this.#sign()], () => {});
  }

  #nextJob(): void {
    if (this.#stopping) return;
    const { random } = this.#world.scheduler;
    const done = () => this.#requests.think(() => this.#nextJob());
    const kind = random.next();
    if (kind < 0.45) this.#pursueAll([this.#sign()], done);
    else if (kind < 0.55) this.#sendMany(done);
    else if (kind < 0.65) this.#sendInAnyOrder(done);
    else if (kind < 0.73) this.#sendBad(done);
    else this.#read(done);
  }

  #anyAddress(): Bytes {
    return addressOfKey(keyOfClient(this.#world.scheduler.random.below(ACCOUNTS_MAX)));
  }

  /** The account's next transaction: a transfer, the creation of a contract, or a call of one. */
  #sign(): { readonly raw: Bytes; readonly creates: boolean } {
    const { random } = this.#world.scheduler;
    const nonce = this.#nonce++;
    const kind = random.next();
    if (kind < 0.1) {
      const creation = { nonce, to: undefined, data: COUNTER_CREATION, gasLimit: 200_000 };
      return { raw: signedTransaction(this.#key, creation), creates: true };
    }
    const content =
      kind < 0.5
        ? { to: random.pick(this.#contracts), data: random.bytes(WORD_BYTES) }
        : { to: this.#anyAddress(), value: BigInt(1 + random.below(1_000_000)), gasLimit: 21_000, data: EMPTY };
    return { raw: signedTransaction(this.#key, { nonce, ...content }), creates: false };
  }

  #pursueAll(transactions: readonly { readonly raw: Bytes; readonly creates: boolean }[], done: () => void): void {
    let left = transactions.length;
    const final = () => {
      this.pending--;
      if (--left === 0) done();
    };
    const inOrder = transactions.length === 1;
    for (const { raw, creates } of transactions) {
      this.pending++;
      this.#submit({ raw, creates, hash: toHex(keccak256(raw)), inOrder, final });
    }
  }

  /** Several in one payload; each is then pursued by itself. */
  #sendMany(done: () => void): void {
    const transactions = this.#signSeveral();
    const calls = transactions.map(({ raw }) => call("eth_sendRawTransaction", [prefixed(raw)]));
    this.#requests.send(this.#requests.anyNode(), { body: `[${calls.join()}]` }, () =>
      this.#pursueAll(transactions, done),
    );
  }

  #sendInAnyOrder(done: () => void): void {
    const transactions = this.#signSeveral();
    this.#pursueAll(this.#world.scheduler.random.sample(transactions, transactions.length), done);
  }

  #signSeveral(): { readonly raw: Bytes; readonly creates: boolean }[] {
    return Array.from({ length: 2 + this.#world.scheduler.random.below(MANY) }, () => this.#sign());
  }

  /** A nonce that was used, funds that are not there, or bytes that are no transaction: an error, always. */
  #sendBad(done: () => void): void {
    const { random } = this.#world.scheduler;
    // Before the first transaction no nonce was used.
    const kind = this.#nonce > 0 ? random.below(3) : 1 + random.below(2);
    const to = this.#anyAddress();
    const raw =
      kind === 0
        ? signedTransaction(this.#key, { nonce: 0, to, value: 1n, gasLimit: 21_001 + random.below(1_000) })
        : kind === 1
          ? signedTransaction(this.#key, { nonce: this.#nonce, to, value: 10n ** 30n })
          : random.bytes(40);
    this.#requests.send(
      this.#requests.anyNode(),
      { body: call("eth_sendRawTransaction", [prefixed(raw)]) },
      (answer) => {
        const said = answerOf(answer);
        invariant(said?.result === undefined, `a bad transaction of ${this.#name} was taken`);
        done();
      },
    );
  }

  #submit(pursuit: Pursuit): void {
    const { answerAfter, trace } = this.#world;
    const node = this.#requests.anyNode();
    const { boots } = node;
    const body = call("eth_sendRawTransaction", [prefixed(pursuit.raw)]);
    this.#requests.send(node, { body }, (answer) => {
      const said = answerOf(answer);
      const place = pursuit.hash.slice(0, 8);
      trace.event(`answer ${said?.error?.message ?? typeof said?.result}`, place, answer.response?.status ?? 0);
      const good = said?.error === undefined || NO_OUTCOME.test(said.error.message);
      invariant(good, `${pursuit.hash} is a good transaction but: ${said?.error?.message}`);
      if (said?.result === undefined || !pursuit.inOrder || (answerAfter === "execution" && answer.byLeader)) {
        this.#requests.retry(() => this.#look(pursuit));
        return;
      }
      invariant(said.result === `0x${pursuit.hash}`, `${node.name} names another transaction`);
      const version = this.#world.checker.versionOf(pursuit.hash);
      invariant(version !== undefined, `${node.name} took ${pursuit.hash} in before it was committed`);
      this.#world.checker.reads.acknowledge(version);
      this.#readOwnReceipt(pursuit, node, boots);
    });
  }

  /** What a node answered can be read at that node, unless it started anew since. */
  #readOwnReceipt(pursuit: Pursuit, node: SimulatedNode, boots: number): void {
    this.#askReceipt(pursuit, node, (found, answered) => {
      invariant(found || !answered || node.boots !== boots, `${node.name} has no receipt of ${pursuit.hash}`);
      if (!found) this.#requests.retry(() => this.#look(pursuit));
    });
  }

  /** Looks whether a transaction is committed, and sends it again otherwise. */
  #look(pursuit: Pursuit): void {
    this.#askReceipt(pursuit, this.#requests.anyNode(), (found) => {
      if (!found) this.#requests.retry(() => this.#submit(pursuit));
    });
  }

  #askReceipt(pursuit: Pursuit, node: SimulatedNode, done: (found: boolean, answered: boolean) => void): void {
    const body = call("eth_getTransactionReceipt", [`0x${pursuit.hash}`]);
    this.#requests.send(node, { body }, (answer) => {
      const said = answerOf(answer);
      const receipt = said?.result as { status: string; contractAddress: string | null } | null | undefined;
      if (receipt === null || receipt === undefined) {
        done(false, said?.result === null);
        return;
      }
      const version = this.#world.checker.versionOf(pursuit.hash);
      invariant(version !== undefined, `${node.name} has a receipt of ${pursuit.hash}, which is not committed`);
      invariant(receipt.status === "0x1", `${pursuit.hash} failed`);
      this.#world.checker.reads.acknowledge(version);
      if (pursuit.creates && receipt.contractAddress !== null)
        this.#contracts.push(fromHex(receipt.contractAddress.slice(2)));
      pursuit.final();
      done(true, true);
    });
  }

  /** A call, the name of what it reads, and how its result is written there. */
  #query(): { readonly body: string; readonly key: string; readonly valueIn: (result: string) => string } {
    const { random } = this.#world.scheduler;
    const address = prefixed(this.#anyAddress());
    const contract = prefixed(random.pick(this.#contracts));
    const zero = "0x" + "00".repeat(WORD_BYTES);
    const number = (less: bigint) => (result: string) => {
      const value = BigInt(result) - less;
      return value === 0n ? "" : `0x${value.toString(16)}`;
    };
    const slot = `slot ${contract.slice(2)} ${zero.slice(2)}`;
    const kind = random.below(5);
    if (kind === 0)
      return {
        body: call("eth_getBalance", [address, "latest"]),
        key: `balance ${address.slice(2)}`,
        valueIn: number(0n),
      };
    if (kind === 1)
      return {
        body: call("eth_getTransactionCount", [address, "latest"]),
        key: `nonce ${address.slice(2)}`,
        valueIn: number(0n),
      };
    if (kind === 2)
      return { body: call("eth_getStorageAt", [contract, "0x0", "latest"]), key: slot, valueIn: number(0n) };
    if (kind === 3) return { body: call("eth_blockNumber", []), key: "head", valueIn: number(0n) };
    // The contract answers what its slot would be.
    return { body: call("eth_call", [{ to: contract, data: zero }, "latest"]), key: slot, valueIn: number(1n) };
  }

  /** Reads what is committed at some node; checked as it leaves the node. */
  #read(done: () => void): void {
    const { checker, scheduler } = this.#world;
    const node = this.#requests.anyNode();
    const linearizable = scheduler.random.chance(LINEARIZABLE);
    const began = checker.reads.acknowledged;
    const { body, key, valueIn } = this.#query();
    this.#requests.send(node, { body, linearizable }, done, (response) => {
      const said = answerOf({ response, byLeader: false });
      if (typeof said?.result !== "string") return;
      const value = valueIn(said.result);
      checker.reads.local({ node: node.id, boots: node.boots }, key, value);
      if (linearizable) checker.reads.linearizable(node.name, began, key, value);
    });
  }
}
