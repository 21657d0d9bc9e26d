/** The native half of the package `secp256k1`: loading it fails where there is no binary, instead of falling back silently. */
declare module "secp256k1/bindings.js" {
  const bindings: typeof import("secp256k1");
  export default bindings;
}
