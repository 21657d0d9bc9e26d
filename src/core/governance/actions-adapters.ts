/** Actions on the protocols that run on the network: mount, configure, remove. */
import { requireChange, withReplaced, type ActionKind } from "./action-kind.ts";
import { adapterOptionsTree, IDENTIFIER_BOUNDS, readMount, readOptions } from "./constitution-codec.ts";
import { MAX_ADAPTER_ID, MAX_ADAPTERS, type AdapterEntry, type Constitution } from "./constitution.ts";
import type { JsonValue } from "./json-value.ts";
import { refused } from "./refusal.ts";

/** An adapter to be mounted; it gets the next id that none had. */
export type MountAdapterArgs = Omit<AdapterEntry, "id">;

/** New options of an adapter; they replace all it has. */
export interface ConfigureAdapterArgs {
  readonly name: string;
  readonly options: JsonValue;
}

/** A mounted adapter. */
export interface RemoveAdapterArgs {
  readonly name: string;
}

function requireAdapter({ adapters }: Constitution, wanted: string): AdapterEntry {
  const adapter = adapters.find(({ name }) => name === wanted);
  if (adapter === undefined) throw refused("AdapterUnknown", `no adapter ${wanted} is mounted`);
  return adapter;
}

function lastId({ adapters, lastAdapterId }: Constitution): number {
  return Math.max(lastAdapterId ?? 0, ...adapters.map(({ id }) => id));
}

const MOUNT: ActionKind<MountAdapterArgs> = {
  read: (fields) => ({ ...readMount(fields), options: readOptions(fields) }),
  tree: adapterOptionsTree,
  apply: (constitution, args) => {
    const { adapters, lastAdapterId, ...rest } = constitution;
    if (adapters.some(({ name }) => name === args.name))
      throw refused("AdapterExists", `adapter ${args.name} is mounted already`);
    const other = adapters.find(({ mount }) => mount === args.mount);
    if (other !== undefined) throw refused("MountInUse", `adapter ${other.name} is mounted at ${args.mount}`);
    const id = lastId(constitution) + 1;
    if (id > MAX_ADAPTER_ID) throw refused("AdaptersFull", `a network has had at most ${MAX_ADAPTER_ID} adapters`);
    const mounted = { ...rest, adapters: [...adapters, { id, ...args }] };
    return lastAdapterId === undefined ? mounted : { ...mounted, lastAdapterId: id };
  },
};

const CONFIGURE: ActionKind<ConfigureAdapterArgs> = {
  read: (fields) => ({ name: fields.text("name", IDENTIFIER_BOUNDS), options: readOptions(fields) }),
  tree: ({ name, options }) => ({ name, options }),
  apply: (constitution, { name, options }) => {
    const adapter = requireAdapter(constitution, name);
    requireChange(adapter.options, options, `the configuration of ${name}`);
    return { ...constitution, adapters: withReplaced(constitution.adapters, adapter, { ...adapter, options }) };
  },
};

const REMOVE: ActionKind<RemoveAdapterArgs> = {
  read: (fields) => ({ name: fields.text("name", IDENTIFIER_BOUNDS) }),
  tree: ({ name }) => ({ name }),
  apply: (constitution, { name }) => {
    const adapter = requireAdapter(constitution, name);
    const adapters = constitution.adapters.filter((other) => other !== adapter);
    return { ...constitution, adapters, lastAdapterId: lastId(constitution) };
  },
};

/** Refuses more adapters than a network may have. */
export function checkAdapters({ adapters }: Constitution): void {
  if (adapters.length > MAX_ADAPTERS) throw refused("AdaptersFull", `a network has at most ${MAX_ADAPTERS} adapters`);
}

/** The actions of this file. */
export const ADAPTER_ACTIONS = { mount_adapter: MOUNT, configure_adapter: CONFIGURE, remove_adapter: REMOVE };
