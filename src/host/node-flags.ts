/**
 * The flags that a node's process was started with, as its code is measured with them: NODE_OPTIONS first, as Node.js reads
 * them, then those of the command line, in their order, all but the few that change nothing that a node does.
 */

/** Flags that are not measured: room for memory, and what is printed about faults. Written with `=`, as one word. */
const HARMLESS: readonly RegExp[] = [
  /^--max[-_](?:old|semi)[-_]space[-_]size=\d+$/,
  /^--stack[-_]trace[-_]limit=\d+$/,
  /^--(?:enable-source-maps|no-warnings|no-deprecation|trace-warnings|trace-deprecation|trace-uncaught)$/,
];

/** The measured ones of these flags, in their order. */
export function measuredFlags(execArguments: readonly string[], nodeOptions: string | undefined): readonly string[] {
  return [...wordsOf(nodeOptions ?? ""), ...execArguments].filter((flag) => !HARMLESS.some((form) => form.test(flag)));
}

/** The measured flags of this process: of a node, what its code is measured with. */
export function ownFlags(): readonly string[] {
  return measuredFlags(process.execArgv, process.env["NODE_OPTIONS"]);
}

/** NODE_OPTIONS as Node.js takes it apart: at spaces, except in double quotes, in which a backslash takes the next character as it is. */
function wordsOf(text: string): readonly string[] {
  const words: string[] = [];
  let word = "";
  let isQuoted = false;
  for (let at = 0; at < text.length; at++) {
    let character = text.charAt(at);
    if (character === "\\" && isQuoted) character = text.charAt(++at);
    else if (character === " " && !isQuoted) {
      if (word !== "") words.push(word);
      word = "";
      continue;
    } else if (character === '"') {
      isQuoted = !isQuoted;
      continue;
    }
    word += character;
  }
  return word === "" ? words : [...words, word];
}
