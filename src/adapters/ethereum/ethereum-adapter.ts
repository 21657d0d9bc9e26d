/**
 * The Ethereum adapter (R35): execution, JSON-RPC and the link between blocks and the ledger, put together behind the
 * adapter contract.
 */
import type { Adapter, AdapterFactory, BatchContext, TableDefinition } from "../adapter.ts";
import { EthereumExecution } from "./adapter-execution.ts";
import { EthereumCalls } from "./calls.ts";
import { LedgerPlaces } from "./ledger-places.ts";
import { parseEthereumOptions } from "./options.ts";
import { EthereumRpc } from "./rpc/ethereum-rpc.ts";
import { TABLES } from "./types.ts";

const TABLE_LIST: readonly TableDefinition[] = Object.entries(TABLES).map(([name, id]) => ({
  id,
  name: `ethereum.${name}`,
}));

/** Makes the Ethereum adapter; options as `parseEthereumOptions` reads them. */
export const createEthereumAdapter: AdapterFactory = (value) => {
  const options = parseEthereumOptions(value);
  return (components): Adapter => {
    const execution = new EthereumExecution(options, components);
    const places = new LedgerPlaces();
    const calls = new EthereumCalls(options, execution.engine, components);
    const rpc = new EthereumRpc({ options, calls, components, transactionId: (hash) => places.transactionId(hash) });
    return {
      tables: TABLE_LIST,
      batchWeight: execution.batchWeight,
      weight: (transaction) => execution.weight(transaction),
      genesis: (state) => execution.genesis(state),
      request: (request, views) => rpc.request(request, views),
      beginBatch: (state, context: BatchContext) => execution.beginBatch(state, context),
      execute: (state, transaction) => execution.execute(state, transaction),
      released: () => execution.released(),
      dropped: () => execution.dropped(),
      endBatch(state) {
        places.writeTo(state);
        return execution.endBatch(state);
      },
      applied: (state, written) => execution.applied(state, [...written]),
      rolledBack: (state, written) => execution.rolledBack(state, written),
      restored(state, recent) {
        execution.restored(state);
        places.restored(state, recent);
        rpc.restored();
      },
      committed(state, batch) {
        places.committed(state, batch);
        rpc.committed(state);
      },
    };
  };
};
