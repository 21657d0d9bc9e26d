/**
 * What `coco attest verify` is given: files by options, or a folder in which they are told apart by name.
 *
 * A folder is one as the platforms write them: an Azure container's security context with its report, a quote with its
 * collateral, a token with its keys. What is not recognised is left aside; two files for one place are an error, because
 * which one was verified would be left to chance.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { CocoError } from "../../errors.ts";

/** TEEs and documents that `--tee` names. */
export const TEE_NAMES = ["snp", "sgx", "tdx", "vsm", "uvm", "maa"] as const;
/** One of them. */
export type TeeName = (typeof TEE_NAMES)[number];
/** Most files of a folder that are looked at. */
export const MAX_FOLDER_FILES = 256;

/** Files of evidence, by what they are. */
export interface EvidenceFiles {
  readonly tee?: TeeName;
  readonly report?: string;
  readonly certs?: readonly string[];
  /** Lists of revoked certificates by AMD's roots. */
  readonly crl?: readonly string[];
  readonly quote?: string;
  readonly collateral?: string;
  readonly uvm?: string;
  readonly token?: string;
  readonly jwks?: string;
  /** Evidence of an Azure confidential VM's vTPM, JSON. */
  readonly vtpm?: string;
  /** What the report's host data are the digest of. */
  readonly securityPolicy?: string;
  /** What the first half of the report data is the digest of. */
  readonly runtimeData?: string;
}

/** Files that go with evidence of each TEE; SNP reports of Azure's machines come inside `vtpm`. */
const FITTING: Readonly<Record<TeeName, readonly (keyof EvidenceFiles)[]>> = {
  snp: ["report", "certs", "crl", "uvm", "vtpm", "securityPolicy", "runtimeData"],
  sgx: ["quote", "collateral", "runtimeData"],
  tdx: ["quote", "collateral", "runtimeData"],
  vsm: ["report", "certs", "runtimeData"],
  uvm: ["uvm"],
  maa: ["token", "jwks"],
};

/** Throws `WrongUsage` for a file that was named, and that evidence of this TEE has no place for: it would not be looked at. */
export function requireFitting(tee: TeeName, named: EvidenceFiles): void {
  const others = Object.keys(named).filter((place) => place !== "tee" && !FITTING[tee].some((fits) => fits === place));
  if (others.length === 0) return;
  const flags = others.map((place) => `--${place.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
  throw new CocoError("WrongUsage", `${flags.join(", ")}: not a part of evidence of ${tee}`);
}

/** Places of what is judged; what goes with it has others. */
const PIECES = ["report", "vtpm", "quote", "token", "uvm"] as const;

/**
 * Throws `WrongUsage` when there is more than one piece of evidence, from a folder or by name: only one of them would be looked at.
 * With `--tee` those count that evidence of it can be.
 * @param tee what the evidence is of, said or told by its form
 */
export function requireOnePiece(tee: TeeName, files: EvidenceFiles): void {
  const counts = (place: keyof EvidenceFiles) => files.tee === undefined || FITTING[files.tee].includes(place);
  // An endorsement of a utility VM goes with a report of SNP.
  const pieces = PIECES.filter((place) => files[place] !== undefined && counts(place)).filter(
    (place) => place !== "uvm" || tee !== "snp",
  );
  if (pieces.length < 2) return;
  const named = pieces.map((place) => `--${place} ${files[place] ?? ""}`).join(", ");
  if (pieces.every((place) => place === "report" || place === "vtpm"))
    throw new CocoError("WrongUsage", `${named}: the report of an Azure machine is inside the evidence of its vTPM`);
  throw new CocoError(
    "WrongUsage",
    `several pieces of evidence: ${named}; only one can be judged: say of which TEE by --tee, or name the files of one`,
  );
}

/** A file's place. Of two places that a name fits the first counts. */
const PLACES: readonly (readonly [keyof EvidenceFiles, RegExp])[] = [
  ["quote", /^quote\.(?:bin|dat|hex)$/i],
  ["collateral", /^collateral\.json$/i],
  ["token", /^token\.jwt$/i],
  ["jwks", /^jwks\.json$/i],
  ["vtpm", /^evidence[^.]*\.json$/i],
  ["uvm", /(?:reference[-_]info|\.cose$)/i],
  ["securityPolicy", /security[-_]policy/i],
  ["runtimeData", /^runtime[-_]data\.json$/i],
  ["crl", /\.crl$/i],
  ["certs", /(?:^host-amd-cert-base64$|certificate.*\.(?:json|pem)$|\.(?:pem|der|crt|cer|testcer)$)/i],
  ["report", /^(?!.*response).*(?:report|attestation).*\.(?:bin|hex)$/i],
];

/** What {@link PLACES} looks for, in words. */
export const KNOWN_NAMES =
  "known are quote.bin with collateral.json, token.jwt with jwks.json, evidence*.json, *report*.bin or *attestation*.bin with " +
  "certificates (*.pem, *.der, *certificate*.json, host-amd-cert-base64) and lists of revoked ones (*.crl), " +
  "*reference-info*, *security-policy*, runtime-data.json";

function ambiguous(dir: string, place: string, names: readonly string[]): CocoError {
  return new CocoError(
    "WrongUsage",
    `${dir}: several files for --${place}: ${names.join(", ")}; name one by its option`,
  );
}

/** The files of a folder. Throws `ConfigurationInvalid` when it is none, `WrongUsage` when it leaves open what is meant. */
export async function filesOfFolder(dir: string, named: EvidenceFiles): Promise<EvidenceFiles> {
  const found = new Map<keyof EvidenceFiles, string[]>();
  for (const name of await namesOf(dir)) {
    const place = PLACES.find(([, pattern]) => pattern.test(name))?.[0];
    if (place !== undefined) found.set(place, [...(found.get(place) ?? []), name]);
  }
  if (found.size === 0)
    throw new CocoError("WrongUsage", `${dir}: nothing in it has a name that is known; ${KNOWN_NAMES}`);
  const files: Record<string, string | readonly string[]> = {};
  for (const [place, all] of found) {
    const names = place === "uvm" ? oneForm(all) : all;
    const isList = place === "certs" || place === "crl";
    if (!isList && named[place] === undefined && names.length > 1) throw ambiguous(dir, place, names);
    files[place] = isList ? names.map((name) => join(dir, name)) : join(dir, names[0] ?? "");
  }
  return { ...files, ...named };
}

/** Newer hosts write an endorsement in both of its forms beside each other: the older one, which has more to say, is taken. */
function oneForm(names: readonly string[]): readonly string[] {
  const others = names.filter((name) => !/hash[-_]envelope/i.test(name));
  return others.length > 0 ? others : names;
}

async function namesOf(dir: string): Promise<readonly string[]> {
  try {
    const names = (await readdir(dir)).sort();
    if (names.length > MAX_FOLDER_FILES)
      throw new CocoError("WrongUsage", `${dir}: more than ${MAX_FOLDER_FILES} files; name those of the evidence`);
    const areFiles = await Promise.all(names.map(async (name) => (await stat(join(dir, name))).isFile()));
    return names.filter((_, at) => areFiles[at]);
  } catch (error) {
    if (error instanceof CocoError) throw error;
    throw new CocoError(
      "ConfigurationInvalid",
      `${dir}: not a folder that can be read`,
      { file: dir },
      { cause: error },
    );
  }
}
