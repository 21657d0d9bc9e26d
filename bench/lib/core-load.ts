/** Load for in-process nodes: requests of many transactions, always the same number under way. */
import { randomFillSync } from "node:crypto";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { CORE_MOUNT, ID_BYTES, KEY_BYTES, TRANSACTION_BYTES } from "./core-adapter.ts";
import type { CoreNode } from "./core-network.ts";

/** Transactions of one request. */
export const REQUEST_TRANSACTIONS = 100;
/** Requests of so many batches are under way: those a leader may have uncommitted, and as many again that wait. */
export const BATCHES_IN_FLIGHT = 16;

const CALLER = { actor: "owner", certificate: "00".repeat(32) };

/** Key number `number`, in no order: 32 bytes of a mixed counter. */
export function writeKey(target: Uint8Array, at: number, number: number): void {
  const view = new DataView(target.buffer, target.byteOffset + at, KEY_BYTES);
  for (let offset = 0; offset < KEY_BYTES; offset += 4) {
    let mixed = Math.imul(number + offset + 1, 0x9e3779b1) ^ offset;
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    view.setUint32(offset, mixed ^ (mixed >>> 16));
  }
  view.setUint32(KEY_BYTES - 4, number);
}

/** Request bodies of so many transactions in all, on `keys` keys; ids and values are random. */
export function makeRequests(transactions: number, keys: number): Bytes[] {
  const bodies: Bytes[] = [];
  for (let left = transactions; left > 0; left -= REQUEST_TRANSACTIONS) {
    const body = new Uint8Array(Math.min(left, REQUEST_TRANSACTIONS) * TRANSACTION_BYTES);
    randomFillSync(body);
    for (let at = 0; at < body.length; at += TRANSACTION_BYTES)
      writeKey(body, at + ID_BYTES, Math.floor(Math.random() * keys));
    bodies.push(body);
  }
  return bodies;
}

/** Time that load took. */
export interface LoadTime {
  readonly transactions: number;
  readonly failed: number;
  readonly wallMs: number;
  /** Processor time of the whole process: all nodes, collection of garbage, writing. */
  readonly processorMs: number;
}

/**
 * Sends requests to a node and waits for all answers: each says that its transactions are committed.
 * @param batch transactions of a batch at most: what is under way grows with it
 */
export async function runLoad({ core }: CoreNode, bodies: readonly Bytes[], batch: number): Promise<LoadTime> {
  const { manager } = core;
  const startCpu = process.cpuUsage();
  const start = performance.now();
  let [next, open, failed] = [0, 0, 0];
  await new Promise<void>((resolve) => {
    const send = (): void => {
      const body = bodies[next++];
      if (body === undefined) {
        if (open === 0) resolve();
        return;
      }
      open++;
      manager.request({ path: CORE_MOUNT, body, caller: CALLER }, ({ status }) => {
        open--;
        if (status !== 200) failed++;
        send();
      });
    };
    for (let count = 0; count < (BATCHES_IN_FLIGHT * batch) / REQUEST_TRANSACTIONS; count++) send();
  });
  const { user, system } = process.cpuUsage(startCpu);
  const transactions = bodies.reduce((sum, body) => sum + body.length / TRANSACTION_BYTES, 0);
  return { transactions, failed, wallMs: performance.now() - start, processorMs: (user + system) / 1000 };
}
