/**
 * `coco member resume`: lets nodes go on that may have forgotten what they promised. Each member signs what all of these nodes
 * show; whoever has enough signatures sends them to every node.
 */
import { createHash } from "node:crypto";
import { toHex, type Bytes } from "../core/codec/bytes.ts";
import { encodeMessages } from "../core/governance/proposal-codec.ts";
import type { SignedMessage } from "../core/governance/proposal.ts";
import { RESUME_NONCE_BYTES, type ResumingNode, resumePayload } from "../core/governance/resume.ts";
import { MAX_REQUEST_BYTES, parseSignedRequest } from "../core/governance/signed-request.ts";
import { CocoError } from "../errors.ts";
import { readBytes } from "./arguments.ts";
import { connectDirectly } from "./connection.ts";
import type { SigningOptions } from "./connection-options.ts";
import { readerOf } from "./governance-reader.ts";
import { confirmed } from "./member-propose.ts";
import { type CommandContext, printJson } from "./output.ts";
import type { ServiceClient } from "./service-client.ts";
import { signOrPrepare } from "./signing.ts";

/** Options of `coco member resume`. */
export interface ResumeOptions extends SigningOptions {
  readonly nodeUrl: readonly string[];
  readonly signed: readonly string[];
  readonly send?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** Runs `coco member resume`. */
export async function resume(context: CommandContext, options: ResumeOptions): Promise<void> {
  const { out, send, signed, prepare } = options;
  if ([out !== undefined, send === true, prepare !== undefined].filter(Boolean).length !== 1)
    throw new CocoError("WrongUsage", "say what to do with the signature: --out, --send, or --prepare");
  const clients = await Promise.all(options.nodeUrl.map((url) => connectDirectly(url, options)));
  try {
    const waiting = await Promise.all(clients.map(readWaiting));
    const messages = await Promise.all(signed.map(readSigned));
    const isSigned = send === true && messages.length > 0 && out === undefined;
    const own = isSigned ? undefined : await sign(context, options, waiting);
    if (send === true) await sendTo(clients, own === undefined ? messages : [...messages, own]);
    report(context, options, waiting);
  } finally {
    for (const client of clients) client.close();
  }
}

/** What a node shows, with the network it is of. */
interface WaitingNode extends ResumingNode {
  readonly networkId: string;
  readonly url: string;
}

const TRANSACTION_ID = /^(\d{1,15})\.(\d{1,15})$/;

async function readWaiting(client: ServiceClient): Promise<WaitingNode> {
  const fields = readerOf(await client.json("/node/recovery"));
  if (!fields.flag("recovering"))
    throw new CocoError("NotReady", `${client.url}: this node is not waiting to be resumed`);
  const nodeId = fields.hex("node_id", 32);
  const proven = createHash("sha256")
    .update(client.peerKey ?? "")
    .digest("hex");
  if (proven !== nodeId)
    throw new CocoError("ServiceNotTrusted", `${client.url}: has not proven the key of the node ${nodeId}`);
  const [, view, seqno] = TRANSACTION_ID.exec(fields.text("last_transaction_id", { max: 40 })) ?? [];
  if (view === undefined) throw fields.invalid("last_transaction_id", "expected view.seqno");
  return {
    ...{ nodeId, url: client.url, networkId: fields.hex("network_id", 32) },
    nonce: fields.bytes("nonce", { length: RESUME_NONCE_BYTES }),
    ...{ view: Number(view), seqno: Number(seqno) },
  };
}

/** Nothing when it goes into a file. */
async function sign(
  context: CommandContext,
  options: ResumeOptions,
  waiting: readonly WaitingNode[],
): Promise<SignedMessage | undefined> {
  const [first, ...others] = [...new Set(waiting.map(({ networkId }) => networkId))];
  if (first === undefined || others.length > 0)
    throw new CocoError("WrongUsage", "--node-url names nodes of several networks");
  for (const { nodeId, url, view, seqno } of waiting)
    context.output.talk(`${url}  node ${nodeId}, its log ends with ${view}.${seqno}\n`);
  const question = `Let these nodes go on? Nothing committed may be missing on them together. (yes/no)`;
  const { prepare: _, out: __, ...asked } = options;
  if (!(await confirmed(context, asked, question))) throw new CocoError("WrongUsage", "nothing was signed");
  // The same bytes for every member, in whatever order they name the nodes.
  const sorted = [...waiting].sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
  const payload: Bytes = resumePayload(sorted);
  return await signOrPrepare(context, options, { type: "resume", payload, networkId: first });
}

async function readSigned(file: string): Promise<SignedMessage> {
  const message = await readBytes(file, MAX_REQUEST_BYTES);
  const { type, chain } = parseSignedRequest(message);
  if (type !== "resume") throw new CocoError("ConfigurationInvalid", `${file}: is no signed resume`, { file });
  return { message, chain };
}

async function sendTo(clients: readonly ServiceClient[], messages: readonly SignedMessage[]): Promise<void> {
  const body = encodeMessages(messages);
  for (const client of clients) await client.post("/node/resume", "application/cbor", body);
}

function report({ output }: CommandContext, { send, json }: ResumeOptions, waiting: readonly WaitingNode[]): void {
  const resumed = send === true;
  if (json === true)
    printJson(output, {
      resumed,
      nodes: waiting.map(({ nodeId, nonce, view, seqno, url }) => ({
        ...{ nodeId, url, nonce: toHex(nonce) },
        lastTransactionId: `${view}.${seqno}`,
      })),
    });
  else if (resumed) for (const { nodeId } of waiting) output.data(`${nodeId} goes on\n`);
}
