/** `coco network`: what a network is worth. */
import type { Command } from "commander";
import { addConnectionOptions, type ConnectionOptions, withEnvironment } from "./connection-options.ts";
import { type CommandContext, EXIT, printJson } from "./output.ts";

/** What `coco network trust` and `coco attest network` tell. */
export const NETWORK_HELP = `
For each validating node: the code it runs, its TEE, how up to date that is and what it rests on, its lease, and why it is trusted or
not. The evidence in the ledger is verified on this machine, with the roots built in, and appraised by the constitution; it must be
bound to the keys of the VN list. The TLS certificate of the node that answers names its evidence, so that the connection is known
to end there. The weakest link is the weakest TEE of all nodes: virtual < vsm < sgx < tdx < snp.

Examples:
  coco network trust --url https://127.0.0.1:8645 --service-cert service_cert.pem --cert me.pem --key me.key
  coco attest network https://127.0.0.1:8645 --service-cert service_cert.pem --cert me.pem --key me.key

Exit code 0: every node is trusted. 1: at least one is not.`;

/** Adds `coco network`. */
export function addNetworkCommands(program: Command, context: CommandContext): void {
  const network = program.command("network").description("what a network is worth");
  addConnectionOptions(
    network.command("trust").description("show what each validating node runs, and why it is trusted or not"),
  )
    .addHelpText("after", NETWORK_HELP)
    .action(async (options: ConnectionOptions & { readonly json?: boolean }) =>
      trust(context, withEnvironment(options)),
    );
}

/** Tells how a network stands. */
export async function trust(
  context: CommandContext,
  options: ConnectionOptions & { readonly json?: boolean },
): Promise<void> {
  const { connect } = await import("./connection.ts");
  const { readEvidence } = await import("./evidence-reader.ts");
  const { readStanding } = await import("./governance-reader.ts");
  const { judgeNetwork, trustLines } = await import("./network-trust.ts");
  const { createGovernanceCrypto } = await import("../enclave/manager/node-crypto.ts");
  const client = await connect(options);
  try {
    const crypto = createGovernanceCrypto();
    const { state } = await readStanding(client, crypto);
    const evidence = await readEvidence(client);
    const found = judgeNetwork(state, evidence, crypto, client.peerCertificate);
    if (options.json === true) printJson(context.output, { networkId: state.networkId, ...found });
    else context.output.data(`${trustLines(found).join("\n")}\n`);
    if (found.nodes.some(({ isTrusted }) => !isTrusted)) context.exitCode = EXIT.failed;
  } finally {
    client.close();
  }
}
