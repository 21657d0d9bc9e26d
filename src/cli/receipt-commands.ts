/** `coco receipt verify`: checks a receipt offline, trusting nothing but the service certificate. */
import type { Command } from "commander";
import { CocoError } from "../errors.ts";
import { readBytes, readText } from "./arguments.ts";
import { type CommandContext, printFields, printJson } from "./output.ts";

/** Largest receipt file in bytes. */
export const MAX_RECEIPT_BYTES = 1024 * 1024;

const HELP = `
Example:
  curl --cacert service_cert.pem --cert me.pem --key me.key \\
    "https://127.0.0.1:8645/node/receipt?transaction_id=2.17" > receipt.json
  coco receipt verify receipt.json --service-cert service_cert.pem

  curl ... "https://127.0.0.1:8645/node/receipt?transaction_id=2.17&format=cose" > receipt.cose
  coco receipt verify receipt.cose --service-cert service_cert.pem

A receipt of before a rotation of the service identity, by the certificate of after it:
  curl ... "https://127.0.0.1:8645/node/service_endorsements" > endorsements.pem
  coco receipt verify old.json --service-cert service_cert.pem --endorsements endorsements.pem

Exit code 0: the transaction is in the ledger of the service. 1: the receipt does not prove it.`;

interface VerifyOptions {
  readonly serviceCert: string;
  readonly endorsements?: string;
}

/** Adds `coco receipt`. */
export function addReceiptCommands(program: Command, context: CommandContext): void {
  program
    .command("receipt")
    .description("receipts of transactions")
    .command("verify")
    .description("check a receipt offline")
    .argument("<file>", "the receipt: JSON or COSE, told apart by its first byte")
    .requiredOption("--service-cert <file>", "certificate of the service (PEM), from a source you trust")
    .option("--endorsements <file>", "certificates (PEM) that tie the service certificate to older and newer ones")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action((file: string, options: VerifyOptions, command: Command) =>
      verify(context, file, options, command.optsWithGlobals()["json"] === true),
    );
}

async function verify(context: CommandContext, file: string, options: VerifyOptions, asJson: boolean): Promise<void> {
  const { verifyReceiptFile } = await import("./verify-receipt.ts");
  const [receipt, certificate, endorsements] = await Promise.all([
    readBytes(file, MAX_RECEIPT_BYTES),
    readText(options.serviceCert, MAX_RECEIPT_BYTES),
    options.endorsements === undefined ? "" : readText(options.endorsements, MAX_RECEIPT_BYTES),
  ]);
  try {
    const proven = verifyReceiptFile(receipt, certificate, endorsements);
    if (asJson) printJson(context.output, { valid: true, ...proven });
    else printFields(context.output, { receipt: "valid", ...withoutNull(proven) });
  } catch (error) {
    if (asJson && error instanceof CocoError && error.code === "ReceiptInvalid") {
      printJson(context.output, { valid: false, error: { code: error.code, message: error.message } });
    }
    throw error;
  }
}

/** A signature transaction's receipt proves a root; what it signs does not say which id it has. */
const SIGNATURE_TRANSACTION = "not part of the proof: a signature transaction";

function withoutNull(fields: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value ?? SIGNATURE_TRANSACTION]));
}
