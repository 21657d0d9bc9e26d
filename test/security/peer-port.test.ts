/** What anybody who reaches the port for peers can do to it, without any key, and a listed node that shows no evidence. */
import assert from "node:assert/strict";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { createNodeCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import {
  type ChannelIdentity,
  Channels,
  HANDSHAKE_TIMEOUT_MS,
  INBOUND_HANDSHAKES_MAX,
} from "../../src/enclave/manager/channels.ts";
import { writeFrame } from "../../src/enclave/manager/frame-stream.ts";
import { nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import { systemClock } from "../../src/host/system.ts";

const opened: Socket[] = [];
const closers: (() => void)[] = [];
after(() => {
  for (const socket of opened) socket.destroy();
  for (const close of closers) close();
});

function keyAndCertificate(): { readonly privateKey: string; readonly certificate: string } {
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: Date.now() - 86_400_000, days: 10, entropy: nodeEntropy };
  return { privateKey, certificate: createNodeCertificate("node", privateKey, issuance) };
}

async function peerPort(changes: Partial<ChannelIdentity> = {}): Promise<number> {
  let port = 0;
  const channels = new Channels({
    identity: {
      nodeId: "ff".repeat(32),
      networkId: new Uint8Array(32),
      ...keyAndCertificate(),
      nodeIdOf: () => "00".repeat(32),
      addressOf: () => undefined,
      attest: () => assert.fail("nobody gets that far"),
      appraise: () => assert.fail("nobody gets that far"),
      stillAppraises: () => true,
      ...changes,
    },
    sockets: {
      listen: async (_address, onSocket) => {
        const server = createServer(onSocket);
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        port = (server.address() as AddressInfo).port;
        return { close: () => server.close() };
      },
      connect: () => assert.fail("nobody to connect to"),
    },
    clock: systemClock,
    entropy: nodeEntropy,
    tracer: { event: () => {} },
    events: { channelUp: () => {}, channelDown: () => {}, frame: () => {} },
  });
  await channels.start("127.0.0.1:0", []);
  closers.push(() => channels.close());
  return port;
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  opened.push(socket);
  socket.on("error", () => {});
  socket.resume();
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** A TLS connection of a listed node that has sent its hello, and waits for evidence. */
async function openAsListed(port: number): Promise<TLSSocket> {
  const { privateKey: key, certificate: cert } = keyAndCertificate();
  const socket = tlsConnect({ host: "127.0.0.1", port, key, cert, rejectUnauthorized: false });
  opened.push(socket);
  socket.on("error", () => {});
  socket.resume();
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  // Version, network, challenge.
  writeFrame(socket, Uint8Array.of(1, ...new Uint8Array(64)));
  return socket;
}

describe("the peer port", () => {
  test("closes a connection that does not begin TLS within the time of a handshake", async () => {
    const socket = await open(await peerPort());
    const closed = new Promise<boolean>((resolve) => socket.on("close", () => resolve(true)));
    assert.equal(await Promise.race([closed, delay(HANDSHAKE_TIMEOUT_MS + 2_000, false)]), true, "still open");
  });

  test("holds a bounded number of connections that have not finished their handshake", async () => {
    const port = await peerPort();
    const sockets = await Promise.all(Array.from({ length: 4 * INBOUND_HANDSHAKES_MAX }, () => open(port)));
    await delay(300);
    const held = sockets.filter((socket) => !socket.closed).length;
    assert.ok(held <= INBOUND_HANDSHAKES_MAX, `${held} connections without a handshake are open`);
  });

  test("has evidence made for the newest connection of a listed node only, however many it opens", async () => {
    const waiting = new Set<object>();
    let asked: (() => void) | undefined;
    const port = await peerPort({
      addressOf: () => "node.test:1",
      attest: () => {
        const one = {};
        waiting.add(one);
        asked?.();
        return () => waiting.delete(one);
      },
    });
    const sockets: TLSSocket[] = [];
    for (let count = 0; count < 5; count++) {
      const isAsked = new Promise<void>((resolve) => {
        asked = resolve;
      });
      sockets.push(await openAsListed(port));
      await isAsked;
    }
    const older = sockets.slice(0, -1);
    await Promise.all(
      older.map((socket) => (socket.closed ? undefined : new Promise((resolve) => socket.once("close", resolve)))),
    );
    assert.deepEqual([waiting.size, sockets.at(-1)?.closed], [1, false]);
  });
});
