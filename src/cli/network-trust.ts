/**
 * `coco network trust`: for each validating node what it runs and on which TEE, what that rests on, how long its lease goes on and
 * why it is trusted or not; and the network's weakest link. The evidence is verified and appraised here: no node is believed.
 */
import type { Constitution } from "../core/governance/constitution.ts";
import type { AppraisalReason, GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import { TEE_NAMES, type TeeName } from "../core/governance/manifest-entries.ts";
import type { NetworkEvidence, RecordedEvidence } from "./evidence-reader.ts";

/** What a TEE rests on, in words. */
export const RESTS_ON: Readonly<Record<TeeName, string>> = {
  virtual: "a machine key in a file: identity, not isolation; whoever controls the machine sees and changes everything",
  vsm: "Windows' hypervisor and Secure Kernel, as a host guardian service or Azure Attestation vouches for them",
  sgx: "an Intel processor and its quoting enclave: memory of one process",
  tdx: "an Intel processor and its TDX module: memory of a whole guest",
  snp: "an AMD processor and its firmware: memory of a whole guest",
};

/** How one node stands. */
export interface NodeTrust {
  readonly nodeId: string;
  readonly owner: string;
  readonly tee: TeeName | null;
  readonly code: string | null;
  readonly measurement: string | null;
  readonly platform: string | null;
  readonly restsOn: string | null;
  readonly leaseEndsMs: number | null;
  readonly isQuarantined: boolean;
  readonly isTrusted: boolean;
  readonly reasons: readonly string[];
}

/** How the network stands. */
export interface NetworkTrust {
  /** The weakest TEE of a node that takes part, or that the TEE manifest admits. */
  readonly weakestRunning: TeeName | null;
  readonly weakestAdmitted: TeeName | null;
  readonly ledgerTimeMs: number;
  readonly leaseMs: number;
  readonly nodes: readonly NodeTrust[];
}

function weakest(tees: readonly (TeeName | null)[]): TeeName | null {
  return TEE_NAMES.find((tee) => tees.includes(tee)) ?? null;
}

/** Judges what a node shows by the constitution. */
export function judgeNetwork(
  constitution: Constitution,
  { nodes, ledgerTimeMs, leaseMs }: NetworkEvidence,
  crypto: Pick<GovernanceCrypto, "appraise">,
): NetworkTrust {
  const judged = nodes.map((node) => judgeNode(constitution, node, ledgerTimeMs, crypto));
  return {
    weakestRunning: weakest(judged.map(({ tee }) => tee)),
    weakestAdmitted: weakest(constitution.teeManifest.map(({ tee }) => tee)),
    ...{ ledgerTimeMs, leaseMs, nodes: judged },
  };
}

function judgeNode(
  constitution: Constitution,
  { nodeId, owner, attested, leaseEndsMs, isQuarantined }: RecordedEvidence,
  nowMs: number,
  crypto: Pick<GovernanceCrypto, "appraise">,
): NodeTrust {
  const found = attested === undefined ? [NOTHING_RECORDED] : crypto.appraise(attested, constitution, nowMs);
  const hasLapsed = leaseEndsMs !== undefined && leaseEndsMs <= nowMs;
  const reasons = [
    ...found.map(({ message }) => message),
    ...(isQuarantined ? ["its lease has ended: it is quarantined"] : []),
    ...(hasLapsed && !isQuarantined ? ["its lease has ended"] : []),
  ];
  const code = constitution.codeManifest.find(({ measurement }) => measurement === attested?.measurement);
  return {
    ...{ nodeId, owner, isQuarantined, reasons, isTrusted: reasons.length === 0 },
    tee: attested?.tee ?? null,
    code: code === undefined ? null : `${code.name} ${code.version}`,
    measurement: attested?.measurement ?? null,
    platform: attested?.platform ?? null,
    restsOn: attested === undefined ? null : RESTS_ON[attested.tee],
    leaseEndsMs: leaseEndsMs ?? null,
  };
}

const NOTHING_RECORDED: AppraisalReason = {
  manifest: "tee",
  reason: "NothingRecorded",
  message: "the ledger holds no evidence of it yet",
};

const SHORT = 16;

/** In words, line by line. */
export function trustLines(trust: NetworkTrust): readonly string[] {
  const { weakestRunning, weakestAdmitted, nodes } = trust;
  const weakestLine =
    weakestRunning === null ? "weakest link: nothing is recorded of any node" : `weakest link: ${weakestRunning}`;
  return [
    ...nodes.flatMap((node) => nodeLines(node)),
    weakestLine,
    ...(weakestRunning === null ? [] : [`  it rests on ${RESTS_ON[weakestRunning]}`]),
    ...(weakestAdmitted === weakestRunning || weakestAdmitted === null
      ? []
      : [`  the TEE manifest admits ${weakestAdmitted}: ${RESTS_ON[weakestAdmitted]}`]),
  ];
}

function nodeLines(node: NodeTrust): readonly string[] {
  const { nodeId, owner, tee, code, measurement, restsOn, leaseEndsMs, isTrusted, reasons } = node;
  return [
    `node ${nodeId.slice(0, SHORT)}… of ${owner}: ${isTrusted ? "trusted" : "NOT trusted"}`,
    `  code   ${code ?? "not in the code manifest"}${measurement === null ? "" : `, measurement ${measurement}`}`,
    `  TEE    ${tee ?? "unknown"}${restsOn === null ? "" : `: ${restsOn}`}`,
    `  lease  ${leaseEndsMs === null ? "without end" : `until ${new Date(leaseEndsMs).toISOString()}`}`,
    ...(isTrusted ? ["  why    its evidence verifies here, and both manifests allow what it says"] : []),
    ...reasons.map((reason) => `  why    ${reason}`),
  ];
}
