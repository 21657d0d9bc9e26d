/**
 * The composition root: the one place that names the adapters of this build. Loading is lazy, because a preparing thread
 * needs an adapter's decoder only, not its execution engine.
 */
import type { AdapterFactory, AdapterManifest, PrepareFunction } from "../adapters/adapter.ts";
import { ETHEREUM_MANIFEST } from "../adapters/ethereum/manifest.ts";
import { parseEthereumOptions } from "../adapters/ethereum/options.ts";
import type { ProposedAdapter } from "../enclave/manager/adapter-proposals.ts";
import { CocoError } from "../errors.ts";

/** An adapter this build can run. */
export interface AvailableAdapter {
  readonly manifest: AdapterManifest;
  /** Throws `ConstitutionInvalid` for options that the adapter cannot take; without loading it. */
  readonly checkOptions: (options: unknown) => void;
  load(): Promise<AdapterFactory>;
  loadPrepare(): Promise<PrepareFunction>;
  /** Why preparing is slow on this machine, for the log; undefined when it is not. */
  prepareNotice(): Promise<string | undefined>;
}

const ADAPTERS: readonly AvailableAdapter[] = [
  {
    manifest: ETHEREUM_MANIFEST,
    checkOptions: parseEthereumOptions,
    load: async () => (await import("../adapters/ethereum/ethereum-adapter.ts")).createEthereumAdapter,
    loadPrepare: async () => (await import("../adapters/ethereum/prepare.ts")).prepare,
    prepareNotice: async () =>
      (await import("../adapters/ethereum/recover.ts")).recoveryBackend() === "pure"
        ? "signatures are recovered in JavaScript, some 25 times slower than natively"
        : undefined,
  },
];

/** The adapter of that name; `ConstitutionInvalid` when this build has none. */
export function availableAdapter(name: string): AvailableAdapter {
  const found = ADAPTERS.find((adapter) => adapter.manifest.name === name);
  if (found === undefined)
    throw new CocoError(
      "ConstitutionInvalid",
      `this build has no adapter named ${name}; it has: ${ADAPTERS.map(({ manifest }) => manifest.name).join(", ")}`,
    );
  return found;
}

/** As {@link availableAdapter}; `ConstitutionInvalid` also when the constitution mounts a newer version than this build has. */
export function mountedAdapter(name: string, version: string): AvailableAdapter {
  const found = availableAdapter(name);
  const own = found.manifest.version;
  if (isNewer(version, own))
    throw new CocoError("ConstitutionInvalid", `this build has version ${own} of adapter ${name}, not ${version}`);
  return found;
}

/** Why this build cannot run an adapter; undefined when it can. */
export function adapterProblem({ name, version, options }: ProposedAdapter): string | undefined {
  try {
    mountedAdapter(name, version).checkOptions(options);
    return undefined;
  } catch (error) {
    if (error instanceof CocoError && error.code === "ConstitutionInvalid") return error.message;
    throw error;
  }
}

/** Whether a version of the form `1.2.3` comes after another; what is no number counts as 0. */
function isNewer(version: string, other: string): boolean {
  const numbersOf = (text: string) => text.split(".").map((part) => Number.parseInt(part, 10) || 0);
  const [left, right] = [numbersOf(version), numbersOf(other)];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}
