/** The `coco` command within the process of a test. */
import { run } from "../../src/cli/program.ts";

/** Runs `coco` with these arguments in this process; its exit code, standard output and standard error. */
export async function coco(...args: readonly string[]) {
  let [data, talk] = ["", ""];
  const code = await run(args, {
    data: (text) => {
      data += text;
    },
    talk: (text) => {
      talk += text;
    },
  });
  return { code, data, talk };
}
