/** Percentiles, rates and texts of measured figures. */

/** The value below which `share` (0 to 1) of the values lie, by nearest rank; NaN without values. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Median and 99th percentile of durations in milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

/** Median and 99th percentile. */
export function latencyOf(values: readonly number[]): Latency {
  return { p50: percentile(values, 0.5), p99: percentile(values, 0.99) };
}

/** A figure for people: three significant digits below 100, thousands separated above. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
}

/** Two latencies for people. */
export function latencyText({ p50, p99 }: Latency): string {
  return `p50 ${figure(p50)} ms, p99 ${figure(p99)} ms`;
}

/** Waits. */
export function sleep(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}
