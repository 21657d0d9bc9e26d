/** Who may change which nodes of a tree. */

/** The right to change pages in place: whoever holds the token a page was made with. Compared by identity. */
export class OwnerToken {
  /** Version of the records its holder writes, below 2^48. */
  readonly version: number;

  constructor(version: number) {
    this.version = version;
  }
}
