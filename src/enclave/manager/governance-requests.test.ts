import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { requestKey } from "../../core/governance/held-requests.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";
import { GovernedNetwork } from "../../../test/support/governed-network.ts";
import type { Frame } from "./frames.ts";
import { GOVERNANCE_REQUESTS_MAX, type GovernanceAnswer, GovernanceRequests } from "./governance-requests.ts";
import type { RequestOutcome } from "./leader-duties.ts";
import { sha256 } from "./node-crypto.ts";
import { LEADER_WAIT_MS, OPEN_REQUEST_TIMEOUT_MS, QUERY_RESEND_AFTER_MS } from "./open-requests.ts";

const OPEN_EPOCH = { name: "open_epoch", args: {} } as const;

interface Led {
  readonly message: SignedMessage;
  readonly done: (outcome: RequestOutcome) => void;
}

function fixture() {
  const network = new GovernedNetwork([0, 1, 2]);
  const [proposal, ballot] = network.requests(OPEN_EPOCH);
  assert.ok(ballot);
  const world = {
    now: 0,
    sent: [] as (readonly [string, Frame])[],
    led: [] as Led[],
    reachable: true,
    refuses: undefined as CocoError | undefined,
    appended: network.state as GovernanceState | undefined,
    committed: network.state as GovernanceState | undefined,
  };
  const requests = new GovernanceRequests({
    now: () => world.now,
    sha256,
    administration: {
      get appended() {
        return world.appended;
      },
      get committed() {
        return world.committed;
      },
    },
    lead: (message, done) => {
      if (world.refuses !== undefined) throw world.refuses;
      world.led.push({ message, done });
    },
    send: (peer, frame) => world.reachable && world.sent.push([peer, frame]) > 0,
  });
  const lead = (leader: string | undefined, serving = leader === "self") =>
    requests.leadershipChanged({ leader, term: world.now + 2, leads: leader === "self", serving });
  const submit = (message: SignedMessage) => {
    const answers: GovernanceAnswer[] = [];
    requests.submit(message, (answer) => answers.push(answer));
    return answers;
  };
  const batchOf = (message: SignedMessage) =>
    ({
      header: { kind: "administrative", view: 3, firstSeqno: 7 },
      transactions: [{ publicPart: encodeAdministrative({ type: "request", ...message }) }],
    }) as unknown as ParsedBatch;
  return { network, proposal, ballot, world, requests, lead, submit, batchOf };
}

const refusal = new CocoError("ProposalInvalid", "no", { reason: "ProposalNotFound" });

describe("a member's request on a follower", () => {
  test("goes to the leader, and is answered when it is committed here", () => {
    const { proposal, world, requests, lead, submit, batchOf } = fixture();
    lead("one");
    const answers = submit(proposal);
    assert.deepEqual(world.sent, [["one", { type: "govern", message: proposal.message, chain: proposal.chain }]]);
    assert.deepEqual(answers, []);
    requests.committed(batchOf(proposal));
    assert.deepEqual(answers, [{ type: "committed", transactionId: "3.7" }]);
    requests.committed(batchOf(proposal));
    assert.equal(answers.length, 1);
  });

  test("goes to the next leader, and again when nothing is heard", () => {
    const { proposal, world, requests, lead, submit } = fixture();
    const answers = submit(proposal);
    lead("one");
    world.now = 10;
    lead(undefined);
    lead("two");
    world.now += QUERY_RESEND_AFTER_MS;
    requests.tick();
    requests.leaderReachable();
    world.now += QUERY_RESEND_AFTER_MS;
    requests.leaderReachable();
    assert.deepEqual(
      world.sent.map(([peer]) => peer),
      ["one", "two", "two"],
    );
    assert.deepEqual(answers, []);
  });

  test("is refused by the leader it is with, and by no other", () => {
    const { proposal, requests, lead, submit } = fixture();
    const key = requestKey(proposal.message, sha256);
    const answers = submit(proposal);
    lead("one");
    lead("two");
    requests.frame("one", { type: "governRefused", key, error: refusal });
    assert.deepEqual(answers, []);
    requests.frame("two", { type: "governRefused", key, error: refusal });
    assert.deepEqual(answers, [{ type: "refused", error: refusal }]);
  });

  test("is answered at once when the ledger holds it: whoever sent it did not hear", () => {
    const { network, proposal, world, lead, submit } = fixture();
    lead("one");
    world.committed = network.execute({ type: "request", ...proposal });
    world.appended = world.committed;
    assert.deepEqual(submit(proposal), [{ type: "committed", transactionId: undefined }]);
    assert.deepEqual(world.sent, []);
  });

  test("is answered when a snapshot brings it", () => {
    const { network, proposal, world, requests, lead, submit } = fixture();
    lead("one");
    const answers = submit(proposal);
    requests.restored();
    assert.deepEqual(answers, []);
    world.committed = network.execute({ type: "request", ...proposal });
    requests.restored();
    assert.deepEqual(
      answers.map(({ type }) => type),
      ["committed"],
    );
  });

  test("waits for a leader, and for its outcome, no longer than other requests", () => {
    const { proposal, ballot, world, requests, lead, submit } = fixture();
    const alone = submit(proposal);
    world.now = LEADER_WAIT_MS + 1;
    requests.tick();
    assert.ok(alone[0]?.type === "refused" && alone[0].error.code === "NoLeader");
    lead("one");
    const slow = submit(ballot);
    world.now += OPEN_REQUEST_TIMEOUT_MS + 1;
    requests.tick();
    assert.ok(slow[0]?.type === "refused" && slow[0].error.code === "RequestTimeout");
  });

  test("that comes twice is one, and there are not too many", () => {
    const { proposal, world, requests, lead, submit, batchOf } = fixture();
    lead("one");
    const all = Array.from({ length: GOVERNANCE_REQUESTS_MAX }, () => submit(proposal));
    const [late] = submit(proposal);
    assert.ok(late?.type === "refused" && late.error.code === "TooManyRequests");
    assert.equal(world.sent.length, 1);
    requests.committed(batchOf(proposal));
    assert.ok(all.every(([answer]) => answer?.type === "committed"));
    assert.equal(requests.waiting, 0);
  });
});

describe("a member's request on the leader", () => {
  test("is taken once, from whoever it comes, and refused to all of them", () => {
    const { proposal, world, requests, lead, submit } = fixture();
    lead("self");
    const answers = submit(proposal);
    requests.frame("one", { type: "govern", ...proposal });
    requests.frame("one", { type: "govern", ...proposal });
    assert.equal(world.led.length, 1);
    world.led[0]?.done({ type: "refused", error: refusal });
    assert.deepEqual(answers, [{ type: "refused", error: refusal }]);
    const key = requestKey(proposal.message, sha256);
    assert.deepEqual(world.sent, [["one", { type: "governRefused", key, error: refusal }]]);
    requests.frame("one", { type: "govern", ...proposal });
    assert.equal(world.led.length, 2, "it may come again");
  });

  test("is not refused when the log holds it", () => {
    const { network, proposal, ballot, world, requests, lead } = fixture();
    world.refuses = refusal;
    lead("self");
    requests.frame("one", { type: "govern", ...ballot });
    assert.equal(world.sent.length, 1, "its proposal is not there yet");
    world.appended = network.execute({ type: "request", ...proposal });
    requests.frame("one", { type: "govern", ...proposal });
    world.appended = network.execute({ type: "request", ...ballot });
    requests.frame("one", { type: "govern", ...ballot });
    requests.frame("one", { type: "govern", ...proposal });
    assert.equal(world.sent.length, 1);
  });

  test("goes on with the next leader when this one stops leading", () => {
    const { proposal, world, requests, lead, submit, batchOf } = fixture();
    lead("self");
    const answers = submit(proposal);
    world.led[0]?.done({ type: "unknown" });
    lead("one");
    assert.equal(world.sent.length, 1);
    requests.committed(batchOf(proposal));
    assert.equal(answers[0]?.type, "committed");
  });

  test("is left alone by a node that does not lead, or not yet", () => {
    const { proposal, world, requests, lead, submit } = fixture();
    lead("one");
    requests.frame("two", { type: "govern", ...proposal });
    lead("self", false);
    const answers = submit(proposal);
    assert.deepEqual([world.led, world.sent, answers], [[], [], []]);
    lead("self");
    assert.equal(world.led.length, 1);
  });
});
