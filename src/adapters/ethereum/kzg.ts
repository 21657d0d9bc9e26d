/**
 * KZG point evaluation for the precompile at address 0x0a. Source: EIP-4844, consensus specs `verify_kzg_proof_impl`.
 * Checks `e(commitment - [y]G1, -G2) * e(proof, [tau]G2 - [z]G2) = 1`. Only [tau]G2 of the trusted setup is needed for it.
 */
import { bls12_381 } from "@noble/curves/bls12-381.js";

/** Order of the scalar field; `z` and `y` are below it. */
const SCALAR_ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;

/** [tau]G2 of Ethereum mainnet's ceremony. */
const TAU_G2 =
  "b5bfd7dd8cdeb128843bc287230af38926187075cbfbefa81009a2ce615ac53d2914e5870cb452d2afaaab24f3499f72" +
  "185cbfee53492714734429b7b38608e23926c911cceceac9a36851477ba4c60b087041de621000edc98edada20c1def2";

const G1 = bls12_381.G1.Point;
const G2 = bls12_381.G2.Point;

type PointG2 = ReturnType<typeof G2.fromHex>;

/** Parsed once at the first use: decompression takes milliseconds and most networks never call the precompile. */
const setup: { tau: PointG2 | undefined } = { tau: undefined };

function tauG2(): PointG2 {
  setup.tau ??= G2.fromHex(TAU_G2);
  return setup.tau;
}

function scalar(hex: string): bigint | undefined {
  const value = BigInt(hex);
  return value < SCALAR_ORDER ? value : undefined;
}

function pointG1(hex: string): ReturnType<typeof G1.fromHex> | undefined {
  try {
    const point = G1.fromHex(hex.slice(2));
    point.assertValidity();
    return point;
  } catch {
    // The point at infinity is a valid commitment, though the library refuses to call it a valid public key.
    return /^0xc0+$/.test(hex) ? G1.ZERO : undefined;
  }
}

/**
 * Whether `proof` shows that the polynomial committed to has the value `y` at `z`. All are `0x` hex: points of 48 bytes
 * (compressed), scalars of 32. Malformed points and scalars make it false.
 */
export function verifyKzgProof(commitment: string, z: string, y: string, proof: string): boolean {
  const zValue = scalar(z);
  const yValue = scalar(y);
  const committed = pointG1(commitment);
  const proven = pointG1(proof);
  if (zValue === undefined || yValue === undefined || committed === undefined || proven === undefined) return false;
  // The library multiplies by 1 <= n < order only.
  const yG1 = yValue === 0n ? G1.ZERO : G1.BASE.multiply(yValue);
  const zG2 = zValue === 0n ? G2.ZERO : G2.BASE.multiply(zValue);
  const left = committed.subtract(yG1);
  const right = tauG2().subtract(zG2);
  const pairs = [
    { g1: left, g2: G2.BASE.negate() },
    { g1: proven, g2: right },
  ].filter((pair) => !pair.g1.is0() && !pair.g2.is0());
  if (pairs.length === 0) return true;
  return bls12_381.fields.Fp12.eql(bls12_381.pairingBatch(pairs), bls12_381.fields.Fp12.ONE);
}
