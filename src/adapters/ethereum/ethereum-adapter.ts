/**
 * The Ethereum adapter (R35): execution and JSON-RPC put together behind the adapter contract, and the link between blocks
 * and the ledger: which transaction id (`view.seqno`) an Ethereum transaction has.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type {
  Adapter,
  AdapterFactory,
  BatchContext,
  CommittedBatch,
  StateReader,
  TableDefinition,
} from "../adapter.ts";
import { EthereumExecution } from "./adapter-execution.ts";
import { EthereumCalls } from "./calls.ts";
import { readHeadBlock } from "./block.ts";
import { transactionLocation } from "./chain.ts";
import { parseEthereumOptions } from "./options.ts";
import { EthereumRpc } from "./rpc/ethereum-rpc.ts";
import { TABLES } from "./types.ts";

const TABLE_LIST: readonly TableDefinition[] = Object.entries(TABLES).map(([name, id]) => ({
  id,
  name: `ethereum.${name}`,
}));

/** Where the blocks of the chain stand in the ledger: two numbers per block, in block order. */
class LedgerPlaces {
  #numbers = new Float64Array(1024);
  #length = 0;

  /** Records the next block; 0 as sequence number when its transactions cannot be told apart in the ledger. */
  add(view: number, firstSeqno: number): void {
    if (2 * this.#length === this.#numbers.length) {
      const larger = new Float64Array(this.#numbers.length * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[2 * this.#length] = view;
    this.#numbers[2 * this.#length + 1] = firstSeqno;
    this.#length++;
  }

  /** Blocks recorded so far. */
  get length(): number {
    return this.#length;
  }

  /** Transaction id of the transaction at `index` of a block. */
  transactionId(blockNumber: number, index: number): string | undefined {
    const firstSeqno = this.#numbers[2 * blockNumber + 1];
    if (blockNumber >= this.#length || firstSeqno === undefined || firstSeqno === 0) return undefined;
    return `${this.#numbers[2 * blockNumber]}.${firstSeqno + index}`;
  }
}

/** Makes the Ethereum adapter; options as `parseEthereumOptions` reads them. */
export const createEthereumAdapter: AdapterFactory = (value) => {
  const options = parseEthereumOptions(value);
  return (components): Adapter => {
    const execution = new EthereumExecution(options, components);
    const places = new LedgerPlaces();
    let committedState: StateReader | undefined;
    const transactionId = (hash: Bytes): string | undefined => {
      const location = committedState === undefined ? undefined : transactionLocation(committedState, hash);
      return location === undefined ? undefined : places.transactionId(location.blockNumber, location.index);
    };
    const calls = new EthereumCalls(options, execution.engine, components);
    const rpc = new EthereumRpc({ options, calls, components, transactionId });
    const committed = (state: StateReader, batch: CommittedBatch): void => {
      committedState = state;
      const head = readHeadBlock(state);
      if (head.header.number === places.length) {
        // Replay set-up shares batches with transactions; then positions in block and batch differ.
        places.add(batch.view, batch.count === head.transactionHashes.length + 1 ? batch.firstSeqno : 0);
      }
      rpc.committed(state);
    };
    return {
      tables: TABLE_LIST,
      batchWeight: execution.batchWeight,
      weight: (transaction) => execution.weight(transaction),
      genesis: (state) => execution.genesis(state),
      request: (request, views) => rpc.request(request, views),
      beginBatch: (state, context: BatchContext) => execution.beginBatch(state, context),
      execute: (state, transaction) => execution.execute(state, transaction),
      released: () => execution.released(),
      endBatch: (state) => execution.endBatch(state),
      applied: (state, written) => execution.applied(state, written),
      rolledBack: (state, written) => execution.rolledBack(state, written),
      restored: () => {},
      committed,
    };
  };
};
