/** Numbers of a sandbox that its command line tells, kept apart so that help needs nothing else. */

/** Nodes of a sandbox unless another number is asked for. */
export const DEFAULT_NODES = 3;
/** Most validating nodes of a sandbox. */
export const MAX_SANDBOX_NODES = 7;
/** Base port unless another is asked for: where wallets look for a development node. */
export const DEFAULT_PORT = 8545;
/** Largest base port. */
export const MAX_BASE_PORT = 65_000;
