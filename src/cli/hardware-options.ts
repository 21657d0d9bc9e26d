/**
 * Hardware as `coco constitution init` takes it: `--tee snp=policy.json` with the policy that `coco attest verify --policy` was tried
 * with, or `--tee snp` for the strict one, and `--measured snp=02c3…` for this installation's code as hardware measures it.
 */
import { InvalidArgumentError } from "commander";
import { readDocument } from "../core/governance/fields.ts";
import { readCodeIdentity, readTeeEntry } from "../core/governance/manifest-codec.ts";
import { TEE_NAMES, type CodeEntry, type HardwareTee, type TeeEntry } from "../core/governance/manifest-entries.ts";
import { readJson } from "./arguments.ts";

const MAX_POLICY_BYTES = 1024 * 1024;
const HARDWARE = TEE_NAMES.filter((name) => name !== "virtual");

/** Hardware that counts, with the file of its policy; none: the strict policy. */
export interface TeeArgument {
  readonly tee: HardwareTee;
  readonly file?: string;
}

/** What hardware measures of this installation's code. */
export interface MeasuredArgument {
  readonly tee: HardwareTee;
  /** Lower-case hex. */
  readonly measurement: string;
}

function hardwareNamed(name: string): HardwareTee {
  const tee = HARDWARE.find((known) => known === name);
  if (tee !== undefined) return tee;
  throw new InvalidArgumentError(`${name} is no TEE of hardware; there are ${HARDWARE.join(", ")}.`);
}

/** Collects `--tee`. */
export function collectTee(text: string, before: readonly TeeArgument[]): readonly TeeArgument[] {
  const mark = text.indexOf("=");
  const tee = hardwareNamed(mark < 0 ? text : text.slice(0, mark));
  const file = mark < 0 ? undefined : text.slice(mark + 1);
  if (file === "") throw new InvalidArgumentError("Expected the form TEE or TEE=FILE.");
  if (file === undefined && tee === "vsm")
    throw new InvalidArgumentError("vsm has no strict policy: it must say whom it trusts; expected vsm=FILE.");
  return [...before, { tee, ...(file !== undefined && { file }) }];
}

/** Collects `--measured`. */
export function collectMeasured(text: string, before: readonly MeasuredArgument[]): readonly MeasuredArgument[] {
  const [, name = "", measurement = ""] = /^([a-z]+)=((?:[0-9a-f]{64}|[0-9a-f]{96}))$/i.exec(text) ?? [];
  if (name === "") throw new InvalidArgumentError("Expected the form TEE=MEASUREMENT, in 64 or 96 hex digits.");
  return [...before, { tee: hardwareNamed(name), measurement: measurement.toLowerCase() }];
}

/** Entries of the TEE manifest; each is named after its TEE, a second one of a TEE with its number. Throws `ConfigurationInvalid`. */
export async function readTeeEntries(given: readonly TeeArgument[]): Promise<readonly TeeEntry[]> {
  return await Promise.all(
    given.map(async ({ tee, file }, at) => {
      const earlier = given.slice(0, at).filter((other) => other.tee === tee).length;
      const id = earlier === 0 ? tee : `${tee}-${earlier + 1}`;
      const policy = file === undefined ? {} : await readJson(file, MAX_POLICY_BYTES);
      const note = file === undefined ? "the strict policy" : `policy of ${file.split(/[\\/]/).at(-1)}`;
      const context = { form: "json", code: "ConfigurationInvalid", data: { file: file ?? `--tee ${tee}` } } as const;
      return readDocument({ tee, id, note: note.slice(0, 256), policy }, context, readTeeEntry);
    }),
  );
}

/** Entries of the code manifest for this code on hardware. Throws `ConfigurationInvalid` when a measurement has not the TEE's length. */
export function measuredCode(
  { name, version }: Pick<CodeEntry, "name" | "version">,
  given: readonly MeasuredArgument[],
): readonly CodeEntry[] {
  return given.map(({ tee, measurement }) => {
    const context = { form: "json", code: "ConfigurationInvalid", data: { file: `--measured ${tee}` } } as const;
    return readDocument({ name, version, measurement, reference: { tee } }, context, readCodeIdentity);
  });
}
