/** Clock and tracer of a real node. */
import pino from "pino";
import type { Clock, Tracer } from "../enclave/ports.ts";

/** The operating system's clocks; a delay of 0 runs after the input that is already there. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  after(delayMs, callback) {
    if (delayMs <= 0) {
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    }
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** JSON lines on standard error: time, level, node, event, fields. */
export function createTracer(node: string, level: string): Tracer {
  const logger = pino(
    {
      level,
      base: { node },
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: "event",
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
  return {
    event: (severity, event, fields = {}) => logger[severity](fields, event),
  };
}
