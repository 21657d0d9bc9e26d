/** The client port alone, with real TLS and nothing behind it, and clients without manners. */
import assert from "node:assert/strict";
import { type Agent, request as httpsRequest } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { connect } from "node:tls";
import { createNodeCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import { ClientFrontend, type FrontendParts } from "../../src/enclave/manager/frontend.ts";
import { nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import type { Sockets } from "../../src/enclave/ports.ts";

/** A frontend that listens at a port of its own; its certificate serves its clients as well. */
export interface TestFrontend {
  readonly port: number;
  readonly certificate: string;
  readonly privateKey: string;
  readonly front: ClientFrontend;
}

const cleanups: (() => void)[] = [];

/** Closes those that were started. */
export function closeFrontends(): void {
  for (const cleanup of cleanups.splice(0)) cleanup();
}

/** Starts a frontend; what is not given answers everything with a byte. */
export async function frontend(
  authenticate: FrontendParts["authenticate"],
  options: Partial<Pick<FrontendParts, "bytesUnderWayMax" | "handle" | "isSigned">> = {},
): Promise<TestFrontend> {
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: Date.now() - 86_400_000, days: 10, entropy: nodeEntropy };
  const certificate = createNodeCertificate("node", privateKey, issuance);
  const front = new ClientFrontend({
    certificate,
    privateKey,
    authenticate,
    isSigned: () => false,
    handle: (_request, respond) => respond({ status: 200, contentType: "text/plain", body: new Uint8Array(1) }),
    ...options,
  });
  let port = 0;
  const sockets: Sockets = {
    listen: async (_address, onSocket) => {
      const server = createServer(onSocket);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      port = (server.address() as AddressInfo).port;
      return { close: () => server.close() };
    },
    connect: () => assert.fail("a frontend connects nowhere"),
  };
  await front.start("127.0.0.1:0", sockets);
  cleanups.push(() => front.close());
  return { port, certificate, privateKey, front };
}

/** One request without a client certificate, on a connection of its own unless it is given an agent. */
export function stranger(port: number, path: string, body: Buffer, agent: Agent | false = false) {
  return new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const sent = httpsRequest(
      { host: "127.0.0.1", port, path, method: "POST", agent, rejectUnauthorized: false },
      (response) => {
        let text = "";
        response.on("data", (part: Buffer) => {
          text += part.toString();
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

/** What a server answers to bytes that a client writes, until it closes the connection or `answers` are there. */
export async function raw(port: number, keys: object, bytes: string, answers = 2): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...keys }, () => socket.write(bytes));
  let text = "";
  try {
    for await (const data of socket) {
      text += String(data);
      if (text.split("HTTP/1.1 ").length > answers) break;
    }
  } catch {
    // It was cut.
  }
  socket.destroy();
  return text;
}
