/** Questions to a person, on standard error: standard output is for data. */
import type { Ask } from "./output.ts";

/** Undefined where nobody can be asked: standard input or standard error is no terminal. */
export function terminal(): Ask | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  return async (question, standard) => {
    const { createInterface } = await import("node:readline/promises");
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      const answer = await lines.question(`${question}${standard === undefined ? "" : ` [${standard}]`} `);
      return answer.trim() === "" ? (standard ?? "") : answer.trim();
    } finally {
      lines.close();
    }
  };
}
