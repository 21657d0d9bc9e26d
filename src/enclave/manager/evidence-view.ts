/**
 * `GET /node/evidence`: what the ledger has recorded of each node, with the evidence itself, so that anybody can verify it again,
 * and what this node makes of it now. CCF's names where it has them (`/node/quotes`).
 */
import { toHex } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { NodeEntry } from "../../core/governance/constitution.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import { isQuarantined, leaseEndsAtMs } from "../../core/governance/leases.ts";

/** The answer, for a state in effect and a time of the ledger's clock. */
export function evidenceView(state: GovernanceState, nowMs: number, crypto: Pick<GovernanceCrypto, "appraise">) {
  return {
    network_id: state.networkId,
    constitution_version: state.constitution.version,
    ledger_time_ms: nowMs,
    lease_ms: state.constitution.settings.leaseMs ?? 0,
    quotes: state.constitution.nodes.map((node) => nodeEvidence(state, node, nowMs, crypto)),
  };
}

function nodeEvidence(
  state: GovernanceState,
  { nodeId, owner }: NodeEntry,
  nowMs: number,
  crypto: Pick<GovernanceCrypto, "appraise">,
) {
  const node = state.attested.get(nodeId);
  const lease = state.leases.get(nodeId);
  return {
    node_id: nodeId,
    owner,
    format: node?.tee ?? null,
    measurement: node?.measurement ?? null,
    platform: node?.platform ?? null,
    report_data: node === undefined ? null : toHex(node.reportData),
    raw: node === undefined ? null : Buffer.from(node.evidence).toString("base64"),
    attested_at_ms: node?.attestedAtMs ?? null,
    reasons: node === undefined ? [] : crypto.appraise(node, state.constitution, nowMs),
    lease_from_ms: lease?.fromMs ?? null,
    lease_ends_ms: leaseEndsAtMs(state, nodeId) ?? null,
    quarantined: isQuarantined(state, nodeId),
    quarantined_at_ms: lease?.quarantinedAtMs ?? null,
  };
}
