/**
 * What of a constitution needs cryptography: certificates with usable keys, and VN list entries signed by their owners.
 * Every validating node runs it on the genesis constitution before it takes part (R12, R14).
 */
import type { Actor, Constitution } from "./constitution.ts";
import { fieldInvalid, type FieldContext } from "./fields.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { nodeEntryProblem } from "./node-entry.ts";

const CONTEXT: FieldContext = { form: "cbor", code: "ConstitutionInvalid" };

/** The actor with this id; undefined when the constitution lists none. */
export function actorById(constitution: Constitution, id: string): Actor | undefined {
  return constitution.actors.find((actor) => actor.id === id);
}

/** Throws `ConstitutionInvalid` with the field unless every certificate and every signature of the constitution holds. */
export function verifyConstitution(constitution: Constitution, crypto: GovernanceCrypto): void {
  for (const [at, { certificates }] of constitution.actors.entries()) {
    for (const [index, certificate] of certificates.entries()) {
      if (crypto.certificateKey(certificate) !== undefined) continue;
      const path = `actors[${at}].certificates[${index}]`;
      throw fieldInvalid(CONTEXT, path, "expected an X.509 certificate with a key on P-256 or P-384");
    }
  }
  verifyNodes(constitution, crypto, CONTEXT);
}

/** Throws an error of the context, with the field, unless the owner of each VN list entry has signed it. */
export function verifyNodes(constitution: Constitution, crypto: GovernanceCrypto, context: FieldContext): void {
  for (const [at, node] of constitution.nodes.entries()) {
    const owner = actorById(constitution, node.owner);
    const problem =
      owner === undefined ? "owner is not listed" : nodeEntryProblem(constitution.network.name, node, owner, crypto);
    if (problem !== undefined) throw fieldInvalid(context, `nodes[${at}].signature`, problem);
  }
}
