import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO } from "../../../test/support/governed-network.ts";
import { issue, makeKey } from "../../../test/support/issue-certificates.ts";
import { toHex } from "../codec/bytes.ts";
import type { HardwareTeeEntry, ReferenceValues } from "./manifest-entries.ts";
import { DCAP_ALLOWANCES, isAllowableStatus, TCB_STATUSES, type DcapPolicy } from "./policy-dcap.ts";
import { SNP_ALLOWANCES, SNP_PRODUCTS, SNP_REQUIREMENTS, STRICT_SNP_POLICY, type SnpPolicy } from "./policy-snp.ts";
import { STRICT_VBS_POLICY, type EnclavePolicy, type MaaJwtPolicy, type VbsHgsPolicy } from "./policy-vsm.ts";
import { TOKEN_POLICY } from "./test-tee-policies.ts";
import { hardwarePolicyInWords, referenceInWords } from "./tee-policy-words.ts";

const { der: root } = issue({ ca: true, subject: "CN=HGS root" });
const { der: other } = issue({ ca: true, subject: "CN=Another root" });
const HEAD = { id: "cloud", note: "a cloud" };

const words = (entry: HardwareTeeEntry): string => hardwarePolicyInWords(entry, GOVERNANCE_CRYPTO);
const snp = (policy: Partial<SnpPolicy>) => words({ ...HEAD, tee: "snp", policy: { ...STRICT_SNP_POLICY, ...policy } });
const tdx = (policy: DcapPolicy) => words({ ...HEAD, tee: "tdx", policy });
const vbs = (policy: Partial<VbsHgsPolicy>) =>
  words({ ...HEAD, tee: "vsm", policy: { ...STRICT_VBS_POLICY, roots: [root], ...policy } });
const TOKENS: MaaJwtPolicy = { ...TOKEN_POLICY, keys: [{ keyId: "bare", publicKey: makeKey("rsa").spki }] };
const token = (policy: Partial<MaaJwtPolicy>) => words({ ...HEAD, tee: "vsm", policy: { ...TOKENS, ...policy } });

/** Each policy must be told from the others by its words alone. */
function requireDistinct(said: readonly string[]): void {
  assert.equal(new Set(said).size, said.length, said.join("\n"));
  for (const line of said) assert.doesNotMatch(line, /undefined|\[object|[{}"]/);
}

describe("what is accepted of hardware, in words", () => {
  test("the strict policies say what they are strict about", () => {
    assert.equal(
      snp({}),
      "chips of any generation that is known; of any TCB; nothing beyond the strict rules is allowed: reports of version 3 or " +
        "later, by the chip's own key, of a guest that nobody may debug or move, at its privilege level 0; any host data, so " +
        "any containers",
    );
    assert.match(tdx({}), /^the TCB is UpToDate; whatever advisories go with that; nothing beyond .*move it/);
    const anchor = `certificate with SHA-256 ${toHex(GOVERNANCE_CRYPTO.sha256(root))}`;
    assert.equal(vbs({}), `reports of VBS enclaves under the ${anchor}; debugging is not allowed`);
  });

  test("a minimum TCB is told exactly, and by its parts where the model is known", () => {
    const minimum = (cpuid: string, tcb: string) => snp({ minimumTcb: [{ cpuid, tcb }] });
    assert.match(
      minimum("00a00f11", "d315000000000004"),
      /at least d315000000000004 \(microcode 211, SNP 21, TEE 0, boot loader 4\) on the model 00a00f11; no other model/,
    );
    assert.match(minimum("00b00f21", "5400000003010205"), /microcode 84, SNP 3, TEE 1, boot loader 2, FMC 5\)/);
    assert.match(minimum("00000001", "5400000003010205"), /at least 5400000003010205 on the model 00000001;/);
  });

  test("every field of a policy for SNP changes the words", () => {
    const digest = (byte: string) => byte.repeat(48);
    const uvm = { did: "did:x509:0:sha256:abc::eku:1.2.3", feed: "UVM", minSvn: 100 };
    requireDistinct([
      snp({}),
      ...SNP_PRODUCTS.map((product) => snp({ products: [product] })),
      snp({ products: SNP_PRODUCTS }),
      ...SNP_ALLOWANCES.map((name) => snp({ allow: [name] })),
      ...SNP_REQUIREMENTS.map((name) => snp({ require: [name] })),
      ...["01", "02"].map((byte) => snp({ idKeyDigests: [digest(byte)] })),
      ...["01", "02"].map((byte) => snp({ authorKeyDigests: [digest(byte)] })),
      ...["01", "02"].map((byte) => snp({ familyId: byte.repeat(16) })),
      ...["01", "02"].map((byte) => snp({ imageId: byte.repeat(16) })),
      ...["01", "02"].map((byte) => snp({ hostData: [byte.repeat(32)] })),
      ...[uvm, { ...uvm, feed: "B" }, { ...uvm, minSvn: 1 }, { ...uvm, did: "did:x509:1" }].map((one) =>
        snp({ uvm: [one] }),
      ),
      ...[{ 4: "01" }, { 4: "02" }, { 7: "01" }, { 4: "01", 7: "01" }].map((pcrs) =>
        snp({ pcrs: Object.fromEntries(Object.entries(pcrs).map(([at, byte]) => [at, byte.repeat(32)])) }),
      ),
    ]);
  });

  test("every field of a policy for SGX and TDX changes the words", () => {
    const enclave = { signer: "cd".repeat(32), productId: 1, minVersion: 2 };
    requireDistinct([
      tdx({}),
      tdx({ statuses: [] }),
      ...TCB_STATUSES.filter((status) => status !== "UpToDate" && isAllowableStatus(status)).map((status) =>
        tdx({ statuses: [status] }),
      ),
      tdx({ advisories: [] }),
      tdx({ advisories: ["INTEL-SA-00615"] }),
      tdx({ minEvaluationNumber: 0 }),
      ...DCAP_ALLOWANCES.map((name) => tdx({ allow: [name] })),
      tdx({ enclaveAttributes: "0500000000000000" }),
      tdx({ guestAttributes: "0500000000000000" }),
      tdx({ extendedFeatures: "0500000000000000" }),
      tdx({ moduleMeasurements: [] }),
      tdx({ moduleMeasurements: ["ab".repeat(48)] }),
      tdx({ enclaves: [] }),
      ...[enclave, { ...enclave, productId: 3 }, { ...enclave, minVersion: 3 }].map((one) => tdx({ enclaves: [one] })),
    ]);
  });

  test("every field of a policy for VSM changes the words", () => {
    const enclaves: readonly Partial<EnclavePolicy>[] = [
      ...(["authorIds", "familyIds", "imageIds"] as const).map((name) => ({ [name]: ["22".repeat(16)] })),
      ...[{ minimumEnclaveSvn: 1 }, { minimumPlatformSvn: 1 }, { allowDebug: true }],
    ];
    requireDistinct([
      vbs({}),
      ...[
        { roots: [other] },
        { uniqueIds: ["11".repeat(32)] },
        { minimumSecureKernelSvn: 1 },
        { allowSharedMachine: true },
      ].map(vbs),
      ...enclaves.map(vbs),
      token({}),
      token({ issuer: "https://other.weu.attest.azure.net" }),
      token({ keys: [{ keyId: "other", publicKey: new Uint8Array(1) }] }),
      token({ keys: [{ keyId: "other", certificate: root }] }),
      token({ policyHash: "00".repeat(32) }),
      token({ hostData: ["00".repeat(32)] }),
      token({ attestationTypes: ["sgx", "azurevm", "sevsnpvm"] }),
      token({ minimumKeyBits: 2048 }),
      ...enclaves.map(token),
    ]);
    const key = toHex(GOVERNANCE_CRYPTO.sha256(root));
    assert.match(
      token({ keys: [{ keyId: "k", certificate: root }] }),
      new RegExp(`k \\(certificate with SHA-256 ${key}\\)`),
    );
  });

  test("reference values say what else must be as it was measured", () => {
    const references: readonly ReferenceValues[] = [
      { tee: "snp" },
      { tee: "snp", hostData: "01".repeat(32) },
      { tee: "sgx" },
      { tee: "sgx", signer: "01".repeat(32) },
      { tee: "sgx", productId: 0 },
      { tee: "sgx", minVersion: 0 },
      { tee: "tdx" },
      { tee: "tdx", registers: ["01", "02", "03", "04"].map((byte) => byte.repeat(48)) },
      { tee: "vsm" },
    ];
    requireDistinct(references.map(referenceInWords));
    assert.equal(referenceInWords({ tee: "snp" }), "on AMD SEV-SNP, with any host data");
  });
});
