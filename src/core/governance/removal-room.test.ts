/** What proposals of the ledger, to remove nodes whose lease has ended, may take of the room that members' proposals have. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  constitutionOf,
  GOVERNANCE_CRYPTO,
  GovernedNetwork,
  idOf,
  refusal,
  requestSignerOf,
  tupleOf,
} from "../../../test/support/governed-network.ts";
import { simulatedEvidence } from "../../../test/simulation/simulated-crypto.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { fromHex, utf8Encode } from "../codec/bytes.ts";
import { attestChallenge, attestReportData } from "./attest.ts";
import { challengeIsDue } from "./challenges.ts";
import { isPending, MAX_OPEN_PROPOSALS_BYTES, memberBytes, type ProposalRecord } from "./proposal.ts";
import { LEDGER_PROPOSER, removalProposal } from "./removal-proposals.ts";
import { proposalPayload, signProposal, signRequest } from "./request-signing.ts";
import type { ScriptCall } from "./script.ts";
import { decodeGovernanceState, encodeGovernanceState } from "./state-codec.ts";

const LEASE_MS = 60_000;
const [machine = assert.fail()] = constitutionOf([0]).teeManifest;
const MACHINE = machine.tee === "virtual" ? machine.machineKey : assert.fail();
const CODE = fromHex(constitutionOf([0]).codeManifest[0]?.measurement ?? assert.fail());
const PADDING = "x".repeat(110_000);

// Scripts are told apart by what they say; nobody's decides.
const runScript = ({ function: name }: ScriptCall) =>
  ({ ok: true, value: name === "validate" ? { valid: true, description: "" } : "no" }) as const;
Object.assign(GOVERNANCE_CRYPTO, { runScript });

function pass(network: GovernedNetwork, ms: number): void {
  network.place = { ...network.place, timeMs: network.place.timeMs + ms };
}

/** A network with an open proposal of the ledger to remove node 2. */
function lapsedNetwork(): { readonly network: GovernedNetwork; readonly removal: ProposalRecord } {
  const network = new GovernedNetwork([0, 1, 2], { leaseMs: LEASE_MS, epoch: { lengthMs: 0 } });
  const attest = (at: number) => {
    if (challengeIsDue(network.state, network.place.timeMs)) network.execute({ type: "challenge" });
    const challenge = attestChallenge(network.state, idOf(at), sha256) ?? assert.fail();
    const reportData = attestReportData(network.state.networkId, tupleOf(at), challenge, sha256);
    network.execute({
      type: "attest",
      nodeId: idOf(at),
      challenge,
      evidence: simulatedEvidence(MACHINE, CODE, reportData),
    });
  };
  for (const at of [0, 1, 2]) attest(at);
  pass(network, LEASE_MS / 2);
  for (const at of [0, 1]) attest(at);
  pass(network, LEASE_MS / 2);
  network.execute({ type: "quarantine", nodeIds: [idOf(2)] });
  const removal = network.state.proposals.find(({ proposer }) => proposer === LEDGER_PROPOSER) ?? assert.fail();
  return { network, removal };
}

test("a member's ballots on proposals of the ledger count as its own room", () => {
  const { network, removal } = lapsedNetwork();
  const members = network.state.constitution.actors.map(({ id }) => id);
  const [member = assert.fail()] = members;
  const origin = () => {
    pass(network, 1_000);
    const createdAt = Math.floor(network.place.timeMs / 1000);
    return { signer: requestSignerOf(member), networkId: network.state.networkId, createdAt, sha256 };
  };
  const ballot = utf8Encode(JSON.stringify({ ballot: `export function vote () {} //${PADDING}` }));
  network.execute({ type: "request", ...signRequest("ballot", ballot, origin(), removal.id) });
  const propose = (at: number) => {
    const source = `export function validate () {} //${at}${PADDING}`;
    network.execute({
      type: "request",
      ...signProposal(proposalPayload([{ name: "set_script", args: { source } }]), origin()),
    });
  };
  const part = Math.floor(MAX_OPEN_PROPOSALS_BYTES / members.length);
  assert.throws(() => {
    for (let at = 0; at < 4; at++) propose(at);
  }, refusal("TooManyProposals"));
  const pending = network.state.proposals.filter(isPending);
  assert.ok(pending.length > 1, "what fits was taken");
  assert.ok(memberBytes(pending, member) <= part, `${memberBytes(pending, member)} of ${part}`);
});

test("a state with all the proposals there can be reads as it was written", () => {
  const { network } = lapsedNetwork();
  const place = { index: 1, timeMs: 5 };
  const { policies } = network.state.constitution;
  const make = (firstSeqno: number) => removalProposal(idOf(2), { ...place, firstSeqno }, policies, sha256);
  const decided = Array.from({ length: 4_096 }, (_, at) => ({
    ...make(at + 10),
    ...({ state: "Withdrawn", decidedAtMs: 6 } as const),
  }));
  const open = Array.from({ length: 65 }, (_, at) => make(at + 100_000));
  const state = { ...network.state, proposals: [...decided, ...open] };
  const read = decodeGovernanceState(encodeGovernanceState(state), sha256);
  assert.equal(read.proposals.length, decided.length + open.length);
});
