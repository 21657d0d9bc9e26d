/** Bounds of certificates that stand in a constitution. */

/** Largest certificate of an actor, or pinned by a policy, DER, in bytes. */
export const MAX_CERTIFICATE_BYTES = 16 * 1024;
