/** Governance of a network with real certificates, signatures and scripts, without consensus: as every node executes it. */
import { toHex, type Bytes, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { Action } from "../../src/core/governance/actions.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "../../src/core/governance/administrative.ts";
import {
  type AdministrativeTransaction,
  decodeAdministrative,
  encodeAdministrative,
} from "../../src/core/governance/administrative-codec.ts";
import type { Actor, Constitution } from "../../src/core/governance/constitution.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import type { SignedMessage } from "../../src/core/governance/proposal.ts";
import { ballotPayload, proposalPayload, type RequestSigner } from "../../src/core/governance/request-signing.ts";
import {
  assembleSignedRequest,
  bytesToSign,
  type RequestContent,
  type RequestType,
} from "../../src/core/governance/signed-request.ts";
import { prospectOf } from "../../src/core/governance/vote-count.ts";
import { createActorSigner, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { foundNetwork, TEST_TIME_MS } from "./founders.ts";
import { DAY_MS, issue, type CertificateOptions, type TestCertificate } from "./issue-certificates.ts";

/** The ledger's time in these tests. */
export const NOW_MS = TEST_TIME_MS + 10 * DAY_MS;

const FOUNDED = foundNetwork(3, 3);

/** A certificate around {@link NOW_MS}. */
export function certificate(options: CertificateOptions = {}): TestCertificate {
  return issue({ fromMs: NOW_MS - DAY_MS, untilMs: NOW_MS + 30 * DAY_MS, ...options });
}

/** Signs with a certificate, and those that lead from it to the listed one. */
export function signerOf(leaf: TestCertificate, ...others: readonly TestCertificate[]): RequestSigner {
  return { chain: [leaf, ...others].map(({ der }) => der), ...createActorSigner(leaf.key.privateKey) };
}

/** Signs as `member1`, `member2`, `member3` or `participant1`, with the certificate that is listed. */
export function founderSigner(id: string): RequestSigner {
  const found = FOUNDED.founders.find(({ founder }) => founder.id === id);
  if (found === undefined) throw new Error(`no founder ${id}`);
  return found.requestSigner;
}

/** The state after a genesis with these changes, under which `more` lists further certificates by actor. */
export function genesisState(
  crypto: GovernanceCrypto,
  change: Partial<Constitution> = {},
  more: Readonly<Record<string, readonly TestCertificate[]>> = {},
): GovernanceState {
  const listed = (actor: Actor): Actor => ({
    ...actor,
    certificates: [...actor.certificates, ...(more[actor.id] ?? []).map(({ der }) => der)],
  });
  const constitution = { ...FOUNDED.constitution, actors: FOUNDED.constitution.actors.map(listed), ...change };
  return execute(undefined, { type: "genesis", constitution }, crypto);
}

/** Executes a transaction from its encoding, at {@link NOW_MS}. */
export function execute(
  state: GovernanceState | undefined,
  transaction: AdministrativeTransaction,
  crypto: GovernanceCrypto,
): GovernanceState {
  return executeAdministrative(state, decodeAdministrative(encodeAdministrative(transaction)), placeAt(NOW_MS), crypto);
}

/** What may be wrong with a request. */
export interface RequestChange extends Partial<RequestContent> {
  /** In place of the signer's certificates. */
  readonly chain?: readonly Bytes[];
  readonly signature?: (signature: Bytes) => Bytes;
}

/** A signed request; `change` says what is not as it should be. */
export function requestBy(
  signer: RequestSigner,
  type: RequestType,
  payload: unknown,
  { chain = signer.chain, signature = (made) => made, ...change }: RequestChange = {},
): SignedMessage {
  const content: RequestContent = {
    ...{ type, algorithm: signer.algorithm, keyId: toHex(sha256(chain[0] ?? new Uint8Array(0))) },
    createdAt: NOW_MS / 1000,
    payload: payload instanceof Uint8Array ? payload : utf8Encode(JSON.stringify(payload)),
    ...change,
  };
  return { message: assembleSignedRequest(content, signature(signer.sign(bytesToSign(content))), chain), chain };
}

/** A proposal of these actions. */
export function proposalBy(signer: RequestSigner, ...actions: readonly Action[]): SignedMessage {
  return requestBy(signer, "proposal", proposalPayload(actions));
}

/** A yes on what the newest proposal of a state would do. */
export function yesBy(signer: RequestSigner, state: GovernanceState, crypto: GovernanceCrypto): SignedMessage {
  const proposal = state.proposals.at(-1);
  const prospect = proposal && prospectOf(state, proposal, NOW_MS, crypto);
  const digest = prospect?.type === "effect" ? prospect.digest : new Uint8Array(32);
  return requestBy(signer, "ballot", ballotPayload("yes", digest), { proposalId: proposal?.id ?? "" });
}
