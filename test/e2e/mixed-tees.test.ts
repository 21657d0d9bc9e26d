/**
 * A network whose nodes run on different TEEs: two machines of the virtual TEE with code of their own, one of SEV-SNP, one of TDX and
 * one of SEV-SNP that attests through the virtual TPM of an Azure machine, whose evidence is by the roots of this test. It forms and commits, refuses what its manifests do not list, on channels and
 * at joining, re-forms after votes on the TEE manifest, and renews all leases without a failed write.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { readEvidence } from "../../src/cli/evidence-reader.ts";
import { judgeNetwork, type NetworkTrust } from "../../src/cli/network-trust.ts";
import type { HardwareRoots } from "../../src/attestation/evidence.ts";
import type { Action } from "../../src/core/governance/actions.ts";
import { teeKey } from "../../src/core/governance/manifest-entries.ts";
import { createGovernanceCrypto } from "../../src/enclave/manager/node-crypto.ts";
import { measuredOf, PLAYED_ROOTS, playedSnp, playedTdx, playedVtpm } from "../support/played-hardware.ts";
import { constitutionOf, decide as decideOn, type NetworkView } from "./lib/governance.ts";
import { sendTransfers, signTransfer } from "./lib/load.ts";
import { accountKey } from "./lib/network.ts";
import { PlayedNetwork, type PlayedNode } from "./lib/played-network.ts";
import { delay, present, until } from "./lib/processes.ts";

const LEASE_MS = 4_000;
const STRANGE_CODE = 0x77;

let network: PlayedNetwork;
let first: PlayedNode;
let observer: PlayedNode;
let snp: PlayedNode;
let tdx: PlayedNode;
let azure: PlayedNode;
const newcomers: PlayedNode[] = [];
const gone: PlayedNode[] = [];
let nonce = 0;

before(async () => {
  network = await PlayedNetwork.start([
    { name: "virtual0" },
    { name: "virtual1", otherCode: true },
    { name: "snp0", provider: playedSnp() },
    { name: "tdx0", provider: playedTdx() },
    { name: "azure0", provider: playedVtpm() },
  ]);
  [first, observer, snp, tdx, azure] = network.nodes as [PlayedNode, PlayedNode, PlayedNode, PlayedNode, PlayedNode];
});
after(() => network?.stop(newcomers));

const members = (): readonly PlayedNode[] =>
  [...network.nodes, ...newcomers].filter((node) => !gone.includes(node) && node.entry !== undefined);

async function newcomer(machine: PlayedNode["machine"]): Promise<PlayedNode> {
  const node = await network.newcomer(machine);
  newcomers.push(node);
  return node;
}

async function leader(): Promise<PlayedNode> {
  return until("a node leads", async () => {
    const { primary_id: id } = await first.read<NetworkView>("/node/network");
    return network.nodes.find(({ nodeId }) => nodeId === id) ?? newcomers.find(({ nodeId }) => nodeId === id);
  });
}

const decide = async (...actions: readonly Action[]): Promise<void> => decideOn(network, await leader(), ...actions);

/** Transfers over a node, which these nodes then have. */
async function commit(over: PlayedNode, on: readonly PlayedNode[]): Promise<void> {
  await sendTransfers(over, { account: 0, from: nonce, count: 3 });
  nonce += 3;
  const { address } = privateKeyToAccount(accountKey(0));
  for (const node of on)
    await until(`${node.machine.name} has them`, async () =>
      Number(await node.rpc.call<Hex>("eth_getTransactionCount", address, "latest")) === nonce ? true : undefined,
    );
}

/** How a client sees the network that trusts these roots. */
async function judged(roots: HardwareRoots | undefined, over = first): Promise<NetworkTrust> {
  const constitution = await constitutionOf(over);
  const { network_id: networkId } = await over.read<NetworkView>("/node/network");
  const evidence = await readEvidence({ json: (path) => over.read(path) });
  return judgeNetwork({ networkId, constitution }, evidence, createGovernanceCrypto(undefined, roots));
}

const trustOf = ({ nodes }: NetworkTrust, { nodeId }: PlayedNode) =>
  present(nodes.find((node) => node.nodeId === nodeId));

const recorded = (...nodes: readonly PlayedNode[]): Promise<NetworkTrust> =>
  until("all are recorded", async () => {
    const trust = await judged(PLAYED_ROOTS);
    return nodes.every((node) => trustOf(trust, node).isTrusted) ? trust : undefined;
  });

describe("a network of several TEEs", () => {
  test("forms, commits on all nodes, and has the evidence of each in its ledger", async () => {
    for (const node of network.nodes) await commit(node, network.nodes);
    const trust = await recorded(...network.nodes);
    assert.deepEqual(
      network.nodes.map((node) => trustOf(trust, node).tee),
      ["virtual", "virtual", "snp", "tdx", "snp"],
    );
    assert.deepEqual([trust.weakestRunning, trust.weakestAdmitted], ["virtual", "virtual"]);
    const measurements = network.nodes.map((node) => trustOf(trust, node).measurement);
    assert.equal(new Set(measurements).size, 5, "each runs code of its own");
    assert.deepEqual(measurements.slice(2), [measuredOf(0x90), measuredOf(0xd1), measuredOf(0x91)]);
    assert.notEqual(teeKey(first.entry.tee), teeKey(present(network.nodes[1]).entry.tee), "two machines");
  });

  test("is trusted by clients that have the roots, and its hardware by nobody who has the pinned ones", async () => {
    const pinned = await judged(undefined);
    assert.deepEqual(
      network.nodes.map((node) => trustOf(pinned, node).isTrusted),
      [true, true, false, false, false],
    );
    assert.match(trustOf(pinned, snp).reasons.join(), /RootNotTrusted/);
  });

  for (const [what, played, nodeOf, code, message] of [
    [
      "other code",
      () => playedSnp({ code: STRANGE_CODE }),
      () => snp,
      "CodeNotApproved",
      "does not list the measurement",
    ],
    ["a debugged machine", () => playedTdx({ debug: true }), () => tdx, "EvidenceRejected", "[Dd]ebug"],
    ["another boot", () => playedVtpm({ booted: 0x66 }), () => azure, "EvidenceRejected", "register 4: 6666"],
  ] as const)
    test(`refuses the channels of a listed node that comes back on ${what}`, async () => {
      const [provider, node] = [played(), nodeOf()];
      const others = network.nodes.filter((other) => other !== node);
      await node.stop();
      // The log takes a few refusals per minute: a node that starts anew has none behind it.
      await observer.stop();
      await observer.start();
      await observer.ready();
      const marks = others.map(({ logged }) => logged.length);
      await node.start(provider);
      const refusal = await until("it is refused", () =>
        observer.logged
          .slice(marks[others.indexOf(observer)])
          .find(({ event, fields }) => event === "channel_refused" && fields["code"] === code),
      );
      assert.match(String(refusal.fields["message"]), new RegExp(message));
      await commit(first, others);
      const takes = ({ event, fields }: PlayedNode["logged"][number]) =>
        event === "channel_up" && fields["peer"] === node.nodeId;
      assert.ok(!others.some(({ logged }, at) => logged.slice(marks[at]).some(takes)), "nobody takes a channel of it");
      await node.stop();
      await node.start();
      await node.ready();
      await commit(node, network.nodes);
    });

  test("refuses a newcomer whose code, or whose machine, no manifest lists, and lets it in after the vote", async () => {
    const strange = await newcomer({ name: "snp1", provider: playedSnp({ code: STRANGE_CODE, chip: 2 }) });
    await assert.rejects(strange.join(first), { code: "JoinCodeNotApproved" });
    const unlisted = await newcomer({ name: "virtual2" });
    await assert.rejects(unlisted.join(first), { code: "JoinNotListed" });
    await decide({ name: "add_node", args: { entry: unlisted.entry.entry } });
    await assert.rejects(unlisted.join(first), { code: "JoinTeeNotApproved", message: /does not list the machine/ });
    await decide({ name: "approve_tee", args: unlisted.entry.tee });
    await unlisted.join(first);
    await unlisted.start();
    await unlisted.ready();
    await recorded(unlisted);
    gone.push(strange);
    await commit(unlisted, [...network.nodes, unlisted]);
  });

  test("expels the nodes of a TEE that is voted out, and goes on under new keys", async () => {
    const before = await first.read<NetworkView>("/node/network");
    await decide({ name: "retire_tee", args: { key: teeKey(tdx.entry.tee) } });
    gone.push(tdx);
    await until("it is expelled, and its keys are of no use", async () => {
      const now = await first.read<NetworkView>("/node/network");
      const isListed = now.nodes.some(({ node_id }) => node_id === tdx.nodeId);
      return !isListed && now.service_certificate !== before.service_certificate ? true : undefined;
    });
    for (const node of members()) node.reconnect();
    await commit(first, members());
    assert.ok(!(await judged(PLAYED_ROOTS)).nodes.some(({ nodeId }) => nodeId === tdx.nodeId));
  });

  test("re-forms with a node of that TEE once its policy is voted in again", async () => {
    const again = await newcomer({ name: "tdx1", provider: playedTdx() });
    await decide({ name: "add_node", args: { entry: again.entry.entry } });
    await assert.rejects(again.join(first), { code: "JoinTeeNotApproved" });
    await decide({
      name: "approve_tee",
      args: { ...again.entry.tee, ...(again.entry.tee.tee === "tdx" && { id: "again" }) } as typeof again.entry.tee,
    });
    await again.join(first);
    await again.start();
    await again.ready();
    const trust = await recorded(...members());
    assert.deepEqual(
      members()
        .map((node) => trustOf(trust, node).tee)
        .sort(),
      [...["snp", "snp", "tdx", "virtual", "virtual", "virtual"]],
    );
    await commit(again, members());
  });

  test("attests all its nodes again and again without one failed write", async () => {
    await decide({ name: "set_settings", args: { leaseMs: LEASE_MS } });
    const attestedAt = async (): Promise<readonly number[]> => {
      const { nodes } = await readEvidence({ json: (path) => first.read(path) });
      assert.ok(nodes.every(({ isQuarantined }) => !isQuarantined));
      return nodes.map(({ attested }) => attested?.attestedAtMs ?? 0);
    };
    const [before, account] = [await attestedAt(), privateKeyToAccount(accountKey(0))];
    const since = nonce;
    const renewed = async () => (await attestedAt()).every((at, place) => at >= (before[place] ?? 0) + LEASE_MS);
    while (!(await renewed())) {
      const node = present(members()[nonce % members().length]);
      await node.rpc.call<Hex>("eth_sendRawTransaction", await signTransfer(account, nonce++));
      await delay(40);
    }
    assert.ok(nonce - since > 10, `${nonce - since} writes`);
    await commit(first, members());
  });

  test("has the expelled node end by itself, which hears of its end by the silence", async () => {
    assert.equal((await until("it ends", () => tdx.fatal)).code, "NodeRemoved");
  });
});
