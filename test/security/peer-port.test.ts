/**
 * What anybody who reaches the port for peers can do to it, without any key, and a listed node that shows no evidence; and what
 * one does that has a channel, and sends what is no frame, or frames out of their order.
 */
import assert from "node:assert/strict";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { createNodeCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import {
  type ChannelIdentity,
  Channels,
  HANDSHAKE_FRAME_BYTES_MAX,
  HANDSHAKE_TIMEOUT_MS,
  INBOUND_HANDSHAKES_MAX,
} from "../../src/enclave/manager/channels.ts";
import { MAX_FRAME_BYTES } from "../../src/enclave/manager/frames.ts";
import type { PeerEvents } from "../../src/enclave/ports.ts";
import type { Claims } from "../../src/attestation/evidence.ts";
import { ByteWriter, EMPTY } from "../../src/core/codec/bytes.ts";
import { encodeWriteSet } from "../../src/core/kv/write-set.ts";
import { SnapshotNetwork, SnapshotNode } from "../support/snapshot-node.ts";
import { appendFrame, startCore } from "../support/started-core.ts";
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
  /** Takes what comes over channels. */
  readonly events?: PeerEvents;
}

async function peerPort(changes: Partial<ChannelIdentity> = {}, inside: Inside = {}): Promise<number> {
  return (await startedPort(changes, inside)).port;
}

async function startedPort(changes: Partial<ChannelIdentity>, { up = [], onEntropy, events }: Inside = {}) {
  let port = 0;
  const traced: string[] = [];
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
    tracer: { event: (_level, name) => void traced.push(name) },
    events: events ?? {
      channelUp: (peer) => up.push(`up ${peer.slice(0, 2)}`),
      channelDown: (peer) => up.push(`down ${peer.slice(0, 2)}`),
      frame: () => {},
    },
  });
  await channels.start("127.0.0.1:0", []);
  closers.push(() => channels.close());
  return { port, channels, traced };
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
async function openAsListed(port: number, instead?: () => Uint8Array): Promise<TLSSocket> {
  const { privateKey: key, certificate: cert } = keyAndCertificate();
  const socket = tlsConnect({ host: "127.0.0.1", port, key, cert, rejectUnauthorized: false });
  opened.push(socket);
  socket.on("error", () => {});
  socket.resume();
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  // Version, network, challenge.
  if (instead === undefined) writeFrame(socket, Uint8Array.of(1, ...new Uint8Array(64)));
  else socket.write(instead());
  return socket;
}

/** A network of three, in which a node has a channel to its leader: what it does is what this test lets it send. */
async function withLeader() {
  const network = new SnapshotNetwork();
  const leader = new SnapshotNode(network);
  leader.found();
  for (const value of [1, 2, 3]) {
    const write = encodeWriteSet([{ table: 1, key: Uint8Array.of(1), value: Uint8Array.of(value) }]);
    leader.forge([{ id: EMPTY, publicPart: EMPTY, privatePart: write, claimsDigest: undefined }]);
  }
  const core = startCore(network.upTo(1), [], { hasPeers: true, fatal: [], worker: () => undefined });
  let told: (() => void) | undefined;
  const claims = { tee: "virtual" } as unknown as Claims;
  const { channels, port, traced } = await startedPort(
    {
      nodeIdOf: () => leader.nodeId,
      addressOf: () => "node.test:1",
      attest: (_challenge, _exporter, take) => {
        take(Uint8Array.of(7));
        return () => {};
      },
      appraise: () => claims,
    },
    {
      events: {
        channelUp: () => told?.(),
        channelDown: () => {},
        frame: (peer, frame) => {
          try {
            core.manager.frame(peer, frame);
          } finally {
            told?.();
          }
        },
      },
    },
  );
  const next = () => new Promise<void>((resolve) => (told = resolve));
  const connectAsLeader = async (): Promise<TLSSocket> => {
    const isUp = next();
    const socket = await openAsListed(port);
    writeFrame(socket, Uint8Array.of(9));
    await isUp;
    return socket;
  };
  return { network, core, channels, traced, next, connectAsLeader };
}

/** An established channel over which a listed and attested node sends what it likes. */
describe("a channel", () => {
  const LENGTHS = [MAX_FRAME_BYTES + 1, 0xffffffff];
  const stateOf = ({ core }: Awaited<ReturnType<typeof withLeader>>) => {
    const { status, committedSeqno } = core.manager;
    return {
      term: status.term,
      last: status.lastIndex,
      commit: status.commitIndex,
      tail: core.tail.lastIndex,
      committedSeqno,
    };
  };

  test("ends with the first frame that is none, or is too long: it is counted, and nothing is changed", async () => {
    const scene = await withLeader();
    const { channels, traced, core, connectAsLeader } = scene;
    const before = stateOf(scene);
    const sound = appendFrame(scene.network.entries, 2);
    const malformed = [
      Uint8Array.of(0),
      Uint8Array.of(255, 1, 2, 3),
      sound.subarray(0, sound.length - 1),
      Uint8Array.of(...sound, 0),
      new Uint8Array(64).fill(1),
    ];
    let refused = 0;
    const ends = async (send: (socket: TLSSocket) => void): Promise<void> => {
      const socket = await connectAsLeader();
      const closed = new Promise((resolve) => socket.once("close", resolve));
      send(socket);
      // What comes behind it on the same channel is not taken.
      writeFrame(socket, sound);
      await closed;
      assert.deepEqual([channels.refusedFrames, stateOf(scene)], [++refused, before]);
    };
    for (const frame of malformed) await ends((socket) => writeFrame(socket, frame));
    assert.equal(core.manager.refusedFrames, malformed.length);
    for (const length of LENGTHS) await ends((socket) => socket.write(new ByteWriter(4).u32(length).finish()));
    assert.equal(traced.filter((name) => name === "frame_refused").length, refused);
    assert.equal(channels.refusedHandshakes, 0);
  });

  test("takes frames that come twice or out of order for what they are: nothing is stored twice, or before what it follows", async () => {
    const scene = await withLeader();
    const { channels, core, network, next } = scene;
    const socket = await scene.connectAsLeader();
    const hear = async (fromIndex: number, toIndex: number): Promise<number> => {
      const heard = next();
      writeFrame(socket, appendFrame(network.entries.slice(0, toIndex), fromIndex));
      await heard;
      return core.tail.lastIndex;
    };
    const before = stateOf(scene);
    assert.equal(await hear(4, 4), 1, "it follows what is not here");
    assert.deepEqual(stateOf(scene), before);
    assert.equal(await hear(2, 3), 3);
    const after = stateOf(scene);
    for (const [from, to] of [
      [2, 3],
      [2, 2],
      [3, 3],
      [2, 3],
    ] as const)
      assert.equal(await hear(from, to), 3, "again");
    assert.deepEqual(stateOf(scene), after);
    assert.equal(await hear(4, 4), 4);
    assert.deepEqual([channels.refusedFrames, core.manager.refusedFrames, socket.closed], [0, 0, false]);
  });
});

describe("the peer port", () => {
  test("counts connections that it refuses: no TLS, no listed node, a message of the handshake that is too long", async () => {
    const { channels, port, traced } = await startedPort({});
    const closed = (socket: Socket) => new Promise((resolve) => socket.once("close", resolve));
    const plain = await open(port);
    const plainEnds = closed(plain);
    plain.write("GET / HTTP/1.1\r\n\r\n");
    await plainEnds;
    assert.equal(channels.refusedHandshakes, 1);
    const stranger = await openAsListed(port);
    if (!stranger.closed) await closed(stranger);
    assert.deepEqual([channels.refusedHandshakes, traced], [2, ["channel_refused"]]);
    const other = await startedPort({ addressOf: () => "node.test:1" });
    const long = await openAsListed(other.port, () => new ByteWriter(4).u32(HANDSHAKE_FRAME_BYTES_MAX + 1).finish());
    if (!long.closed) await closed(long);
    assert.deepEqual([other.channels.refusedHandshakes, other.traced], [1, ["channel_refused"]]);
    assert.deepEqual([channels.refusedFrames, other.channels.refusedFrames], [0, 0]);
  });

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
