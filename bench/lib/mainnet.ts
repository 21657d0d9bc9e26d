/** Real blocks of the public network as the requests that replay them: see `test/support/mainnet-block.ts`. */
import { CocoError } from "../../src/errors.ts";
import { keccak256 } from "../../src/adapters/ethereum/keccak.ts";
import { rawOfJson } from "../../src/adapters/ethereum/test-json.ts";
import type { Fields, MainnetBlock, PreStateAccount } from "../../test/support/mainnet-block.ts";
import { hex, type Signed } from "./wallet.ts";

/** Most characters of accounts in one request: far below the limit of a request's body. */
const STATE_CHUNK_LENGTH = 1_500_000;
/** Most slots that go with an account; further ones follow in a continuation. */
const CHUNK_SLOTS = 5_000;

const quantity = (value: unknown): string => `0x${BigInt(String(value)).toString(16)}`;
const wordOf = (value: string): string => `0x${BigInt(value).toString(16).padStart(64, "0")}`;

/** The pre-state as lists of accounts, each for one `coco_replaySetState`, as JSON texts. */
export function stateChunks({ preState, codes }: MainnetBlock): string[] {
  const chunks: string[] = [];
  let waiting: string[] = [];
  let length = 0;
  for (const [address, account] of Object.entries(preState)) {
    for (const text of accountTexts(address, account, codes)) {
      if (length + text.length > STATE_CHUNK_LENGTH && waiting.length > 0) {
        chunks.push(`[${waiting.join(",")}]`);
        waiting = [];
        length = 0;
      }
      waiting.push(text);
      length += text.length + 1;
    }
  }
  if (waiting.length > 0) chunks.push(`[${waiting.join(",")}]`);
  return chunks;
}

function accountTexts(address: string, account: PreStateAccount, codes: MainnetBlock["codes"]): string[] {
  const code = account.code_hash == null ? "0x" : codes[account.code_hash];
  if (code === undefined) throw new CocoError("MalformedInput", `${address}: its code is missing`);
  const slots = Object.entries(account.storage ?? {}).filter(([, value]) => BigInt(value) !== 0n);
  const texts: string[] = [];
  for (let at = 0; at === 0 || at < slots.length; at += CHUNK_SLOTS) {
    const storage = Object.fromEntries(
      slots.slice(at, at + CHUNK_SLOTS).map(([slot, value]) => [wordOf(slot), wordOf(value)]),
    );
    const { nonce, balance } = account;
    texts.push(
      JSON.stringify({ address, reset: at === 0, nonce: quantity(nonce), balance: quantity(balance), code, storage }),
    );
  }
  return texts;
}

/** The raw form of a transaction as JSON-RPC gives it. Throws `MalformedInput` when it has another hash. */
export function signedTransactionOf(json: Fields): Signed {
  const raw = rawOfJson(json);
  const hash = hex(keccak256(raw));
  if (hash === json["hash"]) return { raw: hex(raw), hash };
  throw new CocoError("MalformedInput", `transaction ${String(json["hash"])}: its fields have the hash ${hash}`);
}
