/** Asks a node that shows its own certificate, as it does before it serves; who answered is told by the digest of its key. */
import { Agent, request } from "node:https";
import type { TLSSocket } from "node:tls";
import { toHex } from "../../../src/core/codec/bytes.ts";
import { sha256 } from "../../../src/enclave/manager/node-crypto.ts";
import type { Credentials } from "./json-rpc.ts";
import { present } from "./processes.ts";

/** Where a node listens for clients, and as whom it is asked. */
export interface AskedNode {
  readonly clientPort: number;
  readonly credentials: Omit<Credentials, "ca">;
}

/** What `GET /node/recovery` says. */
export interface RecoveryDocument {
  readonly network_id: string;
  readonly recovering: boolean;
  readonly node_id: string;
  readonly nonce: string;
  readonly last_transaction_id: string;
}

/** GET, or POST of a body. */
export function askNode(
  node: AskedNode,
  path: string,
  body?: Uint8Array,
): Promise<{ status: number; json: unknown; id: string }> {
  return new Promise((resolve, reject) => {
    const agent = new Agent({ ...node.credentials, rejectUnauthorized: false });
    const url = `https://127.0.0.1:${node.clientPort}${path}`;
    const sent = request(url, { method: body === undefined ? "GET" : "POST", agent }, (response) => {
      const shown = (response.socket as TLSSocket).getPeerX509Certificate();
      const id = toHex(sha256(present(shown).publicKey.export({ type: "spki", format: "der" })));
      let text = "";
      response.on("data", (part: Buffer) => {
        text += part.toString();
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, json: JSON.parse(text), id }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
