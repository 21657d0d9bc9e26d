/** A whole constitution in plain words, for those who are to agree on it: who is in it, what runs, who can decide what. */
import { certificateInWords, type WordsCrypto } from "./certificate-words.ts";
import { codeEntryInWords, inForceInWords, teeEntryInWords, restrictionInWords, shortHex } from "./change-words.ts";
import type { Actor, Constitution } from "./constitution.ts";
import { TEE_NAMES } from "./manifest-entries.ts";
import { durationInWords, explainPolicies } from "./policy-words.ts";

/** One part of the explanation. */
export interface ExplainedPart {
  readonly title: string;
  readonly lines: readonly string[];
}

function actorLines(actor: Actor, { nodes }: Constitution, crypto: WordsCrypto): readonly string[] {
  const owned = nodes.filter(({ owner }) => owner === actor.id).length;
  const restriction = actor.restriction && `, ${restrictionInWords(actor.restriction)}`;
  const revoked = actor.revocations.length === 0 ? "" : `, ${actor.revocations.length} revocation lists`;
  return [
    `${actor.name} (${actor.id}): owns ${owned} of ${nodes.length} nodes${restriction ?? ""}${revoked}`,
    ...actor.certificates.map((der) => `  ${certificateInWords(der, crypto)}`),
  ];
}

function actorsOf(constitution: Constitution, role: Actor["role"], crypto: WordsCrypto): readonly string[] {
  const actors = constitution.actors.filter((actor) => actor.role === role);
  return actors.flatMap((actor) => actorLines(actor, constitution, crypto));
}

function quorumLine({ nodes, settings: { consensus, quorum } }: Constitution): string {
  const count = nodes.length;
  if (consensus === "solo") return "one node orders everything; when it is gone, so is the network's ledger";
  if (quorum.type === "flexible") {
    const { election, replication } = quorum;
    return `${election} of ${count} nodes elect a leader, ${replication} make a batch durable`;
  }
  if (quorum.type === "perActor")
    return "a majority of the actors that own nodes must agree, each by a majority of its own";
  const majority = Math.floor(count / 2) + 1;
  return `${majority} of ${count} nodes must agree; ${count - majority} may fail`;
}

function nodeLines(constitution: Constitution): readonly string[] {
  const { nodes, settings } = constitution;
  const { nodesPerActor } = settings;
  const most =
    nodesPerActor === 0 ? "one actor may own any number of nodes" : `one actor owns ${nodesPerActor} nodes at most`;
  const listed = nodes.map(
    ({ nodeId, owner, address, clientAddress }) =>
      `${shortHex(nodeId)} of ${owner} at ${address} (clients: ${clientAddress})`,
  );
  return [...listed, quorumLine(constitution), most];
}

function manifestLines({ codeManifest, teeManifest }: Constitution, crypto: WordsCrypto): readonly string[] {
  return [
    ...codeManifest.map((code) => {
      const { approval } = code;
      const by = approval === undefined ? "" : `, approved by ${approval.yes} of ${approval.members} members`;
      return `${codeEntryInWords(code)}${inForceInWords(code)}${by}`;
    }),
    ...teeManifest.map((entry) => `${teeEntryInWords(entry, crypto)}${inForceInWords(entry)}`),
    weakestLine(teeManifest),
  ];
}

/** As strong as the weakest that it admits (R7). */
function weakestLine(teeManifest: Constitution["teeManifest"]): string {
  const weakest = TEE_NAMES.find((tee) => teeManifest.some((entry) => entry.tee === tee)) ?? "virtual";
  if (weakest !== "virtual") return `no TEE that is admitted is weaker than ${weakest}`;
  return "the virtual TEE is admitted: it says which code runs where, and keeps nobody with access to a machine out";
}

function leaseLine({ leaseMs = 0 }: Constitution["settings"]): string {
  if (leaseMs === 0) return "evidence of a node counts without end: there are no leases";
  return `a node shows what it runs every ${durationInWords(leaseMs)}, or is quarantined`;
}

function settingLines({ network, settings, script, adapters }: Constitution): readonly string[] {
  const { epoch, trustDisk, answerAfter } = settings;
  const ends = [
    ...(epoch.lengthMs > 0 ? [`after ${durationInWords(epoch.lengthMs)}`] : []),
    ...(epoch.transactions > 0 ? [`after ${epoch.transactions} transactions`] : []),
    "when members vote for it or somebody loses access",
  ];
  return [
    network.open ? "the network is open to requests" : "the network takes governance only, until members open it",
    `an epoch ends ${ends.join(", ")}`,
    leaseLine(settings),
    trustDisk ? "a node that restarts trusts its disk" : "a node that restarts does not vote before it has caught up",
    `a write is answered after its ${answerAfter}`,
    script === undefined ? "no script judges proposals" : `a script of ${script.length} characters may judge proposals`,
    ...adapters.map(({ name, version, mount }) => `adapter ${name} ${version} at ${mount}`),
  ];
}

/** Explains a constitution part by part; what a policy means is found by judging votes under it. */
export function explainConstitution(constitution: Constitution, crypto: WordsCrypto): readonly ExplainedPart[] {
  const { policies, actors } = constitution;
  const participants = actorsOf(constitution, "participant", crypto);
  return [
    { title: "members", lines: actorsOf(constitution, "member", crypto) },
    { title: "participants", lines: participants.length === 0 ? ["none"] : participants },
    { title: "validating nodes", lines: nodeLines(constitution) },
    { title: "code and machines", lines: manifestLines(constitution, crypto) },
    { title: "votes", lines: explainPolicies(policies, actors).map(({ words }) => words) },
    { title: "operation", lines: settingLines(constitution) },
  ];
}
