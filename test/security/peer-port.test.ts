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

/** What a test sees of the node behind the port, and may put in. */
interface Inside {
  readonly up?: string[];
  /** Before this node has something random made, which is in the handshake of each connection. */
  readonly onEntropy?: () => void;
}

async function peerPort(changes: Partial<ChannelIdentity> = {}, inside: Inside = {}): Promise<number> {
  return (await startedPort(changes, inside)).port;
}

async function startedPort(changes: Partial<ChannelIdentity>, { up = [], onEntropy }: Inside) {
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
    entropy: {
      bytes: (length) => {
        onEntropy?.();
        return nodeEntropy.bytes(length);
      },
    },
    tracer: { event: () => {} },
    events: {
      channelUp: (peer) => up.push(`up ${peer.slice(0, 2)}`),
      channelDown: (peer) => up.push(`down ${peer.slice(0, 2)}`),
      frame: () => {},
    },
  });
  await channels.start("127.0.0.1:0", []);
  closers.push(() => channels.close());
  return { port, channels };
}

const PEER = "00".repeat(32);
const EVIDENCE = new Uint8Array(10);
const CLAIMS: ReturnType<ChannelIdentity["appraise"]> = {
  ...{ tee: "virtual", measurement: "ab", platform: "cd", reportData: new Uint8Array(64) },
  machineKey: new Uint8Array(32),
} as const;

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

  test("leaves a channel alone when its peer opens another connection that has shown no evidence yet", async () => {
    let asked: (() => void) | undefined;
    let evidence: Uint8Array | undefined = EVIDENCE;
    const changes: Partial<ChannelIdentity> = {
      addressOf: () => "node.test:1",
      attest: (_challenge, _exporter, take) => {
        if (evidence !== undefined) take(evidence);
        asked?.();
        return () => undefined;
      },
      appraise: () => CLAIMS,
    };
    const up: string[] = [];
    const { port, channels } = await startedPort(changes, { up });
    const first = await openAsListed(port);
    writeFrame(first, EVIDENCE);
    while (up.length === 0) await delay(10);
    evidence = undefined;
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    await openAsListed(port);
    await isAsked;
    assert.deepEqual([channels.send(PEER, EVIDENCE), up], [true, ["up 00"]]);
    channels.close();
    assert.equal(channels.send(PEER, EVIDENCE), false, "the channel is gone, though nobody was told yet");
  });

  test("makes no channel of a connection that was ended while its evidence was made", async () => {
    let appraised = 0;
    let finish: (() => void) | undefined;
    let asked: (() => void) | undefined;
    const changes: Partial<ChannelIdentity> = {
      addressOf: () => "node.test:1",
      attest: (_challenge, _exporter, take) => {
        finish = () => take(EVIDENCE);
        asked?.();
        return () => undefined;
      },
      appraise: () => {
        appraised++;
        return CLAIMS;
      },
    };
    const up: string[] = [];
    // The newer connection has just ended the older, which does not know yet; that is when the TEE answers for the older.
    const port = await peerPort(changes, { up, onEntropy: () => finish?.() });
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const older = await openAsListed(port);
    writeFrame(older, EVIDENCE);
    await isAsked;
    // The peer's evidence may come in a piece of its own.
    await delay(100);
    assert.equal(appraised, 0);
    const ended = new Promise((resolve) => older.once("close", resolve));
    await openAsListed(port);
    await ended;
    assert.deepEqual([appraised, up], [0, []]);
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
