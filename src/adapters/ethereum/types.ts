/**
 * The words of the Ethereum adapter. Wei amounts are bigint; gas, nonces, block numbers and times (seconds) are numbers
 * (safe integers, refused above 2^53 - 1 when decoded); hashes, addresses, slots and code are byte strings.
 */
import type { Bytes } from "../../core/codec/bytes.ts";

/** Table ids; they stand in the ledger and are never reused. Keys and values are described beside each. */
export const TABLES = {
  /** address(20) -> RLP[nonce, balance, codeHash]; codeHash is empty when there is no code. Empty accounts are absent. */
  accounts: 1,
  /** address(20) ‖ slot(32) -> value without leading zeros; zero is absent. */
  storage: 2,
  /** keccak(code) -> code. */
  code: 3,
  /** block number (u64) -> {@link BlockRecord}. */
  blocks: 4,
  /** block hash -> block number (u64). */
  blockNumbers: 5,
  /** transaction hash -> block number (u64) ‖ index in the block (u32). */
  transactionPlaces: 6,
  /** block number (u64) ‖ index (u32) -> {@link TransactionRecord}. */
  transactions: 7,
  /** one-byte keys of {@link META_KEYS}. */
  meta: 8,
  /** block number (u64) -> view (u64) ‖ sequence number (u64) of its first transaction in the ledger; see ledger-places.ts. */
  ledgerPlaces: 9,
} as const;

/** Keys of the table `meta`. */
export const META_KEYS = {
  /** -> number of the newest block (u64). */
  head: Uint8Array.of(1),
  /** -> replay environment, JSON; only on networks that allow replay. */
  replayEnvironment: Uint8Array.of(2),
} as const;

/** Options of the adapter in the genesis constitution. */
export interface EthereumOptions {
  readonly chainId: number;
  /** Fork rules of the chain; a later change is a vote. */
  readonly hardfork: HardforkName;
  readonly blockGasLimit: number;
  /** Base fee of the first block in wei (EIP-1559 moves it from there). */
  readonly initialBaseFee: bigint;
  readonly coinbase: Bytes;
  /** Genesis block's time, seconds. */
  readonly timestamp: number;
  readonly alloc: readonly GenesisAccount[];
  /** Whether the replay methods are served. Never on a production network. */
  readonly replay: boolean;
}

/** An account of the genesis block. */
export interface GenesisAccount {
  readonly address: Bytes;
  readonly balance: bigint;
  readonly nonce: number;
  readonly code: Bytes;
  readonly storage: readonly { readonly slot: Bytes; readonly value: Bytes }[];
}

/** Fork names in the order of their activation, in EthereumJS's spelling. */
export type HardforkName =
  | "chainstart"
  | "homestead"
  | "tangerineWhistle"
  | "spuriousDragon"
  | "byzantium"
  | "constantinople"
  | "petersburg"
  | "istanbul"
  | "muirGlacier"
  | "berlin"
  | "london"
  | "arrowGlacier"
  | "grayGlacier"
  | "mergeNetsplitBlock"
  | "paris"
  | "shanghai"
  | "cancun"
  | "prague"
  | "osaka";

/** An account; absent accounts read as `undefined`. */
export interface Account {
  readonly nonce: number;
  readonly balance: bigint;
  /** keccak-256 of the code; undefined without code. */
  readonly codeHash: Bytes | undefined;
}

/** EIP-2930 access list. */
export type AccessList = readonly { readonly address: Bytes; readonly storageKeys: readonly Bytes[] }[];

/** EIP-7702 authorization as signed. */
export interface Authorization {
  readonly chainId: bigint;
  readonly address: Bytes;
  readonly nonce: bigint;
  readonly yParity: number;
  readonly r: bigint;
  readonly s: bigint;
}

/** A decoded signed transaction of type 0 to 4; fields a type lacks are undefined or empty. */
export interface SignedTransaction {
  readonly type: 0 | 1 | 2 | 3 | 4;
  /** keccak-256 of the raw form. */
  readonly hash: Bytes;
  /** The canonical EIP-2718 envelope (legacy: the RLP list), without blob sidecar. */
  readonly raw: Bytes;
  /** Undefined for legacy transactions without replay protection (before EIP-155). */
  readonly chainId: number | undefined;
  readonly nonce: number;
  /** Types 0 and 1. */
  readonly gasPrice: bigint | undefined;
  /** Types 2 to 4. */
  readonly maxFeePerGas: bigint | undefined;
  readonly maxPriorityFeePerGas: bigint | undefined;
  readonly gasLimit: number;
  /** Undefined creates a contract. */
  readonly to: Bytes | undefined;
  readonly value: bigint;
  readonly data: Bytes;
  readonly accessList: AccessList;
  readonly maxFeePerBlobGas: bigint | undefined;
  readonly blobVersionedHashes: readonly Bytes[];
  readonly authorizationList: readonly Authorization[];
  /** Legacy: v as signed; others: y parity. */
  readonly v: bigint;
  readonly r: bigint;
  readonly s: bigint;
  /** Recovered from the signature. */
  readonly from: Bytes;
}

/** A log of a receipt. */
export interface Log {
  readonly address: Bytes;
  readonly topics: readonly Bytes[];
  readonly data: Bytes;
}

/** What execution of one transaction yields. */
export interface Receipt {
  readonly type: 0 | 1 | 2 | 3 | 4;
  readonly success: boolean;
  /** Gas of the block up to and including this transaction. */
  readonly cumulativeGasUsed: number;
  readonly gasUsed: number;
  readonly logsBloom: Bytes;
  readonly logs: readonly Log[];
  readonly contractAddress: Bytes | undefined;
  readonly effectiveGasPrice: bigint;
  /** Type 3 only. */
  readonly blobGasUsed: number | undefined;
  readonly blobGasPrice: bigint | undefined;
}

/** A stored transaction. */
export interface TransactionRecord {
  readonly raw: Bytes;
  readonly from: Bytes;
  readonly receipt: Receipt;
}

/** Header of a block, all fields up to Prague (requestsHash). */
export interface BlockHeader {
  readonly parentHash: Bytes;
  readonly ommersHash: Bytes;
  readonly coinbase: Bytes;
  readonly stateRoot: Bytes;
  readonly transactionsRoot: Bytes;
  readonly receiptsRoot: Bytes;
  readonly logsBloom: Bytes;
  readonly difficulty: bigint;
  readonly number: number;
  readonly gasLimit: number;
  readonly gasUsed: number;
  readonly timestamp: number;
  readonly extraData: Bytes;
  /** prevRandao since the Merge. */
  readonly mixHash: Bytes;
  /** 8 bytes. */
  readonly nonce: Bytes;
  readonly baseFeePerGas: bigint | undefined;
  readonly withdrawalsRoot: Bytes | undefined;
  readonly blobGasUsed: number | undefined;
  readonly excessBlobGas: number | undefined;
  readonly parentBeaconBlockRoot: Bytes | undefined;
  readonly requestsHash: Bytes | undefined;
}

/** A stored block: header and its hash, size in bytes of the full RLP block, hashes of its transactions. */
export interface BlockRecord {
  readonly header: BlockHeader;
  readonly hash: Bytes;
  readonly size: number;
  readonly transactionHashes: readonly Bytes[];
}

/** What contracts and the fee rules see of the block they run in. */
export interface BlockEnvironment {
  readonly hardfork: HardforkName;
  readonly number: number;
  readonly timestamp: number;
  readonly coinbase: Bytes;
  readonly gasLimit: number;
  readonly difficulty: bigint;
  readonly prevRandao: Bytes;
  readonly baseFeePerGas: bigint | undefined;
  readonly excessBlobGas: number | undefined;
  readonly parentBeaconBlockRoot: Bytes | undefined;
  /** Hash of an earlier block by number; undefined reads as zero. */
  blockHash(number: number): Bytes | undefined;
}

/** Why a transaction is refused; message and code as go-ethereum words them. */
export interface RpcFault {
  readonly code: number;
  readonly message: string;
  /** `0x` hex, for code 3. */
  readonly data?: string;
}
