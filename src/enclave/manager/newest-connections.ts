/**
 * Inbound connections of peers that are to become channels: one of each peer. This node's TEE makes evidence for each, so a peer
 * that opened many would keep it from all others. The newer one counts: the older may be one that a peer lost, and does not know.
 */
import type { NodeId } from "../../core/consensus/types.ts";

/** What can be ended, and tells when it has. */
export interface EndableConnection {
  destroy(): unknown;
  once(event: "close", listener: () => void): unknown;
}

/** See the module's header. */
export class NewestConnections {
  readonly #connections = new Map<NodeId, EndableConnection>();

  /** Takes a connection whose other side has shown that it has the peer's key, and ends the one before it. */
  take(peer: NodeId, connection: EndableConnection): void {
    this.#connections.get(peer)?.destroy();
    this.#connections.set(peer, connection);
    connection.once("close", () => this.release(peer, connection));
  }

  /** A connection is a channel now, or gone: a newer one does not end it. */
  release(peer: NodeId, connection: EndableConnection): void {
    if (this.#connections.get(peer) === connection) this.#connections.delete(peer);
  }
}
