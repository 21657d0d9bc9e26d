/**
 * Voting in new code (R8) where all members' keys are at hand: a sandbox whose code was edited since it last ran.
 *
 * Every node gets an approval for the constitution its own ledger ends in, because a node that was away for a while must
 * believe its peers' new code before it can catch up. Each brings its approval to the leader, as far as it holds.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  executeAdministrative,
  placeAt,
  withRequests,
  type GovernanceState,
} from "../../core/governance/administrative.ts";
import { agreedRequests } from "../../core/governance/agreed-requests.ts";
import type { CodeEntry } from "../../core/governance/manifest-entries.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { encodeMessages } from "../../core/governance/proposal-codec.ts";
import type { Trial } from "../../core/governance/vote-count.ts";
import type { RequestSigner } from "../../core/governance/request-signing.ts";
import { CocoError, invariant } from "../../errors.ts";
import { PUBLIC_FILE_MODE, writeFileAtomic } from "../files.ts";
import { readLedgerGovernance } from "../ledger-governance.ts";
import { APPROVAL_FILE } from "../node-folder.ts";
import { readRequestSigner } from "../request-signer.ts";
import { loadGovernanceCrypto } from "../script-engine-file.ts";
import { SANDBOX_MEMBERS, type SandboxLayout } from "./layout.ts";

/** What was voted in. */
export interface CodeChange {
  /** Lower-case hex. */
  readonly measurement: string;
  /** Version of the newest constitution that lists the code. */
  readonly constitutionVersion: number;
}

/** The members' approval of code for the state as it is. */
export function approveCode(
  state: GovernanceState,
  { measurement, name, version }: CodeEntry,
  members: readonly RequestSigner[],
  trial: Trial,
): readonly SignedMessage[] {
  const [first, ...others] = members;
  invariant(first, "a sandbox has members");
  const actions = [{ name: "approve_code", args: { measurement, name, version } }] as const;
  return agreedRequests(state, actions, [first, ...others], trial);
}

/** The state of a network that has not run yet. */
export function genesisState(constitution: Constitution, crypto: GovernanceCrypto): GovernanceState {
  return executeAdministrative(undefined, { type: "genesis", constitution }, placeAt(0), crypto);
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
  const crypto = await loadGovernanceCrypto();
  const lists = ({ constitution }: GovernanceState) =>
    constitution.codeManifest.some(({ measurement }) => measurement === code.measurement);
  let newest = genesisState(genesis, crypto);
  let members: readonly RequestSigner[] | undefined;
  for (let at = 0; at < nodeCount; at++) {
    const state = (await readLedgerGovernance(layout.ledger(at))) ?? genesisState(genesis, crypto);
    if (state.constitution.version > newest.constitution.version) newest = state;
    if (lists(state)) continue;
    members ??= await readMembers(layout);
    const nowMs = Date.now();
    const approval = approveCode(state, code, members, { crypto, nowMs });
    if (!lists(withRequests(state, approval, nowMs, crypto)))
      throw new CocoError("CodeNotApproved", "the sandbox's members cannot approve its new code by themselves");
    await writeFileAtomic(join(layout.node(at), APPROVAL_FILE), encodeMessages(approval), PUBLIC_FILE_MODE);
  }
  if (lists(newest)) return undefined;
  return { measurement: code.measurement, constitutionVersion: newest.constitution.version + 1 };
}

function readMembers(layout: SandboxLayout): Promise<readonly RequestSigner[]> {
  const members = Array.from({ length: SANDBOX_MEMBERS }, (_, at) => layout.member(at));
  return Promise.all(
    members.map(async ({ certificate, key }) =>
      readRequestSigner(await readFile(certificate, "utf8"), await readFile(key, "utf8")),
    ),
  );
}
