/** `coco node list` and `state`: what a network says of its validating nodes. */
import { connect } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { govPath, listAll, readerOf } from "./governance-reader.ts";
import { type CommandContext, printFields, printJson, printTable } from "./output.ts";

const MAX_TEXT = 4_096;

/** Options of the commands. */
export interface NodeViewOptions extends ConnectionOptions {
  readonly json?: boolean;
}

/** Runs `coco node list`. */
export async function listNodes({ output }: CommandContext, options: NodeViewOptions): Promise<void> {
  const client = await connect(options);
  try {
    const nodes = await listAll(client, govPath("/service/nodes"));
    if (options.json === true) return printJson(output, { nodes });
    const rows = nodes.map((node) => {
      const fields = readerOf(node, "nodes");
      const text = (name: string): string =>
        fields.nullable(name, () => fields.text(name, { max: MAX_TEXT })) ?? "not attested yet";
      return [
        ...[text("nodeId").slice(0, 12), text("status"), text("owner"), text("nodeAddress"), text("clientAddress")],
        text("measurement").slice(0, 16),
      ];
    });
    printTable(output, [["ID", "STATUS", "OWNER", "NODES", "CLIENTS", "CODE"], ...rows]);
  } finally {
    client.close();
  }
}

/** Runs `coco node state`. */
export async function showState({ output }: CommandContext, options: NodeViewOptions): Promise<void> {
  const client = await connect(options);
  try {
    const state = await client.json("/node/state");
    if (options.json === true) return printJson(output, state);
    const fields = readerOf(state);
    const shown = [
      "node_id",
      "state",
      "role",
      "view",
      "primary_id",
      "commit_index",
      "last_index",
      "committed_seqno",
    ].map((name) => {
      const value = fields.value(name);
      const isShown = typeof value === "number" || typeof value === "string";
      return [name, isShown ? String(value).replaceAll(/\p{Cc}/gu, " ") : "none"] as const;
    });
    printFields(output, Object.fromEntries(shown));
  } finally {
    client.close();
  }
}
