/**
 * What a network accepts of hardware in plain words, for members who decide on it: every field of a policy is said, with its whole
 * value, so that two policies that differ never read alike. What is absent, and strict by that, is said where members must know it.
 */
import { fromHex, toHex, type Bytes } from "../codec/bytes.ts";
import { certificateInWords, type WordsCrypto } from "./certificate-words.ts";
import type { HardwareTee, HardwareTeeEntry, ReferenceValues } from "./manifest-entries.ts";
import type { DcapAllowance, DcapPolicy } from "./policy-dcap.ts";
import type { PcrValues, SnpAllowance, SnpMinimumTcb, SnpPolicy, SnpRequirement } from "./policy-snp.ts";
import type { EnclavePolicy, MaaJwtPolicy, PinnedTokenKey, TokenTee, VbsHgsPolicy } from "./policy-vsm.ts";

/** Each TEE of hardware by the name its maker gives it. */
export const TEE_TITLES: Readonly<Record<HardwareTee, string>> = {
  snp: "AMD SEV-SNP",
  sgx: "Intel SGX",
  tdx: "Intel TDX",
  vsm: "Windows VSM",
};

const SNP_ALLOWED: Readonly<Record<SnpAllowance, string>> = {
  v2: "reports of version 2, whose firmware has known faults",
  vlek: "keys that a cloud provider loaded into its chips (VLEK)",
  debug: "guests whose memory the host may read (debug)",
  migration: "guests that a migration agent may move",
  vmpl1: "privilege level 1 of the guest",
  vmpl2: "privilege level 2 of the guest",
  vmpl3: "privilege level 3 of the guest",
  "shared-machine": "several nodes on one chip",
};

const SNP_REQUIRED: Readonly<Record<SnpRequirement, string>> = {
  "alias-check": "a check of the memory for aliases",
  "no-smt": "one thread per core",
  "single-socket": "a guest on one socket",
  "no-cxl": "no memory behind CXL",
  ecc: "memory with ECC",
  tsme: "encryption of all memory (TSME)",
  "aes-256-xts": "memory encrypted by AES-256 XTS",
  "no-rapl": "no measurement of power from outside",
  "ciphertext-hiding": "ciphertext hidden from the host",
  "no-page-swap": "no swapping of guest pages",
  "revocation-list": "a current list of revoked certificates by AMD",
  "host-policy": "host data that name a container policy which does not allow everything",
};

const DCAP_ALLOWED: Readonly<Record<DcapAllowance, string>> = {
  debug: "enclaves and guests that the host may look into (debug)",
  migratable: "guests that may be moved to another machine",
  mrservicetd: "guests that a service guest is bound to (MRSERVICETD)",
  "no-sept-ve-disable": "guests that the host may take pages from unnoticed (no SEPT_VE_DISABLE)",
  "shared-machine": "several nodes on one platform",
};

const TOKENS_ABOUT: Readonly<Record<TokenTee, string>> = {
  sevsnpvm: "SNP guests (sevsnpvm)",
  azurevm: "confidential machines of Azure (azurevm)",
  sgx: "SGX enclaves (sgx)",
  vbs: "VBS enclaves (vbs)",
};

function either(items: readonly string[]): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} or ${items.at(-1)}`;
}

function all(items: readonly string[]): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

/** A clause about a list that limits nothing when it is empty. */
function limited(items: readonly string[], words: (items: string) => string): readonly string[] {
  return items.length === 0 ? [] : [words(either(items))];
}

function allowed(items: readonly string[], strict: string): string {
  return items.length === 0 ? `nothing beyond the strict rules is allowed: ${strict}` : `also allowed: ${all(items)}`;
}

const FAMILY_SHIFT = 20;
const BASE_FAMILY = 0xf;
const TURIN_FAMILY = 0x1a;
const EARLY_FAMILY = 0x19;
/** Parts of a TCB by their place in its number, the most significant byte being 0 (AMD 56860). */
const EARLY_PARTS = { microcode: 0, SNP: 1, TEE: 6, "boot loader": 7 };
const TURIN_PARTS = { microcode: 0, SNP: 4, TEE: 5, "boot loader": 6, FMC: 7 };

function minimumInWords({ cpuid, tcb }: SnpMinimumTcb): string {
  const family = ((Number.parseInt(cpuid, 16) >> FAMILY_SHIFT) & 0xff) + BASE_FAMILY;
  const parts: Readonly<Record<string, number>> =
    family === TURIN_FAMILY ? TURIN_PARTS : family === EARLY_FAMILY ? EARLY_PARTS : {};
  const bytes = fromHex(tcb);
  const said = Object.entries(parts).map(([name, at]) => `${name} ${bytes[at]}`);
  return `${tcb}${said.length === 0 ? "" : ` (${said.join(", ")})`} on the model ${cpuid}`;
}

function snpClauses(policy: SnpPolicy): readonly string[] {
  const { products, minimumTcb, allow, require, idKeyDigests, authorKeyDigests, familyId, imageId, hostData } = policy;
  const strict =
    "reports of version 3 or later, by the chip's own key, of a guest that nobody may debug or move, at its privilege level 0";
  return [
    products.length === 0 ? "chips of any generation that is known" : `chips of ${either(products)} only`,
    minimumTcb.length === 0
      ? "of any TCB"
      : `with a TCB of at least ${all(minimumTcb.map(minimumInWords))}; no other model`,
    allowed(
      allow.map((name) => SNP_ALLOWED[name]),
      strict,
    ),
    ...(require.length === 0 ? [] : [`required: ${all(require.map((name) => SNP_REQUIRED[name]))}`]),
    ...limited(idKeyDigests, (digests) => `the guest's identity is signed by the key with the digest ${digests}`),
    ...limited(authorKeyDigests, (digests) => `that key is certified by the one with the digest ${digests}`),
    ...(familyId === undefined ? [] : [`the guest's family is ${familyId}`]),
    ...(imageId === undefined ? [] : [`the guest's image is ${imageId}`]),
    hostData.length === 0 ? "any host data, so any containers" : `the host data are ${either(hostData)}`,
    ...limited(
      policy.uvm.map(({ did, feed, minSvn }) => `${did} for ${feed}, version ${minSvn} or later`),
      (issuers) => `the utility VM is endorsed by ${issuers}`,
    ),
    ...(policy.pcrs === undefined ? [] : [registersInWords(policy.pcrs)]),
  ];
}

function registersInWords(pcrs: PcrValues): string {
  const values = Object.entries(pcrs).map(([at, value]) => `register ${at} holds ${value}`);
  return `only by a quote of the machine's virtual TPM, whose ${all(values)}`;
}

function dcapClauses(policy: DcapPolicy): readonly string[] {
  const { statuses = ["UpToDate"], advisories, minEvaluationNumber, allow = [], enclaves = [] } = policy;
  const { enclaveAttributes, guestAttributes, extendedFeatures, moduleMeasurements } = policy;
  const bits = (what: string, mask: string | undefined): readonly string[] =>
    mask === undefined ? [] : [`of ${what} no bits may be set but ${mask}`];
  return [
    statuses.length === 0 ? "no TCB status is accepted" : `the TCB is ${either(statuses)}`,
    advisories === undefined
      ? "whatever advisories go with that"
      : advisories.length === 0
        ? "no advisory may apply"
        : `no advisories may apply but ${all(advisories)}`,
    ...(minEvaluationNumber === undefined ? [] : [`by Intel's evaluation ${minEvaluationNumber} or later`]),
    allowed(
      allow.map((name) => DCAP_ALLOWED[name]),
      "nobody may debug it, move it, serve it, or take pages from it",
    ),
    ...bits("an enclave's attributes", enclaveAttributes),
    ...bits("a guest's attributes", guestAttributes),
    ...bits("the extended features", extendedFeatures),
    ...(moduleMeasurements === undefined
      ? []
      : [`the TDX module is ${moduleMeasurements.length === 0 ? "none that exists" : either(moduleMeasurements)}`]),
    ...(policy.enclaves === undefined
      ? []
      : enclaves.length === 0
        ? ["no enclave is accepted"]
        : [`the enclave is ${either(enclaves.map(enclaveInWords))}`]),
  ];
}

function enclaveInWords(enclave: { readonly signer: string; readonly productId: number; readonly minVersion: number }) {
  const { signer, productId, minVersion } = enclave;
  return `product ${productId} of the signer ${signer}, version ${minVersion} or later`;
}

function idClauses(policy: EnclavePolicy): readonly string[] {
  const { authorIds, familyIds, imageIds, minimumEnclaveSvn, minimumPlatformSvn, allowDebug } = policy;
  return [
    ...limited(authorIds, (ids) => `its author is ${ids}`),
    ...limited(familyIds, (ids) => `its family is ${ids}`),
    ...limited(imageIds, (ids) => `its image is ${ids}`),
    ...(minimumEnclaveSvn === 0 ? [] : [`its version is ${minimumEnclaveSvn} or later`]),
    ...(minimumPlatformSvn === 0 ? [] : [`the platform's version is ${minimumPlatformSvn} or later`]),
    allowDebug ? "debugging is allowed: whoever runs it may look inside" : "debugging is not allowed",
  ];
}

function vbsClauses(policy: VbsHgsPolicy, crypto: WordsCrypto): readonly string[] {
  const { roots, uniqueIds, minimumSecureKernelSvn } = policy;
  return [
    `reports of VBS enclaves under the ${either(roots.map((root) => certificateInWords(root, crypto)))}`,
    ...limited(uniqueIds, (ids) => `the unique id is ${ids}`),
    ...(policy.allowSharedMachine ? ["several nodes on one machine are allowed"] : []),
    ...(minimumSecureKernelSvn === 0 ? [] : [`the Secure Kernel's version is ${minimumSecureKernelSvn} or later`]),
    ...idClauses(policy),
  ];
}

function tokenKeyInWords(key: PinnedTokenKey, { sha256 }: WordsCrypto): string {
  const [what, der]: readonly [string, Bytes] =
    "certificate" in key ? ["certificate", key.certificate] : ["public key", key.publicKey];
  return `${key.keyId} (${what} with SHA-256 ${toHex(sha256(der))})`;
}

function tokenClauses(policy: MaaJwtPolicy, crypto: WordsCrypto): readonly string[] {
  const { issuer, keys, policyHash, hostData, attestationTypes, minimumKeyBits } = policy;
  return [
    `tokens of ${issuer} about ${either(attestationTypes.map((type) => TOKENS_ABOUT[type]))}`,
    `signed by its key ${either(keys.map((key) => tokenKeyInWords(key, crypto)))}, of ${minimumKeyBits} bits or more`,
    `under its policy with the hash ${policyHash}`,
    hostData.length === 0 ? "any host data, so any containers" : `the host data are ${either(hostData)}`,
    ...idClauses(policy),
  ];
}

/** What an entry of the TEE manifest accepts, in words. */
export function hardwarePolicyInWords(entry: HardwareTeeEntry, crypto: WordsCrypto): string {
  return clausesOf(entry, crypto).join("; ");
}

function clausesOf(entry: HardwareTeeEntry, crypto: WordsCrypto): readonly string[] {
  if (entry.tee === "snp") return snpClauses(entry.policy);
  if (entry.tee !== "vsm") return dcapClauses(entry.policy);
  return entry.policy.format === "vbs-hgs" ? vbsClauses(entry.policy, crypto) : tokenClauses(entry.policy, crypto);
}

/** What hardware must measure beside the measurement, in words. */
export function referenceInWords(reference: ReferenceValues): string {
  return `on ${TEE_TITLES[reference.tee]}${referenceClauses(reference)
    .map((clause) => `, ${clause}`)
    .join("")}`;
}

function referenceClauses(reference: ReferenceValues): readonly string[] {
  switch (reference.tee) {
    case "snp":
      return [reference.hostData === undefined ? "with any host data" : `with the host data ${reference.hostData}`];
    case "sgx": {
      const { signer, productId, minVersion } = reference;
      return [
        signer === undefined ? "of any signer" : `of the signer ${signer}`,
        ...(productId === undefined ? [] : [`product ${productId}`]),
        ...(minVersion === undefined ? [] : [`version ${minVersion} or later`]),
      ];
    }
    case "tdx":
      return reference.registers === undefined
        ? ["with any values in its registers"]
        : reference.registers.map((value, at) => `register ${at}: ${value}`);
    case "vsm":
      return [];
  }
}
