/** Ctrl-C and its kin: the first asks a server to stop in order, the second ends it at once. */
import { EXIT } from "./output.ts";

/** Signals that ask to stop: Ctrl-C, an operator or service manager, a closed terminal. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Resolves at the first signal; at the second `onForce` is called and the process ends. */
export function stopRequested(onForce: () => void = () => {}): Promise<string> {
  return new Promise((resolve) => {
    let requested = false;
    const onSignal = (signal: string): void => {
      if (requested) {
        onForce();
        process.exit(EXIT.interrupted);
      }
      requested = true;
      resolve(signal);
    };
    for (const signal of SIGNALS) process.on(signal, onSignal);
  });
}
