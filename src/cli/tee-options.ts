/** Options that say on which TEE a node runs and where its machine has what makes evidence. */
import { type Command, Option } from "commander";
import { TEE_NAMES, type TeeName } from "../core/governance/manifest-entries.ts";
import { CocoError } from "../errors.ts";
import {
  CHIP_SERVICES,
  SEAL_TARGETS,
  SETTINGS_OF_TEE,
  type TeeSetting,
  type TeeSettings,
} from "../host/tee/tee-settings.ts";
import type { Output } from "./output.ts";

/** What is given of the options: each is named like its setting. */
export type TeeOptions = { readonly tee?: TeeName } & { readonly [setting in TeeSetting]?: string };

/** The option of each setting, with what it is for. */
const OPTIONS: Readonly<Record<TeeSetting, readonly [flags: string, description: string]>> = {
  reportFolder: ["--report-folder <folder>", "snp, tdx: configfs-tsm; sgx: Gramine's files (default: the usual place)"],
  securityContext: [
    "--security-context <folder>",
    "snp: what Azure puts beside a container (default: UVM_SECURITY_CONTEXT_DIR)",
  ],
  chipCertificates: [
    "--chip-certificates <file>",
    "snp: the chip's certificates, where the host does not hand them in",
  ],
  chipService: ["--chip-service <name>", "snp: who is asked for them (default: amd)"],
  chipServiceUrl: ["--chip-service-url <url>", "snp: where that service is (default: its usual address)"],
  vtpm: ["--vtpm <device>", "snp: virtual TPM of a confidential Azure machine (/dev/tpmrm0), which attests by it"],
  sealTo: ["--seal-to <target>", "sgx: what seals the node's keys (default: enclave)"],
  collateralUrl: ["--collateral-url <url>", "tdx, sgx: service for collateral (default: Intel's)"],
  rootListUrl: ["--root-list-url <url>", "tdx, sgx: the root's list of revoked certificates (default: Intel's)"],
  collateralCache: [
    "--collateral-cache <folder>",
    "snp, tdx, sgx: where collateral is kept (default: in the node's folder)",
  ],
  pipe: ["--pipe <path>", "vsm: where the enclave host answers, such as \\\\.\\pipe\\coco-vbs"],
  answerFile: [
    "--answer-file <file>",
    "vsm: file in which it answers what stands in FILE.request, where it has no pipe",
  ],
};

/** The settings that are one of a few words. */
const CHOICES: { readonly [setting in TeeSetting]?: readonly string[] } = {
  chipService: [...CHIP_SERVICES, "none"],
  sealTo: SEAL_TARGETS,
};

/** Adds the options. @param description of `--tee` */
export function addTeeOptions(command: Command, description: string): Command {
  command.addOption(new Option("--tee <name>", description).choices(TEE_NAMES));
  for (const [setting, [flags, text]] of settingsIn(OPTIONS)) {
    const option = new Option(flags, text);
    const choices = CHOICES[setting];
    command.addOption(choices === undefined ? option : option.choices(choices));
  }
  return command;
}

function settingsIn(options: typeof OPTIONS) {
  return Object.entries(options) as readonly (readonly [TeeSetting, (typeof OPTIONS)[TeeSetting]])[];
}

/** The settings that the options make; undefined: none are given. Throws `WrongUsage` for those the TEE does not take. */
export function teeSettings(options: TeeOptions): TeeSettings | undefined {
  const given = settingsIn(OPTIONS).flatMap(([setting, [flags]]) => {
    const value = options[setting];
    return value === undefined ? [] : [{ setting, flags, value }];
  });
  const { tee } = options;
  const [stray] = given.filter(
    ({ setting }) => tee === undefined || !SETTINGS_OF_TEE[tee].some((one) => one === setting),
  );
  if (stray !== undefined) {
    const of = TEE_NAMES.filter((name) => SETTINGS_OF_TEE[name].some((one) => one === stray.setting));
    throw new CocoError("WrongUsage", `${stray.flags} is for --tee ${of.join(" or --tee ")}`);
  }
  if (tee === "vsm" && (options.pipe === undefined) === (options.answerFile === undefined))
    throw new CocoError("WrongUsage", "--tee vsm: expected --pipe, where the enclave host answers, or --answer-file");
  return tee && { name: tee, ...Object.fromEntries(given.map(({ setting, value }) => [setting, value])) };
}

/** Says who is waited for, where a file has to be answered: perhaps by a person. */
export function tellWhoIsAsked({ talk }: Output, settings: TeeSettings | undefined): void {
  if (settings?.answerFile === undefined) return;
  talk(`asking the enclave host in ${settings.answerFile}.request …\n`);
}
