/**
 * Appraisal of what the ledger has recorded of a node, by the manifests as they are now: they may have changed since, and entries
 * begin and end by their dates. The evidence is verified again, by whoever asks and at the time of its record, once per record.
 */
import type {
  AppraisalReason,
  AttestedNode,
  EvidenceProblem,
  GovernanceCrypto,
} from "../core/governance/governance-crypto.ts";
import { appraise } from "./appraise.ts";
import { platformOf, type Claims } from "./evidence.ts";

/** Makes {@link GovernanceCrypto.appraise} of what verifies the evidence of a record. */
export function recordedAppraiser(
  verify: (node: AttestedNode) => Claims | EvidenceProblem,
): GovernanceCrypto["appraise"] {
  const verified = new WeakMap<AttestedNode, Claims | EvidenceProblem>();
  const claimsOf = (node: AttestedNode): Claims | EvidenceProblem => {
    const known = verified.get(node) ?? asRecorded(node, verify(node));
    verified.set(node, known);
    return known;
  };
  return (node, manifests, nowMs): readonly AppraisalReason[] => {
    const claims = claimsOf(node);
    if ("problem" in claims) {
      const message = `the evidence does not hold: ${claims.problem}`;
      return [{ manifest: "tee", reason: claims.problem, message }];
    }
    return appraise(claims, manifests, nowMs).reasons.map(({ code, reason, message }) => ({
      manifest: code === "CodeNotApproved" ? "code" : "tee",
      ...{ reason, message },
    }));
  };
}

/** A record says of its evidence what the evidence says. */
function asRecorded(node: AttestedNode, claims: Claims | EvidenceProblem): Claims | EvidenceProblem {
  if ("problem" in claims) return claims;
  const isSame =
    claims.tee === node.tee && claims.measurement === node.measurement && platformOf(claims) === node.platform;
  return isSame ? claims : { problem: "Malformed" };
}
