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
 * when its newest constitution lists the code already. Nodes must not run. Throws `LedgerCorrupt` when every ledger is damaged.
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
  const states = await readStates(layout, nodeCount, genesisState(genesis, crypto));
  const newest = newestOf(states);
  let members: readonly RequestSigner[] | undefined;
  for (const [at, found] of states.entries()) {
    // A node with a damaged ledger repairs it from its peers, and has their newest state then.
    const state = found ?? newest;
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

/** What each node's ledger ends in; undefined where the ledger is damaged. Throws `LedgerCorrupt` when all are. */
async function readStates(
  layout: SandboxLayout,
  nodeCount: number,
  genesis: GovernanceState,
): Promise<readonly (GovernanceState | undefined)[]> {
  const states: (GovernanceState | undefined)[] = [];
  let damage: CocoError | undefined;
  for (let at = 0; at < nodeCount; at++) {
    try {
      states.push((await readLedgerGovernance(layout.ledger(at))) ?? genesis);
    } catch (error) {
      if (!(error instanceof CocoError) || error.code !== "LedgerCorrupt") throw error;
      damage ??= error;
      states.push(undefined);
    }
  }
  if (damage !== undefined && states.every((state) => state === undefined)) throw damage;
  return states;
}

function newestOf(states: readonly (GovernanceState | undefined)[]): GovernanceState {
  const [first, ...others] = states.filter((state) => state !== undefined);
  invariant(first, "a sandbox has a node whose ledger can be read");
  return others.reduce(
    (newest, state) => (state.constitution.version > newest.constitution.version ? state : newest),
    first,
  );
}

function readMembers(layout: SandboxLayout): Promise<readonly RequestSigner[]> {
  const members = Array.from({ length: SANDBOX_MEMBERS }, (_, at) => layout.member(at));
  return Promise.all(
    members.map(async ({ certificate, key }) =>
      readRequestSigner(await readFile(certificate, "utf8"), await readFile(key, "utf8")),
    ),
  );
}
