import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { scenarios, type Scenario } from "../../../test/support/certificate-scenarios.ts";
import {
  certificatesPem,
  choices,
  DAY_MS,
  issue,
  issueRevocationList,
  makeKey,
  NOW_MS,
  PURPOSE,
  type TestCertificate,
  USAGE,
} from "../../../test/support/issue-certificates.ts";
import { createCertificateVerifier } from "../../enclave/manager/node-crypto.ts";
import { pemOfDer } from "../governance/pem.ts";
import { parseCertificate } from "./certificate.ts";
import { parseRevocationList } from "./crl.ts";
import { MAX_PATH_SIGNATURES, validatePath } from "./path.ts";

const verify = createCertificateVerifier();
const folder = mkdtempSync(join(tmpdir(), "coco-paths-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

function judge(scenario: Scenario, check = verify) {
  return validatePath({
    leaf: parseCertificate(scenario.leaf),
    intermediates: (scenario.intermediates ?? []).map(parseCertificate),
    anchors: scenario.anchors.map(parseCertificate),
    revocations: (scenario.revocations ?? []).map(parseRevocationList),
    nowMs: scenario.nowMs ?? NOW_MS,
    verify: check,
  });
}

function verdictOf(scenario: Scenario): string {
  const verdict = judge(scenario);
  return "problem" in verdict ? verdict.problem : "accepted";
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** What openssl says: the anchors are trusted as they are, at the same time, for clients, at 112 bits of security. */
function openssl(scenario: Scenario): { readonly accepts: boolean; readonly output: string } {
  const { leaf, intermediates = [], anchors, revocations = [], crlCheck, nowMs = NOW_MS } = scenario;
  const options = [
    "verify",
    "-partial_chain",
    "-auth_level",
    "2",
    "-purpose",
    "sslclient",
    "-attime",
    String(nowMs / 1000),
  ];
  options.push("-CAfile", file("anchors.pem", certificatesPem(anchors)));
  if (intermediates.length > 0) options.push("-untrusted", file("intermediates.pem", certificatesPem(intermediates)));
  if (crlCheck !== undefined) {
    const lists = revocations.map((list) => pemOfDer(list, "X509 CRL")).join("");
    options.push(crlCheck, "-CRLfile", file("lists.pem", lists));
  }
  const { status, stdout, stderr } = spawnSync("openssl", [...options, file("leaf.pem", certificatesPem([leaf]))], {
    encoding: "utf8",
  });
  return { accepts: status === 0, output: stdout + stderr };
}

const all = scenarios();

describe("a path of certificates", () => {
  for (const scenario of all) {
    test(`${scenario.name}: ${scenario.expected}`, () => assert.equal(verdictOf(scenario), scenario.expected));
  }

  test("is reported from the leaf to its anchor, with the time until which it holds", () => {
    const top = issue({ ca: true });
    const middle = issue({ ca: true, issuer: top, untilMs: NOW_MS + 3 * DAY_MS });
    const leaf = issue({ issuer: middle });
    const scenario: Scenario = {
      name: "",
      expected: "accepted",
      leaf: leaf.der,
      intermediates: [middle.der],
      anchors: [issue().der, top.der],
    };
    const verdict = judge(scenario);
    assert.ok(!("problem" in verdict));
    assert.deepEqual([verdict.anchor, verdict.untilMs], [1, NOW_MS + 3 * DAY_MS]);
    assert.deepEqual(
      verdict.path.map(({ der }) => der),
      [leaf.der, middle.der, top.der],
    );
    const list = issueRevocationList({ issuer: middle, untilMs: NOW_MS + 2 * DAY_MS });
    const revocable = judge({ ...scenario, revocations: [list] });
    assert.equal("untilMs" in revocable && revocable.untilMs, NOW_MS + 2 * DAY_MS);
  });

  test("names the certificate that has the problem", () => {
    const top = issue({ ca: true });
    const middle = issue({ subject: "CN=Late", ca: true, issuer: top, untilMs: NOW_MS - 1000 });
    const verdict = judge({
      name: "",
      expected: "Expired",
      leaf: issue({ issuer: middle }).der,
      intermediates: [middle.der],
      anchors: [top.der],
    });
    assert.equal("certificate" in verdict && verdict.certificate.subject.text, "CN=Late");
  });

  test("is looked for with a bounded number of signatures, however many certificates bear one name", () => {
    let signatures = 0;
    const key = makeKey();
    const namesakes = Array.from({ length: 7 }, () => issue({ subject: "CN=Same", ca: true, key, keyIds: false }).der);
    const leaf = issue({ issuer: { ...issue({ subject: "CN=Same", key }), key }, subject: "CN=Same", keyIds: false });
    const scenario: Scenario = {
      name: "",
      expected: "UnknownIssuer",
      leaf: leaf.der,
      intermediates: namesakes,
      anchors: [issue().der],
    };
    const verdict = judge(scenario, (...request) => {
      signatures++;
      return verify(...request);
    });
    assert.ok("problem" in verdict);
    assert.equal(signatures, MAX_PATH_SIGNATURES);
  });
});

/** A chain of one to three levels with a few choices made for each certificate; most chains have no flaw or one. */
function randomChain(seed: number): Scenario {
  const choose = choices(`chain ${seed}`);
  const rarely = (one: number): boolean => choose(one) === 0;
  const validity = () => (rarely(14) ? { untilMs: NOW_MS - DAY_MS } : rarely(20) ? { fromMs: NOW_MS + DAY_MS } : {});
  const constraints = () =>
    [{}, {}, {}, { permitted: ["dns:example.org"] }, { excluded: ["dns:b.example.org"] }, { permitted: ["dir:O=Org"] }][
      choose(6)
    ];
  const keyTypes = ["P-256", "P-384", "P-521", "ed25519"] as const;
  const levels = choose(3);
  const authorities: TestCertificate[] = [];
  for (let level = 0; level <= levels; level++) {
    const issuer = authorities[0];
    authorities.unshift(
      issue({
        subject: rarely(8) ? `O=Else, CN=CA ${level}` : `O=Org, CN=CA ${level}`,
        key: makeKey(keyTypes[choose(4)] ?? "P-256"),
        ca: rarely(15) ? false : rarely(4) ? { pathLength: choose(3) } : true,
        keyIds: !rarely(3),
        ...(issuer && { issuer }),
        ...(issuer && rarely(20) && { signer: makeKey(issuer.key.type) }),
        ...(rarely(6) && {
          usage: [0, USAGE.digitalSignature, USAGE.certificateSign | USAGE.revocationListSign][choose(3)] ?? 0,
        }),
        ...(rarely(10) && { purposes: [[PURPOSE.client], [PURPOSE.server]][choose(2)] ?? [] }),
        ...constraints(),
        ...validity(),
      }),
    );
  }
  const [issuer, ...above] = authorities as [TestCertificate, ...TestCertificate[]];
  const names = [undefined, ["dns:a.example.org"], ["dns:b.example.org"], ["dns:c.example.com"]][choose(4)];
  const leaf = issue({
    subject: rarely(6) ? "O=Else, CN=Ann B" : "O=Org, CN=Ann B",
    issuer,
    ...(names && { names }),
    ...validity(),
  });
  const lists = rarely(3) && {
    crlCheck: "-crl_check_all" as const,
    revocations: authorities.map((authority, at) =>
      issueRevocationList({
        issuer: authority,
        ...(rarely(8) && { revoked: [at === 0 ? leaf : (authorities[at - 1] as TestCertificate)] }),
        ...(rarely(15) && { untilMs: NOW_MS - 1000 }),
      }),
    ),
  };
  const path = [issuer, ...above].map(({ der }) => der);
  return {
    name: `random chain ${seed}`,
    expected: "accepted",
    leaf: leaf.der,
    intermediates: path.slice(0, -1),
    anchors: path.slice(-1),
    ...(lists || {}),
  };
}

const RANDOM_CHAINS = 80;

describe("verdicts beside those of openssl", { skip: !hasOpenssl }, () => {
  test("agree on every chain, but for the differences that are intended", () => {
    const surprises: string[] = [];
    for (const scenario of all) {
      if (scenario.revocations !== undefined && scenario.crlCheck === undefined) continue;
      const { accepts, output } = openssl(scenario);
      const agrees = accepts === (scenario.expected === "accepted");
      if (agrees !== (scenario.opensslDiffers === undefined)) surprises.push(`${scenario.name}: ${output}`);
    }
    assert.deepEqual(surprises, []);
  });

  test("agree on chains put together at random", (context) => {
    let accepted = 0;
    for (let seed = 0; seed < RANDOM_CHAINS; seed++) {
      const scenario = randomChain(seed);
      const { accepts, output } = openssl(scenario);
      if (accepts) accepted++;
      assert.equal(verdictOf(scenario) === "accepted", accepts, `${scenario.name}: ${verdictOf(scenario)}, ${output}`);
    }
    assert.ok(accepted > RANDOM_CHAINS / 8 && accepted < RANDOM_CHAINS * (7 / 8), `${accepted} accepted`);
    context.diagnostic(`measured: ${all.length} chains by hand, ${RANDOM_CHAINS} at random (${accepted} accepted)`);
  });
});
