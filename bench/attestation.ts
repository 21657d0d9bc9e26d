/**
 * `npm run bench:attestation [-- --rounds N --json]`: how long one verification of evidence takes in one thread, beside the
 * figure to reach. Everything is done anew each time, as for evidence that was never seen: reading, the chain, the report, the
 * policy. Where real evidence is at hand (COCO_VECTORS) it is that; otherwise it is made, with smaller keys, and the row says so.
 */
import { numberFrom, readArguments } from "../tools/arguments.ts";
import { INTEL_SGX_ROOT } from "../src/attestation/dcap/chains.ts";
import { appraiseDcap } from "../src/attestation/dcap/appraise.ts";
import { verifyDcap } from "../src/attestation/dcap/verify.ts";
import { judgeSnpEvidence } from "../src/attestation/snp/evidence.ts";
import { createAmdRoots } from "../src/attestation/snp/roots.ts";
import { isAccepted } from "../src/attestation/checks.ts";
import type { Endorsement, HardwareEvidence } from "../src/attestation/hardware-evidence.ts";
import type { DcapPolicy } from "../src/core/governance/policy-dcap.ts";
import { type SnpPolicy, STRICT_SNP_POLICY } from "../src/core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../src/enclave/manager/attestation-crypto.ts";
import { invariant } from "../src/errors.ts";
import { makeEvidence, type QuoteForm } from "../test/support/intel-platform.ts";
import { certificatesPem, NOW_MS } from "../test/support/issue-certificates.ts";
import { makeSnpPki } from "../test/support/snp-pki.ts";
import { missingTeeVectors, teeVector } from "../test/support/tee-vectors.ts";
import { utf8Encode } from "../src/core/codec/bytes.ts";
import { figure, latencyOf, latencyText } from "./lib/statistics.ts";
import { renderTable } from "./lib/table.ts";

/** One kind of evidence: `prepare` gives what is measured, and whether the evidence was accepted. */
interface Subject {
  readonly what: string;
  readonly goalMs: number;
  readonly prepare: () => { readonly source: string; readonly verify: () => boolean };
}

const SNP_GOAL_MS = 4;
const DCAP_GOAL_MS = 12;
const WARM_UP_ROUNDS = 50;
const DEFAULT_ROUNDS = "500";

const SUBJECTS: readonly Subject[] = [
  { what: "SNP report, its chain and a policy", goalMs: SNP_GOAL_MS, prepare: () => prepareSnp(false) },
  { what: "the same with a utility VM endorsement", goalMs: SNP_GOAL_MS, prepare: () => prepareSnp(true) },
  {
    what: "SGX quote (version 3), its collateral and a policy",
    goalMs: DCAP_GOAL_MS,
    prepare: () => prepareDcap("sgx/phala-v3", "sgx-3", Date.UTC(2025, 5, 20)),
  },
  {
    what: "TDX quote (version 5), its collateral and a policy",
    goalMs: DCAP_GOAL_MS,
    prepare: () => prepareDcap("tdx/google-v5-uptodate", "tdx-5-15", Date.UTC(2026, 2, 18)),
  },
];

function prepareDcap(folder: string, form: QuoteForm, realNowMs: number): ReturnType<Subject["prepare"]> {
  const crypto = createAttestationCrypto();
  const policy: DcapPolicy = { statuses: ["UpToDate", "ConfigurationAndSWHardeningNeeded"] };
  const isReal = missingTeeVectors(folder) === false;
  const { quote, collateral, roots, nowMs } = isReal
    ? {
        quote: teeVector(`${folder}/quote.bin`),
        collateral: teeVector(`${folder}/collateral.json`),
        roots: [INTEL_SGX_ROOT],
        nowMs: realNowMs,
      }
    : makeEvidence({ form });
  const verify = () => {
    const { claims, checks } = verifyDcap({ quote, collateral }, { roots, nowMs }, crypto);
    return isAccepted([...checks, ...appraiseDcap(claims, policy)]);
  };
  return { source: isReal ? "real" : "made", verify };
}

function prepareSnp(withUvm: boolean): ReturnType<Subject["prepare"]> {
  const crypto = createAttestationCrypto();
  const policy: SnpPolicy = { ...STRICT_SNP_POLICY, allow: ["v2"] };
  if (missingTeeVectors("snp") === false) {
    const folder = "snp/sidecar/attest";
    const content = teeVector(`${folder}/body.uvm_reference_info.bin`);
    const evidence: HardwareEvidence = {
      tee: "snp",
      evidence: teeVector(`${folder}/snp_report.bin`),
      endorsements: [
        { kind: "certificates", content: teeVector(`${folder}/uvm_host_amd_certificate.pem`) },
        ...(withUvm ? [{ kind: "uvm-endorsements", content } satisfies Endorsement] : []),
      ],
    };
    const options = { roots: createAmdRoots(), nowMs: Date.UTC(2026, 0, 1) };
    return { source: "real", verify: () => isAccepted(judgeSnpEvidence(evidence, policy, options, crypto).checks) };
  }
  const pki = makeSnpPki();
  const pem = certificatesPem([pki.vek(), pki.ask, pki.ark].map(({ der }) => der));
  const evidence: HardwareEvidence = {
    tee: "snp",
    evidence: pki.report(),
    endorsements: [{ kind: "certificates", content: utf8Encode(pem) }],
  };
  const options = { roots: pki.roots, nowMs: NOW_MS };
  const source = withUvm ? "made, without the endorsement" : "made";
  return { source, verify: () => isAccepted(judgeSnpEvidence(evidence, policy, options, crypto).checks) };
}

function measure({ what, goalMs, prepare }: Subject, rounds: number) {
  const { source, verify } = prepare();
  const once = (): number => {
    const start = performance.now();
    const accepted = verify();
    const durationMs = performance.now() - start;
    invariant(accepted, `evidence to measure with is accepted: ${what}`);
    return durationMs;
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round++) once();
  const before = process.cpuUsage();
  const latency = latencyOf(Array.from({ length: rounds }, once));
  const { user, system } = process.cpuUsage(before);
  return { what, source, goalMs, ...latency, processorMs: (user + system) / 1000 / rounds };
}

const OPTIONS = {
  rounds: { type: "string", value: "N", default: DEFAULT_ROUNDS, help: "verifications of each evidence" },
  json: { type: "boolean", default: false, help: "print JSON" },
} as const;
const { rounds, json } = readArguments("run bench:attestation", OPTIONS, (given) => ({
  rounds: numberFrom(1, "rounds", given.rounds),
  json: given.json,
}));
const results = SUBJECTS.map((subject) => measure(subject, rounds));
if (json) console.log(JSON.stringify(results));
else {
  const rows = results.map(({ what, source, goalMs, p50, p99, processorMs }) => [
    what,
    source,
    `<= ${goalMs} ms`,
    latencyText({ p50, p99 }),
    `${figure(processorMs)} ms`,
  ]);
  console.log(renderTable([["verification of", "evidence", "to reach", "measured", "processor time"], ...rows]));
}
