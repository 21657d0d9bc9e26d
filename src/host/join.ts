/**
 * Joining a network that exists (R12, R14), the newcomer's side: it shows its evidence, checks that of the network before it
 * believes anything, and leaves to its owner whether the constitution it was told is the one to live under. Only what the
 * owner approved is written into the folder; ledger data come when the node is started.
 */
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import type { EvidenceCrypto, HardwareRoots } from "../attestation/evidence.ts";
import {
  checkAnswerEvidence,
  decodeJoinAnswer,
  encodeJoinRequest,
  joinReportData,
  listedEntry,
  type JoinAnswer,
} from "../attestation/join.ts";
import { CHALLENGE_BYTES } from "../attestation/report-data.ts";
import { bytesEqual, fromHex, toHex, utf8Decode, type Bytes } from "../core/codec/bytes.ts";
import { constitutionDigest, constitutionToJson, decodeConstitution } from "../core/governance/constitution-codec.ts";
import type { Constitution, NodeTuple } from "../core/governance/constitution.ts";
import { verifyConstitution } from "../core/governance/constitution-verify.ts";
import { parseJson, readDocument, type FieldContext } from "../core/governance/fields.ts";
import { pemOfDer } from "../core/governance/pem.ts";
import { JOIN_CHALLENGE_PATH, JOIN_PATH } from "../enclave/manager/join-api.ts";
import { createEvidenceCrypto, createGovernanceCrypto, nodeEntropy, sha256 } from "../enclave/manager/node-crypto.ts";
import { openNodeKeys } from "../enclave/manager/node-keys.ts";
import { CocoError } from "../errors.ts";
import { createFileAtomic, PUBLIC_FILE_MODE, writeFileAtomic } from "./files.ts";
import { readConstitutionFile } from "./genesis.ts";
import { JoinConnection, type NodeAnswer } from "./join-connection.ts";
import { JOINED_FILE, loadNode, type NodeFolder, readNodeRequest, teeOf } from "./node-folder.ts";
import type { NodeTee, PlayedMachine } from "./tee/node-tee.ts";
import type { TeeSettings } from "./tee/tee-settings.ts";

/** What the newcomer's owner knows of the network beforehand: at least one of the two. */
export interface JoinTrust {
  /** A certificate of the service, newest or older; PEM. */
  readonly serviceCertificate?: string;
  /** Hex, 32 bytes. */
  readonly networkId?: string;
}

/** A node that wants to join, as its folder has it. */
export interface Newcomer {
  readonly folder: NodeFolder;
  readonly node: NodeTuple;
  readonly tee: NodeTee;
}

/** What the network offers a newcomer, checked; the owner approves it or not. */
export interface JoinOffer {
  readonly networkId: string;
  readonly genesis: Constitution;
  readonly constitution: Constitution;
  /** Of the constitution in force; hex. */
  readonly digest: string;
}

const CHALLENGE_CONTEXT: FieldContext = { form: "json", code: "JoinAnswerUntrusted" };

/**
 * Reads the folder of a node that is to join, and opens its TEE. Throws `ConfigurationInvalid` or `TeeUnavailable`.
 * @param instead of the TEE that the folder names
 * @param played nothing but a test gives it
 */
export async function readNewcomer(dir: string, instead?: TeeSettings, played?: PlayedMachine): Promise<Newcomer> {
  const folder = await loadNode(dir);
  const tee = await teeOf(folder, instead, played);
  const keys = await openNodeKeys(folder.sealedKeys, tee.sealer);
  const file = folder.paths.nodeEntry;
  const { tee: _machine, ...node } = await readNodeRequest(file);
  if (node.nodeId !== keys.nodeId || !bytesEqual(node.encryptionKey, keys.encryptionKey))
    throw new CocoError("ConfigurationInvalid", `${file}: is of other keys than the folder's`, { file });
  return { folder, node, tee };
}

/**
 * Asks a node of the network once; throws a code of its own for each way in which it does not come to an offer.
 * @param roots of hardware, instead of those pinned in this program; nothing but a test gives others
 */
export async function requestJoin(
  newcomer: Pick<Newcomer, "node"> & { readonly tee: Pick<NodeTee, "code" | "attest"> },
  url: string,
  trust: JoinTrust,
  roots?: HardwareRoots,
): Promise<JoinOffer> {
  const connection = new JoinConnection(url, trust.serviceCertificate);
  try {
    const told = readChallenge(await connection.ask("GET", JOIN_CHALLENGE_PATH), trust);
    const { node, tee } = newcomer;
    const ownChallenge = nodeEntropy.bytes(CHALLENGE_BYTES);
    const request = { ...told, node, measurement: tee.code.measurement };
    const evidence = await tee.attest(joinReportData(request, sha256));
    const answered = await connection.ask("POST", JOIN_PATH, encodeJoinRequest({ ...request, ownChallenge, evidence }));
    return checkAnswer(answered, { ...told, node, ownChallenge, crypto: createEvidenceCrypto(roots) }, trust);
  } finally {
    connection.close();
  }
}

function readChallenge({ body }: NodeAnswer, trust: JoinTrust) {
  const told = readDocument(parseJson(utf8Decode(body), CHALLENGE_CONTEXT), CHALLENGE_CONTEXT, (fields) => {
    fields.integer("expires_in_ms", { min: 0, max: Number.MAX_SAFE_INTEGER });
    return {
      networkId: fields.hex("network_id", 32),
      constitutionDigest: fromHex(fields.hex("constitution_digest", 32)),
      challenge: fromHex(fields.hex("challenge", CHALLENGE_BYTES)),
    };
  });
  if (trust.networkId !== undefined && trust.networkId !== told.networkId)
    throw new CocoError("JoinOtherNetwork", `the node is of network ${told.networkId}, not ${trust.networkId}`);
  return told;
}

interface Asked {
  readonly networkId: string;
  /** Of the constitution that came with the challenge. */
  readonly constitutionDigest: Bytes;
  readonly node: NodeTuple;
  readonly ownChallenge: Bytes;
  readonly crypto: EvidenceCrypto;
}

/** Checks everything an answer says; throws `JoinAnswerUntrusted`. */
function checkAnswer(
  { body, publicKey }: NodeAnswer,
  { networkId, constitutionDigest: told, node, ownChallenge, crypto }: Asked,
  trust: JoinTrust,
): JoinOffer {
  const governanceCrypto = createGovernanceCrypto();
  const { answer, genesis, constitution } = readAnswer(body);
  if (toHex(constitutionDigest(genesis, sha256)) !== networkId)
    throw untrusted(`the genesis constitution is not that of network ${networkId}`);
  for (const document of [genesis, constitution]) verifyConstitution(document, governanceCrypto);
  if (constitution.network.name !== genesis.network.name) throw untrusted("the constitution is of another network");
  listedEntry(node, constitution);
  const peer = constitution.nodes.find(({ nodeId }) => nodeId === answer.nodeId);
  if (peer === undefined || !bytesEqual(peer.publicKey, publicKey))
    throw untrusted("the node that answers is not the listed one it says it is");
  const digest = constitutionDigest(constitution, sha256);
  if (!bytesEqual(digest, told)) throw untrusted("the constitution is not the one that came with the challenge");
  const { serviceCertificate, evidence, endorsements } = answer;
  const binding = { networkId, node: peer, challenge: ownChallenge, constitutionDigest: digest, serviceCertificate };
  checkAnswerEvidence(evidence, binding, { constitution, nowMs: Date.now() }, crypto);
  if (trust.serviceCertificate !== undefined) checkService(trust.serviceCertificate, serviceCertificate, endorsements);
  return { networkId, genesis, constitution, digest: toHex(digest) };
}

function readAnswer(body: Bytes) {
  try {
    const answer: JoinAnswer = decodeJoinAnswer(body);
    const [genesis, constitution] = [decodeConstitution(answer.genesis), decodeConstitution(answer.constitution)];
    return { answer, genesis, constitution };
  } catch (error) {
    if (!(error instanceof CocoError) || error.code === "Internal") throw error;
    throw untrusted(error.message, error);
  }
}

function untrusted(message: string, cause?: unknown): CocoError {
  return new CocoError("JoinAnswerUntrusted", message, {}, { cause });
}

/** Whether the service's newest identity is the trusted one, or one that a chain of endorsements leads to from it. */
function checkService(trusted: string, newest: Bytes, endorsements: readonly Bytes[]): void {
  const service = certificateOf(pemOfDer(newest, "CERTIFICATE"));
  const reached = [certificateOf(trusted)];
  // Oldest first, so that each is reached from the one before.
  for (const der of endorsements.toReversed()) {
    const endorsement = certificateOf(pemOfDer(der, "CERTIFICATE"));
    if (reached.some((issuer) => endorsement.checkIssued(issuer) && endorsement.verify(issuer.publicKey)))
      reached.push(endorsement);
  }
  if (!reached.some(({ publicKey }) => publicKey.equals(service.publicKey)))
    throw untrusted("no endorsements lead from the given service certificate to the one in force");
}

function certificateOf(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw untrusted("expected certificates of the service", error);
  }
}

/** Writes what the owner approved into the folder: from now on the node can be started. */
export async function acceptOffer(
  { folder }: Newcomer,
  { genesis, constitution, networkId }: JoinOffer,
): Promise<void> {
  const { dir, paths } = folder;
  if (!(await createFileAtomic(paths.genesis, constitutionToJson(genesis), PUBLIC_FILE_MODE))) {
    const present = toHex(constitutionDigest(await readConstitutionFile(paths.genesis), sha256));
    if (present !== networkId) {
      const message = `${paths.genesis} is of network ${present}, not ${networkId}`;
      throw new CocoError("FolderOfAnotherNetwork", message, { file: paths.genesis });
    }
  }
  await writeFileAtomic(join(dir, JOINED_FILE), constitutionToJson(constitution), PUBLIC_FILE_MODE);
}
