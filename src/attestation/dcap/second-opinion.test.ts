/**
 * A second opinion: `@phala/dcap-qvl`, written by others from the same specifications, comes to the same status and
 * advisories where its rules are ours. Where they are known to differ it is not asked:
 *  - TDX modules with a version (TEE_TCB_SVN[1] > 0): it compares the first two components as well, and knows no identities
 *    of modules, so that it finds lower levels, or none;
 *  - guests of TDX 1.5 that outlived an update: it knows no relaunch;
 *  - SGX quotes of versions 4 and 5: it does not read them;
 *  - a platform that needs configuration with an old quoting enclave: it says `OutOfDate`, and forgets the configuration;
 *  - lists of revoked certificates, CA flags, names and PCEID: it lets pass what is refused here;
 *  - debugging and service guests: it refuses in verification what is appraisal's here.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { QuoteVerifier } from "@phala/dcap-qvl";
import { fromHex, type Bytes } from "../../core/codec/bytes.ts";
import { choices } from "../../../test/support/issue-certificates.ts";
import {
  level,
  makeEvidence,
  partLevel,
  type PlatformChanges,
  type QuoteForm,
} from "../../../test/support/intel-platform.ts";
import { TCB_STATUSES } from "../../core/governance/policy-dcap.ts";
import { isAccepted } from "../checks.ts";
import { INTEL_SGX_ROOT } from "./chains.ts";
import { parseCollateral } from "./collateral.ts";
import { parseQuote } from "./quote.ts";
import { crypto, verified } from "./test-refusals.ts";
import { quotesMissing, realQuotes } from "./test-vectors.ts";
import { verifyDcap } from "./verify.ts";

const ROUNDS = 40;
const LEVEL_STATUSES = TCB_STATUSES.filter((status) => !/^TDRelaunch|^Revoked/.test(status));

interface Opinion {
  readonly status: string | undefined;
  readonly advisories: readonly string[];
}

function secondOpinion(quote: Bytes, collateral: Bytes, nowMs: number): Opinion {
  const fields = parseCollateral(collateral);
  const root = parseQuote(quote).certificates?.at(-1);
  assert.ok(root);
  const verifier = QuoteVerifier.newWithRootCa(Buffer.from(root));
  const bytes = (hex: string): number[] => [...fromHex(hex)];
  try {
    const { status, advisory_ids } = verifier.verify(
      quote,
      {
        ...fields,
        pck_crl_issuer_chain: "",
        root_ca_crl: bytes(fields.root_ca_crl),
        pck_crl: bytes(fields.pck_crl),
        tcb_info_signature: bytes(fields.tcb_info_signature),
        qe_identity_signature: bytes(fields.qe_identity_signature),
      },
      Math.floor(nowMs / 1000),
    );
    return { status, advisories: [...new Set(advisory_ids)].sort() };
  } catch (error) {
    assert.match(String(error), /No matching TCB level|revoked/i);
    return { status: undefined, advisories: [] };
  }
}

describe("real quotes", { skip: quotesMissing }, () => {
  // Their modules have versions: what they reach of the first component does not matter here, and there it does.
  const differs = ["azure-paravisor-v4"];
  for (const { name, quote, collateral, expected } of realQuotes()) {
    if (differs.includes(name) || expected.debug === true || expected.mrservicetd_zero === false) continue;
    test(name, () => {
      const nowMs = Date.parse(expected.verify_at);
      const { claims } = verifyDcap({ quote, collateral }, { roots: [INTEL_SGX_ROOT], nowMs }, crypto);
      const ours = { status: claims.tcbStatus, advisories: claims.advisories };
      assert.deepEqual(ours, secondOpinion(quote, collateral, nowMs));
    });
  }
});

/** Levels, a platform and a quoting enclave by chance; modules without a version. */
function platformBy(seed: string, form: QuoteForm): PlatformChanges {
  const choose = choices(seed);
  const svns = (below: number): number[] => Array.from({ length: 16 }, () => choose(below));
  const isOld = choose(2) === 0;
  const statuses = LEVEL_STATUSES.filter((status) => !isOld || !status.includes("Configuration"));
  const advisory = (): string[] => (choose(2) === 0 ? [] : [`INTEL-SA-0000${choose(9)}`]);
  const levels = [4, 3, 2, 1].map((below, at) => {
    const zeros = choose(3) === 0;
    const tdx = form.startsWith("tdx") ? (zeros ? new Array<number>(16).fill(0) : svns(below)) : undefined;
    const sgx = at === 3 ? new Array<number>(16).fill(choose(2)) : svns(below);
    return level(statuses[choose(statuses.length)] as string, sgx, choose(3), tdx, advisory());
  });
  return {
    form,
    platform: { components: svns(4).map((svn) => svn + choose(2)), pceSvn: choose(4) },
    body: (bytes) => {
      if (form.startsWith("tdx")) bytes.set(Uint8Array.from(svns(4), (svn, at) => (at === 1 ? 0 : svn)));
    },
    tcbInfo: (info) => Object.assign(info, { tcbLevels: levels }),
    identity: (identity) =>
      Object.assign(identity, {
        tcbLevels: [partLevel("UpToDate", 8, advisory()), partLevel("OutOfDate", 1, advisory())],
      }),
    quotingReport: (report) => report.set([isOld ? 7 : 8], 258),
  };
}

describe("platforms by chance", () => {
  for (const form of ["sgx-3", "tdx-4", "tdx-5-10"] as const) {
    test(`${form}: the same status and advisories`, () => {
      const found = new Set<string | undefined>();
      for (let round = 0; round < ROUNDS; round++) {
        const seed = `${form} ${round}`;
        const evidence = makeEvidence(platformBy(seed, form));
        const { claims, checks } = verified(evidence);
        assert.ok(claims.tcbStatus === undefined || isAccepted(checks), seed);
        const ours = { status: claims.tcbStatus, advisories: claims.advisories };
        assert.deepEqual(ours, secondOpinion(evidence.quote, evidence.collateral, evidence.nowMs), `seed ${seed}`);
        found.add(claims.tcbStatus);
      }
      assert.ok(found.size >= 3, [...found].join());
    });
  }
});
