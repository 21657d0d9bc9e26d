/**
 * EIP-7702: accounts that lend themselves the code of a contract. A list of signed authorizations is applied before the
 * transaction runs and stays applied even when it fails; an authorization that does not hold is skipped without a trace.
 */
import { type Bytes, concatBytes, EMPTY } from "../../core/codec/bytes.ts";
import { EMPTY_ACCOUNT, type EvmState } from "./evm-state.ts";
import { EXISTING_AUTHORITY_REFUND } from "./gas.ts";
import { authorizationSigner } from "./transactions.ts";
import type { Authorization } from "./types.ts";

const DELEGATION_PREFIX = Uint8Array.of(0xef, 0x01, 0x00);
const DELEGATION_BYTES = 23;

/** The address a delegation points to; undefined when `code` is not a delegation. */
export function delegationOf(code: Bytes): Bytes | undefined {
  if (code.length !== DELEGATION_BYTES || DELEGATION_PREFIX.some((byte, at) => code[at] !== byte)) return undefined;
  return code.subarray(DELEGATION_PREFIX.length);
}

/** What applying a list of authorizations leaves for the rest of the transaction. */
export interface AppliedAuthorizations {
  /** To be added to the refund counter. */
  readonly gasRefund: number;
  /** Authorities, which are warm whether or not their authorization held. */
  readonly warmAddresses: readonly Bytes[];
}

/** Applies the authorizations in order. `chainId` is the network's. */
export function applyAuthorizations(
  list: readonly Authorization[],
  chainId: number,
  state: EvmState,
): AppliedAuthorizations {
  let gasRefund = 0;
  const warmAddresses: Bytes[] = [];
  for (const authorization of list) {
    if (authorization.chainId !== 0n && authorization.chainId !== BigInt(chainId)) continue;
    if (authorization.nonce >= BigInt(Number.MAX_SAFE_INTEGER)) continue;
    const authority = authorizationSigner(authorization);
    if (authority === undefined) continue;
    warmAddresses.push(authority);
    const stored = state.account(authority);
    const account = stored ?? EMPTY_ACCOUNT;
    if (account.codeHash !== undefined && delegationOf(state.codeOf(account.codeHash)) === undefined) continue;
    if (BigInt(account.nonce) !== authorization.nonce) continue;
    if (stored !== undefined) gasRefund += EXISTING_AUTHORITY_REFUND;
    const clears = authorization.address.every((byte) => byte === 0);
    state.setCode(authority, clears ? EMPTY : concatBytes(DELEGATION_PREFIX, authorization.address));
    const changed = state.account(authority) ?? EMPTY_ACCOUNT;
    state.setAccount(authority, { ...changed, nonce: account.nonce + 1 });
  }
  return { gasRefund, warmAddresses };
}
