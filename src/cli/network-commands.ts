/** `coco network`: what a network is worth. */
import type { Command } from "commander";
import { toHex } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";
import { addConnectionOptions, type ConnectionOptions, withEnvironment } from "./connection-options.ts";
import { type CommandContext, EXIT, printJson } from "./output.ts";

const NETWORK_HELP = `
For each validating node: the code it runs, its TEE, how up to date that is and what it rests on, its lease, and why it is trusted or
not. The evidence in the ledger is verified on this machine, with the roots built in, and appraised by the constitution; it must be
bound to the keys of the VN list. The constitution is the one this node tells, without proof, unless --constitution-digest names one that
you know: as a member or the node of another owner tells it.
The TLS certificate of the node that answers names its evidence, so that the connection is known to end there. The weakest link is
the weakest TEE of all nodes: virtual < vsm < sgx < tdx < snp.

Examples:
  coco network trust --url https://127.0.0.1:8645 --service-cert service_cert.pem --cert me.pem --key me.key
  coco attest network https://127.0.0.1:8645 --service-cert service_cert.pem --cert me.pem --key me.key

Exit code 0: every node is trusted. 1: at least one is not. 2: wrong usage. 3: no node answers. 4: not a node of this network,
or it tells another constitution than --constitution-digest names.`;

/** Adds `coco network`. */
export function addNetworkCommands(program: Command, context: CommandContext): void {
  const network = program.command("network").description("what a network is worth");
  addTrustCommand(network.command("trust"), context);
}

/** Makes a command of it, whatever its name: it tells how a network stands. */
export function addTrustCommand(command: Command, context: CommandContext): void {
  addConnectionOptions(
    command
      .description("show what each validating node of a network runs, and why it is trusted or not")
      .argument("[url]", "https://host:port of a validating node, in place of --url")
      .option(
        "--constitution-digest <digest>",
        "digest of the constitution to judge by; refused when the node tells another",
      ),
  )
    .addHelpText("after", NETWORK_HELP)
    .action((url: string | undefined, options: TrustOptions) => {
      if (url !== undefined && options.url !== undefined && url !== options.url)
        throw new CocoError("WrongUsage", `${url} and --url ${options.url}: which node?`);
      return trust(context, withEnvironment({ ...options, ...(url !== undefined && { url }) }));
    });
}

type TrustOptions = ConnectionOptions & { readonly json?: boolean; readonly constitutionDigest?: string };

async function trust(context: CommandContext, options: TrustOptions): Promise<void> {
  const { connect } = await import("./connection.ts");
  const { readEvidence } = await import("./evidence-reader.ts");
  const { readStanding } = await import("./governance-reader.ts");
  const { judgedBy, judgedByLines, judgeNetwork, trustLines } = await import("./network-trust.ts");
  const { constitutionDigest } = await import("../core/governance/constitution-codec.ts");
  const { createGovernanceCrypto } = await import("../enclave/manager/node-crypto.ts");
  const expected = options.constitutionDigest;
  if (expected !== undefined && !/^[0-9a-f]{64}$/.test(expected))
    throw new CocoError("WrongUsage", "--constitution-digest: expected 64 hex digits");
  const client = await connect(options);
  try {
    const crypto = createGovernanceCrypto();
    const { state } = await readStanding(client, crypto);
    const digest = toHex(constitutionDigest(state.constitution, crypto.sha256));
    const constitution = judgedBy(state.constitution.version, digest, expected);
    const evidence = await readEvidence(client);
    const found = judgeNetwork(state, evidence, crypto, {
      certificate: client.peerCertificate,
      localTimeMs: Date.now(),
    });
    if (options.json === true) printJson(context.output, { networkId: state.networkId, constitution, ...found });
    else context.output.data(`${[...trustLines(found), ...judgedByLines(constitution)].join("\n")}\n`);
    if (found.nodes.some(({ isTrusted }) => !isTrusted)) context.exitCode = EXIT.failed;
  } finally {
    client.close();
  }
}
