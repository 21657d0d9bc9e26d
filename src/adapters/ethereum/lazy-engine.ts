/**
 * An engine that is loaded when it is first needed. Plain transfers never need one, and loading EthereumJS takes about a
 * third of a second of processor time, which a starting network has better use for.
 */
import type { Engine, EngineResult, Message } from "./engine.ts";
import type { EvmState } from "./evm-state.ts";
import type { BlockEnvironment } from "./types.ts";

/** See the module's header. */
export class LazyEngine implements Engine {
  readonly #load: () => Promise<Engine>;
  #engine: Promise<Engine> | undefined;

  /** `load` is called once, at the first run. */
  constructor(load: () => Promise<Engine>) {
    this.#load = load;
  }

  async run(message: Message, environment: BlockEnvironment, state: EvmState): Promise<EngineResult> {
    this.#engine ??= this.#load();
    return (await this.#engine).run(message, environment, state);
  }
}

/** EthereumJS, loaded when it is first needed. */
export function lazyEthereumjsEngine(chainId: number): Engine {
  return new LazyEngine(async () => new (await import("./ethereumjs-engine.ts")).EthereumjsEngine(chainId));
}
