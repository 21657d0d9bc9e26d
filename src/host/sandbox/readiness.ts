/** Whether a node serves: a leader is known, something is committed, and the Ethereum chain has its first block. */
import { isRecord } from "../gateway-rules.ts";
import type { Upstream, UpstreamAnswer, UpstreamNode } from "../gateway-upstream.ts";

const BLOCK_NUMBER = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_blockNumber", params: [] }));

/** Asks a node over mutually authenticated TLS; false when it cannot be reached yet. */
export async function isServing(upstream: Upstream, node: UpstreamNode, mount: string): Promise<boolean> {
  for (const path of ["/node/ready", "/node/commit"]) {
    const answer = await upstream.exchange(node, { method: "GET", path });
    if (!("status" in answer) || answer.status !== 200) return false;
  }
  const answer = await upstream.exchange(node, { method: "POST", path: mount, body: BLOCK_NUMBER });
  return "status" in answer && hasResult(answer);
}

function hasResult(answer: UpstreamAnswer): boolean {
  try {
    const parsed: unknown = JSON.parse(answer.body.toString("utf8"));
    return isRecord(parsed) && typeof parsed["result"] === "string";
  } catch {
    return false;
  }
}
