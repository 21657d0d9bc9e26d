/** Rights of actors for tests: constitutions in which some are banned, limited or missing. */
import { constitutionOf } from "./governed-network.ts";
import type { Actor, Constitution, Restriction } from "../../src/core/governance/constitution.ts";
import { Rights } from "../../src/core/governance/rights.ts";

/** A participant that no member knows more of than its id. */
function participantOf(id: string, restriction: Restriction | undefined): Actor {
  const plain = { id, name: id, role: "participant", certificates: [], revocations: [] } as const;
  return restriction === undefined ? plain : { ...plain, restriction };
}

/** A constitution with three members and these participants. */
export function constitutionWith(
  participants: Readonly<Record<string, Restriction | undefined>>,
  open = true,
): Constitution {
  const founded = constitutionOf([0]);
  const added = Object.entries(participants).map(([id, restriction]) => participantOf(id, restriction));
  return { ...founded, network: { ...founded.network, open }, actors: [...founded.actors, ...added] };
}

/** The rights under {@link constitutionWith}. */
export function rightsOf(participants: Readonly<Record<string, Restriction | undefined>>, open = true): Rights {
  return new Rights(constitutionWith(participants, open));
}
