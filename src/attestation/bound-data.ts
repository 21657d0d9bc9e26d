/** Whether evidence binds what a relying party expects: all of it, and nothing else. */
import { bytesEqual, fromHex, toHex, type Bytes } from "../core/codec/bytes.ts";
import type { Checks } from "./checks.ts";
import { REPORT_DATA_BYTES } from "./evidence.ts";

/** What a relying party expects of evidence besides its policy. */
export interface Expected {
  /**
   * What the evidence must bind: 64 bytes as they are, or 32 bytes with zeros behind them; absent: it is not judged.
   * A digest that is only the beginning of what is bound does not count.
   */
  readonly reportData?: Bytes;
  /** Approved measurements in lower-case hex; absent: the measurement is not judged. */
  readonly measurements?: readonly string[];
}

/** Whether report data in hex are the expected ones. */
export function bindsData(reportData: string, expected: Bytes): boolean {
  if (expected.length !== REPORT_DATA_BYTES && expected.length !== REPORT_DATA_BYTES / 2) return false;
  const whole = new Uint8Array(REPORT_DATA_BYTES);
  whole.set(expected);
  return bytesEqual(fromHex(reportData), whole);
}

/** Judges what is expected; what evidence does not say at all is not as expected. */
export function requireExpected(
  checks: Checks,
  claims: { readonly measurement?: string; readonly reportData?: string },
  expected: Expected,
): void {
  const { reportData, measurements } = expected;
  const names = { measurement: "measurement", reportData: "report data" };
  if (measurements === undefined) checks.skip(names.measurement, "no measurements to compare with");
  else {
    const found = claims.measurement;
    const isApproved = found !== undefined && measurements.includes(found);
    checks.require(names.measurement, isApproved, "MeasurementMismatch", found ?? "there is none");
  }
  if (reportData === undefined) checks.skip(names.reportData, "nothing to compare with");
  else {
    const isBound = claims.reportData !== undefined && bindsData(claims.reportData, reportData);
    const detail = `${claims.reportData ?? "none"}, expected ${toHex(reportData)}`;
    checks.require(names.reportData, isBound, "ReportDataMismatch", detail);
  }
}
