/** What can be shown afterwards: every write, and the history of the governance to somebody who was never there. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { assertThat, readOf } from "./consortium.ts";
import { type Cast, SERVICE_CERTIFICATE } from "./consortium-founding.ts";
import type { LoadCount } from "./consortium-load.ts";

interface Proposals {
  readonly valid: boolean;
  readonly proposals: readonly {
    readonly proposer: string;
    readonly actions: readonly string[];
    readonly state: string;
    readonly ballots: readonly { readonly member: string; readonly transactionId: string }[];
  }[];
}

/** The writes, and how many of them a node that stays finds committed. */
export interface Writes extends LoadCount {
  readonly committed: number;
}

/** Ends the load and looks up everything that was acknowledged, on a follower as well as on the leader. */
export async function countWrites({ load, running }: Cast): Promise<Writes> {
  const { current } = load;
  assertThat(current !== undefined, "there is a load");
  await current.stop();
  const found = await Promise.all(running.map(({ clientPort }) => current.committedAt(clientPort)));
  const count = { ...current.count(), committed: Math.min(...found) };
  current.close();
  assertThat(count.failed === 0, `${count.failed} writes failed`);
  assertThat(count.sent === count.acknowledged, "every write was acknowledged");
  assertThat(count.committed === count.acknowledged, "every acknowledged write is committed on every node");
  return count;
}

/** An auditor with nothing but the first service certificate and a copy of a ledger. */
export async function audit(cast: Cast): Promise<string> {
  const { consortium, auditor, globex } = cast;
  assertThat(
    readOf(auditor, SERVICE_CERTIFICATE) !== readOf(globex, join("node", SERVICE_CERTIFICATE)),
    "the service has another certificate by now",
  );
  cpSync(join(globex.dir, "node", "ledger"), join(auditor.dir, "ledger"), { recursive: true });
  const verify = ["ledger", "verify", "ledger", "--service-cert", SERVICE_CERTIFICATE, "--from-genesis"];
  await consortium.run(auditor, verify, { show: /./ });
  const history = ["ledger", "governance", "ledger", "--service-cert", SERVICE_CERTIFICATE];
  await consortium.run(auditor, history, { show: /./ });
  await consortium.run(auditor, ["ledger", "evidence", "ledger", "--newest"], { show: /./ });
  const { valid, proposals } = await consortium.json<Proposals>(auditor, history);
  assertThat(valid, "the history holds");
  const told = proposals.map(({ actions, state }) => `${actions[0]} ${state}`);
  const expected = ["open_network", "add_member", "add_participant", "approve_code", "retire_code", "set_policy"];
  const all = [...expected.map((name) => `${name} Accepted`), "add_member Rejected", "remove_member Accepted"];
  assertThat(told.join() === all.join(), `the history tells all of it: ${told.join(", ")}`);
  assertThat(
    proposals.every(({ ballots }) => ballots.length >= 2),
    "it tells every ballot",
  );
  const ballots = proposals.reduce((sum, proposal) => sum + proposal.ballots.length, 0);
  return `ledger valid from its genesis by the first service certificate; ${proposals.length} proposals, ${ballots} ballots`;
}
