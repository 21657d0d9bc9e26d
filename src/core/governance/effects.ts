/**
 * The effect of a proposal as members vote on it (R8): what it would change, in words and as a digest. The digest is over
 * what is changed and nothing else, so that a vote stays good while other parts of the constitution change.
 */
import type { HashFunction } from "../codec/bytes.ts";
import { fromHex, type Bytes } from "../codec/bytes.ts";
import { encodeCbor } from "../codec/cbor.ts";
import type { ActionEffect } from "./actions.ts";
import type { WordsCrypto } from "./certificate-words.ts";
import { changeInWords, shortHex } from "./change-words.ts";
import { constitutionChanges } from "./constitution-diff.ts";
import type { Constitution } from "./constitution.ts";
import { treeToCbor, treeToJson } from "./fields.ts";
import type { JsonValue } from "./json-value.ts";

/** One line of a dry run. */
export interface DescribedChange {
  /** Where: `actors.acme`, `settings.epoch.lengthMs`; `epoch`, `serviceIdentity` and `expelled.<node>` for what follows. */
  readonly path: string;
  /** Null: not there. */
  readonly before: JsonValue;
  readonly after: JsonValue;
  /** For people, with certificates, code and nodes named. */
  readonly words: string;
}

/** The network that an effect is on, which its digest names. */
export interface EffectOn {
  /** Hex. */
  readonly networkId: string;
  readonly constitution: Constitution;
}

/**
 * Names an effect: two effects have one digest if and only if they change the same in the same way in the same network. A ballot
 * names its network by it, also where the tool that signed it knows no header for that.
 */
export function effectDigest(
  { networkId, constitution: before }: EffectOn,
  effect: ActionEffect,
  sha256: HashFunction,
): Bytes {
  const changes = constitutionChanges(before, effect.constitution, sha256).map(({ path, before: from, after: to }) => ({
    path,
    before: from,
    after: to,
  }));
  const { opensEpoch, rotatesService } = effect;
  const expels = [...effect.expels].sort().map(fromHex);
  const network = fromHex(networkId);
  return sha256(encodeCbor(treeToCbor({ network, changes, opensEpoch, rotatesService, expels })));
}

/** What a proposal would do, line by line: the constitution's changes, then what follows from them. */
export function describeEffect(
  before: Constitution,
  effect: ActionEffect,
  crypto: WordsCrypto,
): readonly DescribedChange[] {
  const { constitution: after, expels, opensEpoch, rotatesService } = effect;
  const lines = constitutionChanges(before, after, crypto.sha256).map((change) => ({
    path: change.path,
    before: treeToJson(change.before),
    after: treeToJson(change.after),
    words: changeInWords(change, after, crypto),
  }));
  const owners = new Map(before.nodes.map(({ nodeId, owner }) => [nodeId, owner]));
  const follows = (path: string, words: string): DescribedChange => ({ path, before: null, after: true, words });
  return [
    ...lines,
    ...expels.map((nodeId) => {
      const owner = owners.get(nodeId) ?? "";
      return follows(`expelled.${nodeId}`, `expels node ${shortHex(nodeId)} of ${owner}: what it runs is retired`);
    }),
    ...(opensEpoch ? [follows("epoch", "opens the next epoch, with a new key")] : []),
    ...(rotatesService ? [follows("serviceIdentity", "gives the service a new identity with that epoch")] : []),
  ];
}
