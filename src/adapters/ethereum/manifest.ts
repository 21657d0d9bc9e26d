/** Name, version and paths of the Ethereum adapter; kept apart so that it can be read without loading the adapter. */
import type { AdapterManifest } from "../adapter.ts";

/** The Ethereum adapter as the code manifest and the genesis constitution name it. */
export const ETHEREUM_MANIFEST: AdapterManifest = { name: "ethereum", version: "0.1.0", mounts: ["/eth"] };
