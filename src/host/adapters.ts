/**
 * The composition root: the one place that names the adapters of this build. Loading is lazy, because a preparing thread
 * needs an adapter's decoder only, not its execution engine.
 */
import type { AdapterFactory, AdapterManifest, PrepareFunction } from "../adapters/adapter.ts";
import { ETHEREUM_MANIFEST } from "../adapters/ethereum/manifest.ts";
import { CocoError } from "../errors.ts";

/** An adapter this build can run. */
export interface AvailableAdapter {
  readonly manifest: AdapterManifest;
  load(): Promise<AdapterFactory>;
  loadPrepare(): Promise<PrepareFunction>;
}

const ADAPTERS: readonly AvailableAdapter[] = [
  {
    manifest: ETHEREUM_MANIFEST,
    load: async () => (await import("../adapters/ethereum/ethereum-adapter.ts")).createEthereumAdapter,
    loadPrepare: async () => (await import("../adapters/ethereum/prepare.ts")).prepare,
  },
];

/** The adapter of that name; `ConstitutionInvalid` when this build has none. */
export function availableAdapter(name: string): AvailableAdapter {
  const found = ADAPTERS.find((adapter) => adapter.manifest.name === name);
  if (found === undefined) throw new CocoError("ConstitutionInvalid", `this build has no adapter named ${name}`);
  return found;
}
