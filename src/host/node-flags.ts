/**
 * The flags that a node's process was started with, as its code is measured with them: NODE_OPTIONS first, as Node.js reads
 * them, then those of the command line, in their order, all but the few that change nothing that a node does. Behind them stands
 * what else brings in code that lies outside the measured files: variables of the environment, and folders that Node.js falls back on.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

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

/** Variables that say where code comes from: of the loader of programs, of OpenSSL, of Node.js, of packages with native code. */
const LOADING_VARIABLES: readonly RegExp[] = [
  /^(?:LD_PRELOAD|LD_LIBRARY_PATH|LD_AUDIT|DYLD_INSERT_LIBRARIES|DYLD_LIBRARY_PATH)$/i,
  /^OPENSSL_(?:CONF|MODULES|ENGINES)$/i,
  /^NODE_(?:PATH|COMPILE_CACHE|PRESERVE_SYMLINKS|PRESERVE_SYMLINKS_MAIN)$/i,
  // node-gyp-build: another folder, or another one of the files in the package's own.
  /_PREBUILD$/i,
  /^(?:PREBUILDS_ONLY|LIBC|ARM_VERSION|npm_config_arch|npm_config_platform)$/i,
];

/** Variables that bring in other code, as `NAME=value`, in the order of their names. */
export function measuredVariables(environment: Readonly<NodeJS.ProcessEnv>): readonly string[] {
  const isSet = ([name, value = ""]: readonly [string, string | undefined]) =>
    value !== "" && LOADING_VARIABLES.some((form) => form.test(name));
  const named = Object.entries(environment).filter(isSet);
  return named.map(([name, value]) => `${name}=${value}`).sort();
}

/**
 * Folders with code that is taken where the measured packages have none of a name, if they are there: the user's and the
 * installation's for `require`, and native code beside the executable for node-gyp-build.
 */
export function measuredFolders(home: string | undefined, executable: string): readonly string[] {
  const beside = dirname(executable);
  const prefix = process.platform === "win32" ? beside : dirname(beside);
  const ofUser = home === undefined ? [] : [join(home, ".node_modules"), join(home, ".node_libraries")];
  return [...ofUser, join(prefix, "lib", "node"), join(beside, "prebuilds")].filter((folder) => existsSync(folder));
}

/** The measured flags of this process, with what else brings in other code: of a node, what its code is measured with. */
export function ownFlags(): readonly string[] {
  const { env, execArgv, execPath } = process;
  const home = env[process.platform === "win32" ? "USERPROFILE" : "HOME"];
  const flags = measuredFlags(execArgv, env["NODE_OPTIONS"]);
  return [...flags, ...measuredVariables(env), ...measuredFolders(home, execPath)];
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
