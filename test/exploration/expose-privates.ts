/**
 * A module hook that renames the private fields (`#name`) of the consensus core to plain ones (`private_name`) while it is
 * loaded, so that two cores can be compared field by field. Nothing else of the compiled core is changed.
 */
import { register } from "node:module";

type NextLoad = (url: string, context: object) => Promise<{ format: string; source?: string | Uint8Array | null }>;

const CONSENSUS = /\/src\/core\/consensus\/[^/]+\.js$/;

/** The `load` hook, called by Node for every module. */
export async function load(url: string, context: object, nextLoad: NextLoad): ReturnType<NextLoad> {
  const loaded = await nextLoad(url, context);
  if (!CONSENSUS.test(url) || loaded.source === null || loaded.source === undefined) return loaded;
  const text = typeof loaded.source === "string" ? loaded.source : new TextDecoder().decode(loaded.source);
  return { ...loaded, source: text.replace(/#([A-Za-z]\w*)/g, "private_$1") };
}

/** Puts the hook in force for modules that are not loaded yet. */
export function exposePrivates(): void {
  register(import.meta.url);
}
