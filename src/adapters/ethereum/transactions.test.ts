import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createTx } from "@ethereumjs/tx";
import { Common, Hardfork, Mainnet } from "@ethereumjs/common";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import fc from "fast-check";
import { type Bytes, concatBytes, EMPTY, fromHex, toHex, utf8Decode } from "../../core/codec/bytes.ts";
import { keccak256 } from "./keccak.ts";
import { decodePrepared, prepare, PREPARED_BYTES_MAX } from "./prepare.ts";
import { SECP256K1_ORDER } from "./recover.ts";
import { bigintOfBytes, bytesOfBigint, bytesOfNumber, type RlpItem, rlpDecode, rlpEncode } from "./rlp.ts";
import { fieldsOfJson } from "./test-json.ts";
import { hexBytes, mainnetBlocks, missing, officialTests } from "./test-vectors.ts";
import {
  authorizationSigner,
  decodeTransaction,
  encodeTransaction,
  senderOf,
  signingHash,
  type TransactionFields,
} from "./transactions.ts";
import type { Authorization } from "./types.ts";

const KEY = keccak256(Uint8Array.of(1));
const SENDER = toHex(keccak256(secp256k1.getPublicKey(KEY, false).subarray(1)).subarray(12));
const ADDRESS = new Uint8Array(20).fill(0xaa);
const HASH = new Uint8Array(32).fill(0x01);

function sign(hash: Bytes): { readonly yParity: number; readonly r: bigint; readonly s: bigint } {
  const bytes = secp256k1.sign(hash, KEY, { prehash: false, format: "recovered" });
  return { yParity: bytes[0] as number, r: bigintOfBytes(bytes.subarray(1, 33)), s: bigintOfBytes(bytes.subarray(33)) };
}

function signTransaction(unsigned: Omit<TransactionFields, "v" | "r" | "s">): Bytes {
  const base = unsigned.type > 0 ? 0n : unsigned.chainId === undefined ? 27n : 35n + 2n * BigInt(unsigned.chainId);
  const draft = { ...unsigned, v: base, r: 1n, s: 1n };
  const { yParity, r, s } = sign(signingHash({ ...draft, raw: encodeTransaction(draft) }));
  return encodeTransaction({ ...unsigned, v: base + BigInt(yParity), r, s });
}

function signAuthorization(): Authorization {
  const message = concatBytes(Uint8Array.of(5), rlpEncode([bytesOfNumber(1), ADDRESS, bytesOfNumber(7)]));
  return { chainId: 1n, address: ADDRESS, nonce: 7n, ...sign(keccak256(message)) };
}

const LEGACY: Omit<TransactionFields, "v" | "r" | "s"> = {
  type: 0,
  chainId: 1,
  nonce: 3,
  gasPrice: 20_000_000_000n,
  maxFeePerGas: undefined,
  maxPriorityFeePerGas: undefined,
  gasLimit: 21_000,
  to: ADDRESS,
  value: 10n ** 18n,
  data: fromHex("00ff"),
  accessList: [],
  maxFeePerBlobGas: undefined,
  blobVersionedHashes: [],
  authorizationList: [],
};
const ACCESS_LIST = [{ address: ADDRESS, storageKeys: [HASH, HASH] }];
const FEE_MARKET = {
  ...LEGACY,
  type: 2,
  gasPrice: undefined,
  maxFeePerGas: 30n,
  maxPriorityFeePerGas: 2n,
  accessList: ACCESS_LIST,
} as const;
const BLOB_HASH = Uint8Array.of(1, ...HASH.subarray(1));

const KINDS = {
  "legacy without replay protection": { ...LEGACY, chainId: undefined },
  "legacy with EIP-155": { ...LEGACY, chainId: 3503995874084926 },
  "contract creation": { ...LEGACY, to: undefined },
  "access list": { ...LEGACY, type: 1, accessList: ACCESS_LIST },
  "fee market": FEE_MARKET,
  blob: { ...FEE_MARKET, type: 3, maxFeePerBlobGas: 5n, blobVersionedHashes: [BLOB_HASH] },
  "set code": { ...FEE_MARKET, type: 4, authorizationList: [signAuthorization()] },
} as const satisfies Record<string, Omit<TransactionFields, "v" | "r" | "s">>;

function refused(raw: Bytes): string {
  const [result] = prepare([raw]);
  assert.equal(result?.type, "invalid");
  const fault = JSON.parse(utf8Decode(result?.type === "invalid" ? result.error : EMPTY)) as {
    code: number;
    message: string;
  };
  assert.equal(fault.code, -32000);
  return fault.message;
}

/** The raw transaction with one field replaced. */
function withField(raw: Bytes, index: number, field: RlpItem): Bytes {
  const prefix = (raw[0] as number) < 0x80 ? raw.subarray(0, 1) : EMPTY;
  const items = [...(rlpDecode(raw.subarray(prefix.length)) as RlpItem[])];
  items[index] = field;
  return rlpEncode(items, prefix);
}

describe("transactions", () => {
  for (const [name, unsigned] of Object.entries(KINDS)) {
    test(`${name}: decodes to what was encoded, with its hash and its sender`, () => {
      const raw = signTransaction(unsigned);
      const decoded = decodeTransaction(raw);
      const { hash, raw: decodedRaw, v, r, s, ...rest } = decoded;
      assert.deepEqual(rest, unsigned);
      assert.deepEqual(encodeTransaction({ ...rest, v, r, s }), raw);
      assert.deepEqual(hash, keccak256(raw));
      assert.equal(decodedRaw, raw);
      assert.equal(toHex(senderOf(decoded)), SENDER);
    });
  }

  test("agree with the independent implementation on the hash that is signed", () => {
    const common = new Common({ chain: Mainnet, hardfork: Hardfork.Prague });
    for (const unsigned of [
      LEGACY,
      KINDS["contract creation"],
      KINDS["access list"],
      KINDS["fee market"],
      KINDS["set code"],
    ]) {
      const oracle = createTx({ type: unsigned.type, ...jsonFields(unsigned) } as Parameters<typeof createTx>[0], {
        common,
      });
      assert.deepEqual(signingHash(decodeTransaction(signTransaction(unsigned))), oracle.getHashedMessageToSign());
    }
  });

  test("that anyone altered decode to something else, are refused, or have another sender", () => {
    const raw = signTransaction(KINDS["set code"]);
    fc.assert(
      fc.property(fc.nat(raw.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const altered = raw.slice();
        altered[at] = (altered[at] as number) ^ flip;
        const [result] = prepare([altered]);
        if (result?.type !== "prepared") return;
        assert.notEqual(toHex(decodePrepared(result.transaction.body).from), SENDER);
      }),
      { numRuns: 300 },
    );
  });
});

function jsonFields(fields: Omit<TransactionFields, "v" | "r" | "s">): Record<string, unknown> {
  const {
    nonce,
    gasPrice,
    maxFeePerGas,
    maxPriorityFeePerGas,
    gasLimit,
    to,
    value,
    data,
    accessList,
    authorizationList,
  } = fields;
  const authorizations = authorizationList.map(({ chainId, address, nonce: authorizationNonce, yParity, r, s }) =>
    [chainId, address, authorizationNonce, BigInt(yParity), r, s].map((field) =>
      typeof field === "bigint" ? bytesOfBigint(field) : field,
    ),
  );
  return {
    ...{ chainId: fields.chainId, nonce, gasPrice, maxFeePerGas, maxPriorityFeePerGas, gasLimit, to, value, data },
    accessList: accessList.map(({ address, storageKeys }) => [address, storageKeys]),
    authorizationList: authorizations,
  };
}

describe("preparing a transaction", () => {
  test("names it by its hash and keeps the sender", () => {
    const raw = signTransaction(FEE_MARKET);
    const [result] = prepare([raw]);
    assert.ok(result?.type === "prepared");
    assert.deepEqual(result.transaction.id, keccak256(raw));
    const decoded = decodePrepared(result.transaction.body);
    assert.equal(toHex(decoded.from), SENDER);
    assert.deepEqual(decoded.raw, raw);
    assert.throws(() => decodePrepared(new Uint8Array(20)), { code: "MalformedInput" });
  });

  test("answers one result per input, in order, whatever the others are", () => {
    const raw = signTransaction(LEGACY);
    assert.deepEqual(
      prepare([raw, EMPTY, raw]).map(({ type }) => type),
      ["prepared", "invalid", "prepared"],
    );
  });

  test("refuses in go-ethereum's words", () => {
    const legacy = signTransaction(LEGACY);
    const feeMarket = signTransaction(FEE_MARKET);
    assert.equal(refused(EMPTY), "typed transaction too short");
    assert.equal(refused(Uint8Array.of(2)), "typed transaction too short");
    assert.equal(refused(Uint8Array.of(5, 0xc0)), "transaction type not supported");
    assert.equal(refused(concatBytes(legacy, Uint8Array.of(0))), "rlp: input contains more than one value");
    assert.equal(refused(rlpEncode([EMPTY])), "rlp: too few elements");
    assert.equal(refused(withField(legacy, 9, EMPTY)), "rlp: input list has too many elements");
    assert.equal(refused(withField(legacy, 3, new Uint8Array(19))), "rlp: input string too short");
    assert.equal(refused(withField(legacy, 0, Uint8Array.of(0))), "rlp: non-canonical integer (leading zero bytes)");
    assert.equal(refused(withField(feeMarket, 8, EMPTY)), "rlp: expected input list");
    assert.match(
      refused(withField(legacy, 5, new Uint8Array(PREPARED_BYTES_MAX))),
      /^oversized data: transaction size \d+, limit 1048576$/,
    );
  });

  test("refuses signatures no key makes, high s, and parities that are neither 0 nor 1", () => {
    const legacy = signTransaction(LEGACY);
    const feeMarket = signTransaction(FEE_MARKET);
    const { s } = decodeTransaction(feeMarket);
    for (const [index, value] of [
      [9, 2n],
      [9, 27n],
      [10, 0n],
      [10, SECP256K1_ORDER],
      [11, 0n],
      [11, SECP256K1_ORDER - s],
    ] as const) {
      assert.equal(refused(withField(feeMarket, index, bytesOfBigint(value))), "invalid sender");
    }
    for (const v of [0n, 1n, 26n, 29n, 34n])
      assert.equal(refused(withField(legacy, 6, bytesOfBigint(v))), "invalid sender");
    assert.equal(refused(withField(feeMarket, 10, Uint8Array.of(5))), "invalid sender", "no point has x = 5");
  });

  test("refuses numbers the node cannot count with", () => {
    const feeMarket = signTransaction(FEE_MARKET);
    for (const index of [1, 4])
      assert.equal(refused(withField(feeMarket, index, bytesOfBigint(2n ** 53n))), "rlp: integer above 2^53 - 1");
    assert.match(refused(withField(feeMarket, 0, bytesOfBigint(2n ** 53n))), /^invalid chain id for signer/);
    assert.match(
      refused(withField(signTransaction(LEGACY), 6, bytesOfBigint(2n ** 60n))),
      /^invalid chain id for signer/,
    );
  });

  test("requires a recipient for blob and set code transactions and the shapes of their lists", () => {
    const blob = signTransaction(KINDS.blob);
    const setCode = signTransaction(KINDS["set code"]);
    for (const raw of [blob, setCode]) assert.equal(refused(withField(raw, 5, EMPTY)), "rlp: input string too short");
    assert.equal(refused(withField(blob, 10, [new Uint8Array(31)])), "rlp: input string too short");
    assert.equal(refused(withField(setCode, 8, [[ADDRESS, [HASH], EMPTY]])), "rlp: input list has too many elements");
    assert.equal(refused(withField(setCode, 9, [[EMPTY, ADDRESS]])), "rlp: too few elements");
    const [authorization] = (rlpDecode(setCode.subarray(1)) as RlpItem[])[9] as RlpItem[][];
    const badParity = (authorization as RlpItem[]).with(3, Uint8Array.of(1, 0));
    assert.equal(refused(withField(setCode, 9, [badParity])), "rlp: input string too long");
  });

  test("recognises a blob transaction with its sidecar, of any size, and says so", () => {
    const fields = rlpDecode(signTransaction(KINDS.blob).subarray(1));
    const blob = new Uint8Array(131072);
    for (const blobs of [[], [blob], [blob, blob]]) {
      assert.match(refused(rlpEncode([fields, blobs, [], []], Uint8Array.of(3))), /^blob sidecars are not supported/);
    }
  });
});

describe("set code authorizations", () => {
  test("name the account that signed them, or none", () => {
    const authorization = signAuthorization();
    assert.equal(toHex(authorizationSigner(authorization) as Bytes), SENDER);
    assert.notEqual(toHex(authorizationSigner({ ...authorization, nonce: 8n }) ?? EMPTY), SENDER);
    assert.equal(authorizationSigner({ ...authorization, yParity: 2 }), undefined);
    assert.equal(authorizationSigner({ ...authorization, s: SECP256K1_ORDER - authorization.s }), undefined);
    assert.equal(authorizationSigner({ ...authorization, r: 0n }), undefined);
  });
});

/** Valid by the protocol, but not countable here: nonces and gas limits are refused above 2^53 - 1. */
const ABOVE_SAFE_INTEGERS = new Set([
  "TransactionWithHighGasLimit63",
  "TransactionWithHighGasLimit63Minus1",
  "TransactionWithHighGasLimit63Plus1",
  "TransactionWithHighGasLimit64Minus1",
  "TransactionWithHighNonce64Minus2",
]);

/** Well-formed and signed, refused by rules of the executor (gas, fees, size of init code): they must decode here. */
const REFUSED_BY_EXECUTOR = new Set([
  "TransactionException.INTRINSIC_GAS_TOO_LOW",
  "TransactionException.GASLIMIT_PRICE_PRODUCT_OVERFLOW",
  "TransactionException.PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS_2",
  "TransactionException.INITCODE_SIZE_EXCEEDED",
]);

interface TransactionTest {
  readonly txbytes: string;
  readonly result: Readonly<
    Record<string, { readonly hash?: string; readonly sender?: string; readonly exception?: string }>
  >;
}

describe("transactions of the official suite, by the rules of the newest fork each names", {
  skip: missing("ethereum-tests.tar.gz"),
}, () => {
  const tests = missing("ethereum-tests.tar.gz") === false ? officialTests<TransactionTest>("TransactionTests") : [];
  const outcomes = tests.map(({ name, test: { txbytes, result } }) => {
    const expected = result["Prague"] ?? result["Cancun"] ?? result["Shanghai"] ?? result["London"] ?? {};
    return { name, raw: hexBytes(txbytes), expected };
  });

  test("valid ones have the hash and sender given", () => {
    const valid = outcomes.filter(
      ({ name, expected }) => expected.hash !== undefined && !ABOVE_SAFE_INTEGERS.has(name),
    );
    for (const { name, raw, expected } of valid) {
      const decoded = decodeTransaction(raw);
      assert.equal(`0x${toHex(decoded.hash)}`, expected.hash, name);
      assert.equal(`0x${toHex(senderOf(decoded))}`, expected.sender, name);
    }
    assert.ok(valid.length >= 40, `${valid.length} valid`);
  });

  test("invalid ones are refused, or show the chain id the executor refuses them for", () => {
    let decodedByRule = 0;
    for (const { name, raw, expected } of outcomes.filter(({ expected: { hash } }) => hash === undefined)) {
      if (REFUSED_BY_EXECUTOR.has(expected.exception ?? "")) {
        const [result] = prepare([raw]);
        if (result?.type === "prepared") decodedByRule++;
        continue;
      }
      const [result] = prepare([raw]);
      if (result?.type === "invalid") continue;
      assert.equal(expected.exception, "TransactionException.INVALID_CHAINID", name);
      assert.ok(![undefined, 1].includes(decodeTransaction(raw).chainId), name);
    }
    assert.equal(decodedByRule, 10);
  });
});

describe("transactions of the public network", { skip: missing("mainnet") }, () => {
  const transactions = missing("mainnet") === false ? mainnetBlocks().flatMap((block) => block.transactions) : [];

  test("encode to the bytes of their hash, decode to the same fields and have the sender given", () => {
    const types = new Set<number>();
    for (const json of transactions) {
      const fields = fieldsOfJson(json);
      const { hash, raw, ...decoded } = decodeTransaction(encodeTransaction(fields));
      assert.equal(`0x${toHex(hash)}`, json["hash"]);
      assert.deepEqual(decoded, fields);
      assert.equal(`0x${toHex(senderOf({ ...decoded, hash, raw }))}`, json["from"]);
      types.add(fields.type);
    }
    assert.ok(
      transactions.length >= 1000 && types.size >= 3,
      `${transactions.length} transactions of ${types.size} types`,
    );
  });
});
