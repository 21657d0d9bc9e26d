/**
 * An engine that is loaded when it is first needed. Plain transfers never need one, and loading EthereumJS takes about a
 * third of a second of processor time, which a starting network has better use for.
 */
import type { Engine, EngineResult, Message } from "./engine.ts";
import type { EvmState } from "./evm-state.ts";
import type { Pace } from "./pace.ts";
import type { BlockEnvironment } from "./types.ts";

/** See the module's header. */
export class LazyEngine implements Engine {
  readonly #load: () => Promise<Engine>;
  #engine: Promise<Engine> | undefined;

  /** `load` is called once, at the first run. */
  constructor(load: () => Promise<Engine>) {
    this.#load = load;
  }

  async run(message: Message, environment: BlockEnvironment, state: EvmState, pace?: Pace): Promise<EngineResult> {
    this.#engine ??= this.#load();
    const engine = await this.#engine;
    // The time it took to load is not this run's own.
    pace?.resume();
    return engine.run(message, environment, state, pace);
  }
}

/** EthereumJS, loaded when it is first needed. */
export function lazyEthereumjsEngine(chainId: number): Engine {
  return new LazyEngine(async () => new (await import("./ethereumjs-engine.ts")).EthereumjsEngine(chainId));
}
