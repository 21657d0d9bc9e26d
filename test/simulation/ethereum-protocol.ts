/**
 * The real Ethereum adapter as what a simulated network runs: signed transfers, and contracts that EthereumJS executes. Its
 * promises settle between two events, so that a run stays what its seed says.
 */
import { OWNER } from "./founding.ts";
import type { WrittenKey } from "../../src/core/kv/types.ts";
import { type Bytes, bytesEqual, toHex } from "../../src/core/codec/bytes.ts";
import type { StateReader } from "../../src/adapters/adapter.ts";
import { readHead, readHeadBlock } from "../../src/adapters/ethereum/block.ts";
import { accountAt, transactionLocation } from "../../src/adapters/ethereum/chain.ts";
import { createEthereumAdapter } from "../../src/adapters/ethereum/ethereum-adapter.ts";
import { prepare } from "../../src/adapters/ethereum/prepare.ts";
import { StateTrie } from "../../src/adapters/ethereum/state-trie.ts";
import { type BlockRecord, TABLES } from "../../src/adapters/ethereum/types.ts";
import { invariant } from "../../src/errors.ts";
import { EthereumClient } from "./ethereum-client.ts";
import { ETHEREUM_ENTRY } from "./ethereum-chain.ts";
import type { ReplayedVersion, SimulatedProtocol } from "./protocol.ts";
import type { ReadChecker } from "./read-checker.ts";

const ADDRESS_BYTES = 20;

/** How clients write numbers; zero is written as what is absent. */
function quantity(value: bigint | number): string {
  return BigInt(value) === 0n ? "" : `0x${BigInt(value).toString(16)}`;
}

function noteValues(reads: ReadChecker, state: StateReader, written: readonly WrittenKey[]): void {
  const { version } = state;
  for (const { table, key } of written) {
    if (table === TABLES.accounts) {
      const account = accountAt(state, key);
      reads.changed(version, `balance ${toHex(key)}`, quantity(account?.balance ?? 0));
      reads.changed(version, `nonce ${toHex(key)}`, quantity(account?.nonce ?? 0));
    } else if (table === TABLES.storage) {
      const value = state.get(table, key);
      const slot = `${toHex(key.subarray(0, ADDRESS_BYTES))} ${toHex(key.subarray(ADDRESS_BYTES))}`;
      reads.changed(version, `slot ${slot}`, value === undefined ? "" : quantity(BigInt(`0x${toHex(value)}`)));
    } else if (table === TABLES.meta) reads.changed(version, "head", quantity(readHead(state)));
  }
}

/** Blocks follow each other, hold what the ledger includes, and their state roots are those of the replayed state. */
class ChainCheck {
  readonly #trie = new StateTrie();
  #head: BlockRecord | undefined;

  check({ state, written, included }: ReplayedVersion): void {
    const block = readHeadBlock(state);
    const { number, parentHash, stateRoot } = block.header;
    const expected = this.#head === undefined ? 0 : this.#head.header.number + 1;
    invariant(number === expected, `version ${state.version} has block ${number} instead of ${expected}`);
    invariant(
      this.#head === undefined || bytesEqual(parentHash, this.#head.hash),
      `block ${number} has another parent`,
    );
    const hashes = block.transactionHashes.map(toHex);
    invariant(hashes.join() === included.join(), `block ${number} holds other transactions than the ledger`);
    block.transactionHashes.forEach((hash, index) => {
      const place = transactionLocation(state, hash);
      invariant(
        place?.blockNumber === number && place.index === index,
        `transaction ${toHex(hash)} is found elsewhere`,
      );
    });
    this.#trie.markDirty(written);
    invariant(bytesEqual(this.#trie.root(state), stateRoot), `block ${number} has another state root than its state`);
    this.#head = block;
  }
}

const PROTOCOL: SimulatedProtocol = {
  adapter: ETHEREUM_ENTRY,
  tables: Object.entries(TABLES).map(([name, id]) => ({ id, name: `ethereum.${name}` })),
  prepare,
  isAsynchronous: true,
  createAdapter: createEthereumAdapter(ETHEREUM_ENTRY.options),
  senderOf: () => OWNER,
  idOf: (id: Bytes) => toHex(id),
  createReplayCheck: (reads) => {
    const chain = new ChainCheck();
    return (version) => {
      chain.check(version);
      noteValues(reads, version.state, version.written);
    };
  },
  createClient: (world, name, place) => new EthereumClient(world, name, place),
};

/** The protocol, with its engine in memory: loading it takes turns of the event loop that no seed determines. */
export async function loadEthereumProtocol(): Promise<SimulatedProtocol> {
  await import("../../src/adapters/ethereum/ethereumjs-engine.ts");
  return PROTOCOL;
}
