/**
 * Voting in new code (R8) where all members' keys are at hand: a sandbox whose code was edited since it last ran.
 *
 * Every node gets an approval for exactly the constitution its own ledger ends in, because a node that was away for a
 * while must believe its peers' new code before it can catch up. A leader puts its approval into the ledger when it fits.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  basisOf,
  encodeDecision,
  judgeDecision,
  proposalDigest,
  signBallot,
  signProposal,
  type Decision,
  type StandingConstitution,
} from "../../core/governance/decision.ts";
import { constitutionDigest } from "../../core/governance/constitution-codec.ts";
import type { CodeEntry, Constitution } from "../../core/governance/constitution.ts";
import type { Signer } from "../../core/governance/governance-crypto.ts";
import { toHex } from "../../core/codec/bytes.ts";
import { createGovernanceCrypto, sha256 } from "../../enclave/manager/node-crypto.ts";
import { invariant } from "../../errors.ts";
import { PUBLIC_FILE_MODE, writeFileAtomic } from "../files.ts";
import { signerOf } from "../genesis.ts";
import { readLedgerGovernance } from "../ledger-governance.ts";
import { APPROVAL_FILE } from "../node-folder.ts";
import { SANDBOX_MEMBERS, type SandboxLayout } from "./layout.ts";

/** What was voted in. */
export interface CodeChange {
  /** Lower-case hex. */
  readonly measurement: string;
  /** Version of the newest constitution that lists the code. */
  readonly constitutionVersion: number;
}

/** A proposal of the first member with the votes of the first members that make a majority. */
export function approveCode(standing: StandingConstitution, code: CodeEntry, members: readonly Signer[]): Decision {
  const proposer = members[0];
  invariant(proposer, "a sandbox has members");
  const { measurement, name, version } = code;
  const proposal = signProposal({ action: "approve_code", ...basisOf(standing), measurement, name, version }, proposer);
  const digest = proposalDigest(proposal, { sha256 });
  const voters = members.slice(0, Math.floor(members.length / 2) + 1);
  return { proposal, ballots: voters.map((member) => signBallot({ proposal: digest, vote: "for" }, member)) };
}

/** The constitution of a network that has not run yet, as proposals refer to it. */
export function standingGenesis(genesis: Constitution): StandingConstitution {
  const digest = constitutionDigest(genesis, sha256);
  return { networkId: toHex(digest), constitution: genesis, constitutionDigest: digest };
}

/**
 * Gives every node whose ledger does not list the code an approval of it. Returns what changed for the network; undefined
 * when its newest constitution lists the code already. Nodes must not run.
 */
export async function approveNewCode(
  layout: SandboxLayout,
  nodeCount: number,
  genesis: Constitution,
  code: CodeEntry,
): Promise<CodeChange | undefined> {
  const crypto = createGovernanceCrypto();
  const lists = ({ constitution }: StandingConstitution) =>
    constitution.codeManifest.some(({ measurement }) => measurement === code.measurement);
  let newest: StandingConstitution = standingGenesis(genesis);
  let members: readonly Signer[] | undefined;
  for (let at = 0; at < nodeCount; at++) {
    const standing = (await readLedgerGovernance(layout.ledger(at))) ?? standingGenesis(genesis);
    if (standing.constitution.version > newest.constitution.version) newest = standing;
    if (lists(standing)) continue;
    members ??= await readMembers(layout);
    const approval = approveCode(standing, code, members);
    judgeDecision(standing, approval, crypto);
    await writeFileAtomic(join(layout.node(at), APPROVAL_FILE), encodeDecision(approval), PUBLIC_FILE_MODE);
  }
  if (lists(newest)) return undefined;
  return { measurement: code.measurement, constitutionVersion: newest.constitution.version + 1 };
}

function readMembers(layout: SandboxLayout): Promise<readonly Signer[]> {
  const members = Array.from({ length: SANDBOX_MEMBERS }, (_, at) => layout.member(at));
  return Promise.all(members.map(async ({ id, key }) => signerOf(id, await readFile(key, "utf8"))));
}
