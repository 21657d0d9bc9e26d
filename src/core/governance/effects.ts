import type { Bytes, HashFunction } from "../codec/bytes.ts";
import { encodeCbor } from "../codec/cbor.ts";
import type { ActionEffect } from "./actions.ts";
import { constitutionChanges } from "./constitution-diff.ts";
import type { Constitution } from "./constitution.ts";
import { treeToCbor } from "./fields.ts";

/** Digest of what members decide on. */
export function effectDigest(before: Constitution, effect: ActionEffect, sha256: HashFunction): Bytes {
  const changes = constitutionChanges(before, effect.constitution, sha256);
  const { opensEpoch, rotatesService, expels } = effect;
  return sha256(
    encodeCbor(
      treeToCbor({
        changes: changes.map(({ path, before: from, after: to }) => ({ path, before: from, after: to })),
        opensEpoch,
        rotatesService,
        expels,
      }),
    ),
  );
}
