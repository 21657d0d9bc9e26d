/**
 * Judges evidence where signatures can only be verified by promises, as WebCrypto does it: in browsers.
 *
 * The checkers are synchronous and pure, so that all sides run the same code. They are run once with every signature taken
 * for good, which shows what there is to verify; that is verified, and they are run again with the answers. A signature that
 * is bad may lead elsewhere, and so to further ones: it ends when nothing new was asked. Only that last run counts. Each run but
 * the last asks for a signature more, so that the bound of signatures is one of runs, too.
 */
import type { SignatureAlgorithm, VerifySignature } from "../core/certificates/algorithm.ts";
import { bytesKey, type Bytes } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";

/** Most signatures verified for a judgement: several times what any checker looks at before it gives up. Beyond it: `LimitExceeded`. */
export const MAX_DEFERRED_SIGNATURES = 256;

/** Verifies a signature by a public key (SubjectPublicKeyInfo, DER). */
export type VerifySignatureLater = (...question: Parameters<VerifySignature>) => Promise<boolean>;

function nameOf(algorithm: SignatureAlgorithm, ...parts: readonly Bytes[]): string {
  return [JSON.stringify(algorithm), ...parts.map((part) => `${part.length}:${bytesKey(part)}`)].join("|");
}

/** What `judge` says with `verify` behind it. Throws what it throws, and `LimitExceeded` when it asks for too much. */
export async function withDeferredSignatures<T>(
  judge: (verify: VerifySignature) => T,
  verify: VerifySignatureLater,
): Promise<T> {
  const answers = new Map<string, boolean>();
  for (;;) {
    const asked = new Map<string, Parameters<VerifySignature>>();
    const verdict = attempt(() =>
      judge((...question) => {
        const name = nameOf(...question);
        const answer = answers.get(name);
        if (answer === undefined) asked.set(name, question);
        return answer ?? true;
      }),
    );
    if (asked.size === 0) return verdict();
    if (answers.size + asked.size > MAX_DEFERRED_SIGNATURES)
      throw new CocoError("LimitExceeded", "a judgement that asks for too many signatures");
    const settled = await Promise.all(
      [...asked].map(async ([name, question]) => [name, await verify(...question)] as const),
    );
    for (const [name, answer] of settled) answers.set(name, answer);
  }
}

/** Runs at once; the result gives what came of it, or throws what it threw. */
function attempt<T>(run: () => T): () => T {
  try {
    const value = run();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}
