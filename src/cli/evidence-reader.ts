/** What nodes have recorded of each other (`GET /node/evidence`), read strictly: it comes from a node, which nobody believes. */
import { fromBase64 } from "../core/codec/base64.ts";
import { toHex, type Bytes } from "../core/codec/bytes.ts";
import type { NodeId } from "../core/consensus/types.ts";
import { MAX_ATTESTED_EVIDENCE_BYTES, REPORT_DATA_BYTES } from "../core/governance/attest.ts";
import { MAX_DATE_MS, MAX_MEASUREMENT_BYTES } from "../core/governance/manifest-codec.ts";
import { MAX_NODES } from "../core/governance/constitution.ts";
import { TEE_NAMES } from "../core/governance/manifest-entries.ts";
import { FieldReader } from "../core/governance/fields.ts";
import type { AttestedNode } from "../core/governance/governance-crypto.ts";
import type { ServiceClient } from "./service-client.ts";

const MAX_PLATFORM_BYTES = 256;
const MAX_BASE64 = Math.ceil(MAX_ATTESTED_EVIDENCE_BYTES / 3) * 4;
const DATE = { min: 0, max: MAX_DATE_MS };

/** What a node is recorded with. */
export interface RecordedEvidence {
  readonly nodeId: NodeId;
  readonly owner: string;
  /** Undefined: nothing is recorded yet. */
  readonly attested: AttestedNode | undefined;
  readonly leaseEndsMs: number | undefined;
  readonly isQuarantined: boolean;
}

/** The whole answer. */
export interface NetworkEvidence {
  readonly ledgerTimeMs: number;
  readonly leaseMs: number;
  readonly nodes: readonly RecordedEvidence[];
}

/** Asks a node for it; throws `AnswerInvalid`. */
export async function readEvidence(client: Pick<ServiceClient, "json">): Promise<NetworkEvidence> {
  const fields = readerOf(await client.json("/node/evidence"), "");
  return {
    ledgerTimeMs: fields.integer("ledger_time_ms", DATE),
    leaseMs: fields.integer("lease_ms", DATE),
    nodes: fields.values("quotes", MAX_NODES).map((item, at) => readNode(readerOf(item, `quotes[${at}]`))),
  };
}

/** Fields it does not ask for may be there. */
function readerOf(value: unknown, path: string): FieldReader {
  return new FieldReader(value, path, { form: "json", code: "AnswerInvalid" });
}

function readNode(fields: FieldReader): RecordedEvidence {
  return {
    nodeId: fields.hex("node_id", 32),
    owner: fields.text("owner", { max: 64 }),
    attested: fields.nullable("format", () => readAttested(fields)) ?? undefined,
    leaseEndsMs: fields.nullable("lease_ends_ms", () => fields.integer("lease_ends_ms", DATE)) ?? undefined,
    isQuarantined: fields.flag("quarantined"),
  };
}

function readAttested(fields: FieldReader): AttestedNode {
  return {
    tee: fields.choice("format", TEE_NAMES),
    measurement: toHex(fields.bytes("measurement", { max: MAX_MEASUREMENT_BYTES })),
    platform: toHex(fields.bytes("platform", { max: MAX_PLATFORM_BYTES })),
    evidence: readRaw(fields),
    reportData: fields.bytes("report_data", { length: REPORT_DATA_BYTES }),
    attestedAtMs: fields.integer("attested_at_ms", DATE),
  };
}

function readRaw(fields: FieldReader): Bytes {
  return fromBase64(fields.text("raw", { max: MAX_BASE64 }));
}
