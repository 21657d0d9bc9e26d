/**
 * Signing with a key behind PKCS#11, such as one in a hardware security module, through the package `pkcs11js`. It is an
 * optional peer, because it is compiled when it is installed; everything else works without it.
 */
import { createHash } from "node:crypto";
import type { Bytes } from "../core/codec/bytes.ts";
import { COSE_ALGORITHMS, type CoseAlgorithm, type SignFunction } from "../core/governance/cose.ts";
import { CocoError } from "../errors.ts";
import { HASHES } from "./request-signature.ts";

/** The package's name as a value: it is not there to be resolved when this is compiled. */
const PACKAGE: string = "pkcs11js";
const MAX_SIGNATURE_BYTES = 256;

/** Numbers of the standard (PKCS #11 2.40, appendix A). */
const CKF_SERIAL_SESSION = 4;
const CKU_USER = 1;
const CKA_CLASS = 0;
const CKA_LABEL = 3;
const CKO_PRIVATE_KEY = 3;
const CKM_ECDSA = 0x1041;

/** The part of the package that is used. */
interface Pkcs11 {
  load(module: string): void;
  C_Initialize(): void;
  C_Finalize(): void;
  C_GetSlotList(tokenPresent: boolean): readonly Buffer[];
  C_GetTokenInfo(slot: Buffer): { readonly label: string };
  C_OpenSession(slot: Buffer, flags: number): Buffer;
  C_CloseSession(session: Buffer): void;
  C_Login(session: Buffer, user: number, pin: string): void;
  C_FindObjectsInit(session: Buffer, template: readonly { type: number; value: number | string }[]): void;
  C_FindObjects(session: Buffer): Buffer | null;
  C_FindObjectsFinal(session: Buffer): void;
  C_SignInit(session: Buffer, mechanism: { mechanism: number; parameter: null }, key: Buffer): void;
  C_Sign(session: Buffer, data: Buffer, signature: Buffer): Buffer;
}

/** Where a key is. */
export interface ModuleKey {
  /** Path of the library. */
  readonly module: string;
  /** Label of the token; undefined: there is one only. */
  readonly token: string | undefined;
  readonly label: string;
  /** Name of the environment variable with the PIN. */
  readonly pinVariable: string;
  readonly algorithm: CoseAlgorithm;
}

async function loadPackage(): Promise<new () => Pkcs11> {
  try {
    const { default: exported, PKCS11 } = await import(PACKAGE);
    return PKCS11 ?? exported.PKCS11;
  } catch (error) {
    throw new CocoError(
      "SignerFailed",
      `${PACKAGE} is not installed: npm install ${PACKAGE} (it needs a C++ compiler), or sign in two steps with --prepare`,
      {},
      { cause: error },
    );
  }
}

/** What the module says must not carry the PIN into a log: only its own error codes are repeated. */
function failure(what: string, error: unknown): CocoError {
  const name = /CKR_[A-Z_]+/.exec(error instanceof Error ? error.message : "")?.[0];
  return new CocoError("SignerFailed", `PKCS#11: ${what}${name === undefined ? "" : ` (${name})`}`);
}

function attempt<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof CocoError ? error : failure(what, error);
  }
}

/** A function that signs by the module; each call opens the module and closes it again. */
export async function signByModule(key: ModuleKey): Promise<SignFunction> {
  const pin = process.env[key.pinVariable];
  if (pin === undefined || pin === "")
    throw new CocoError("WrongUsage", `the environment variable ${key.pinVariable} has no PIN (--pkcs11-pin-env)`);
  const Module = await loadPackage();
  return (data) => {
    const pkcs11 = new Module();
    attempt(`${key.module} cannot be loaded`, () => pkcs11.load(key.module));
    attempt("the module does not start", () => pkcs11.C_Initialize());
    try {
      return signInSlot(pkcs11, theSlot(pkcs11, key.token), { ...key, pin }, data);
    } finally {
      pkcs11.C_Finalize();
    }
  };
}

/** The one token: a PIN is not tried on others, which might lock them. */
function theSlot(pkcs11: Pkcs11, token: string | undefined): Buffer {
  const slots = attempt("the tokens cannot be listed", () =>
    pkcs11.C_GetSlotList(true).map((slot) => ({ slot, label: pkcs11.C_GetTokenInfo(slot).label.trimEnd() })),
  );
  // A token nobody has set up yet has no label.
  const fitting = slots.filter(({ label }) => (token === undefined ? label !== "" : label === token));
  const [first, ...more] = fitting;
  const labels = slots.map(({ label }) => label || "(without label)").join(", ");
  if (first === undefined)
    throw new CocoError("SignerFailed", `PKCS#11: there is no such token; there are: ${labels || "none"}`);
  if (more.length > 0) throw new CocoError("WrongUsage", `--pkcs11-token is missing: there are ${labels}`);
  return first.slot;
}

function signInSlot(
  pkcs11: Pkcs11,
  slot: Buffer,
  { pin, ...key }: ModuleKey & { readonly pin: string },
  data: Bytes,
): Bytes {
  const session = attempt("the token cannot be opened", () => pkcs11.C_OpenSession(slot, CKF_SERIAL_SESSION));
  try {
    attempt("the token does not take the PIN", () => pkcs11.C_Login(session, CKU_USER, pin));
    const found = attempt("keys cannot be looked for", () => findKey(pkcs11, session, key.label));
    if (found === null)
      throw new CocoError("SignerFailed", `PKCS#11: the token has no private key with the label ${key.label}`);
    const digest = createHash(HASHES[key.algorithm]).update(data).digest();
    const signature = attempt("the key does not sign", () => {
      pkcs11.C_SignInit(session, { mechanism: CKM_ECDSA, parameter: null }, found);
      return pkcs11.C_Sign(session, digest, Buffer.alloc(MAX_SIGNATURE_BYTES));
    });
    if (signature.length !== COSE_ALGORITHMS[key.algorithm].bytes)
      throw new CocoError("SignerFailed", `PKCS#11: the key is not on the curve of the certificate (${key.algorithm})`);
    return new Uint8Array(signature);
  } finally {
    pkcs11.C_CloseSession(session);
  }
}

function findKey(pkcs11: Pkcs11, session: Buffer, label: string): Buffer | null {
  pkcs11.C_FindObjectsInit(session, [
    { type: CKA_CLASS, value: CKO_PRIVATE_KEY },
    { type: CKA_LABEL, value: label },
  ]);
  try {
    return pkcs11.C_FindObjects(session);
  } finally {
    pkcs11.C_FindObjectsFinal(session);
  }
}
