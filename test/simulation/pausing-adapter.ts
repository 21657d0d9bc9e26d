/** An adapter whose transactions take their time. */
import type { Adapter } from "../../src/adapters/adapter.ts";

/** The same adapter; `pause` gives what each transaction waits for before it runs, undefined: nothing. */
export function pausingAdapter(adapter: Adapter, pause: () => Promise<void> | undefined): Adapter {
  return {
    ...adapter,
    execute(state, transaction) {
      const waiting = pause();
      return waiting === undefined
        ? adapter.execute(state, transaction)
        : waiting.then(() => adapter.execute(state, transaction));
    },
  };
}
