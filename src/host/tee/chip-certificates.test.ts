import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as pauseFor } from "node:timers/promises";
import { certificatesPem, DAY_MS, issueRevocationList, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { makeSnpPki, type SnpPki, TEST_CHIP } from "../../../test/support/snp-pki.ts";
import { missingTeeVectors, TEE_VECTORS, teeVector } from "../../../test/support/tee-vectors.ts";
import { isAccepted, reasonsOf } from "../../attestation/checks.ts";
import type { Endorsement } from "../../attestation/hardware-evidence.ts";
import { pinnedRoots } from "../../attestation/pinned-roots.ts";
import { MAX_CERTIFICATE_CONTAINER_BYTES, readCertificates } from "../../attestation/snp/certificates.ts";
import { judgeSnpEvidence } from "../../attestation/snp/evidence.ts";
import { parseSnpReport } from "../../attestation/snp/report.ts";
import { MAX_SNP_CERTIFICATES } from "../../attestation/snp/verify.ts";
import { type Bytes, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { allowingSnp, SNP_PRODUCTS, STRICT_SNP_POLICY } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import {
  ENDORSEMENT_REFETCH_MS,
  ENDORSEMENT_REQUEST_ATTEMPTS,
  ENDORSEMENT_REST_MS,
  KEPT_CERTIFICATES_MS,
  KEPT_COLLATERAL_MS,
  MAX_ENDORSEMENT_ANSWER_BYTES,
} from "./bounded-fetch.ts";
import { type ChipCertificateOptions, createChipCertificates, hasCertificateFor } from "./chip-certificates.ts";

const isUnavailable = { code: "CollateralUnavailable" };
const crypto = createAttestationCrypto();
const pki = makeSnpPki();
const vcek = pki.vek().der;
const chain = utf8Encode(certificatesPem([pki.ask.der, pki.ark.der]));
const list = issueRevocationList({ issuer: pki.ark, algorithm: "pss", hash: "sha384", saltLength: 48 });
const CHIP = toHex(TEST_CHIP);
const QUERY = "blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219";
const VCEK_PAGE = `/vcek/v1/Milan/${CHIP}?${QUERY}`;
const CACHE_PAGE = `/SevSnpVM/certificates/${CHIP}/db18000000000004?api-version=2020-10-15-preview`;
const HOST_PAGE = "/metadata/THIM/amd/certification";

let server: Server;
let folder = "";
let asked: string[] = [];
let headers: IncomingHttpHeaders = {};
/** Content by page; a number is a status without content. */
let pages = new Map<string, Bytes | number>();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "coco-chips-"));
  asked = [];
  pages = new Map<string, Bytes | number>([
    [VCEK_PAGE, vcek],
    ["/vcek/v1/Milan/cert_chain", chain],
    ["/vcek/v1/Milan/crl", list],
  ]);
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    headers = request.headers;
    const page = pages.get(request.url ?? "") ?? 404;
    if (typeof page === "number") response.writeHead(page).end();
    else response.end(page);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

function source(options: Partial<ChipCertificateOptions> = {}) {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const urls = { amd: url, "azure-cache": url, "azure-host": `${url}/` };
  const given = { fetch, nowMs: () => NOW_MS, pause: async () => undefined, urls, roots: pki.roots };
  return createChipCertificates({ ...given, ...options });
}

function reasons(report: Bytes, endorsements: readonly Endorsement[], by: SnpPki = pki) {
  const options = { roots: by.roots, nowMs: NOW_MS };
  const policy = { ...STRICT_SNP_POLICY, require: ["revocation-list"] } as const;
  return reasonsOf(judgeSnpEvidence({ tee: "snp", evidence: report, endorsements }, policy, options, crypto).checks);
}

describe("certificates from AMD's service", () => {
  test("are asked for by product, chip and TCB, and come with what leads to the root and the list of revoked ones", async () => {
    const report = pki.report();
    const endorsements = await source()(report);
    assert.deepEqual(asked, [VCEK_PAGE, "/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"]);
    assert.deepEqual(reasons(report, endorsements), []);
    assert.ok(hasCertificateFor(report, endorsements));
  });

  test("of Turin are asked for by eight bytes and five parts", async () => {
    const turin = makeSnpPki("Turin");
    const page = `/vcek/v1/Turin/${CHIP.slice(0, 16)}?fmcSPL=01&blSPL=02&teeSPL=00&snpSPL=03&ucodeSPL=145`;
    const { der } = turin.vek();
    pages.set(page, der);
    assert.deepEqual(await source()(turin.report()), [{ kind: "certificates", content: der }]);
    assert.equal(asked[0], page);
  });

  test("of a report that names no product are asked for by each", async () => {
    const report = pki.report({ 0: 2, 392: 0, 393: 0, 394: 0 });
    pages.delete(VCEK_PAGE);
    pages.set(VCEK_PAGE.replace("Milan", "Genoa"), makeSnpPki("Genoa").vek().der);
    const [certificates] = await source()(report);
    assert.ok(certificates !== undefined && asked.includes(VCEK_PAGE));
  });

  test("go without chain or list where the service does not give them, or a list that is not current or of another root", async () => {
    pages.set("/vcek/v1/Milan/cert_chain", 404);
    const issuer = pki.ark;
    const lists: readonly (Bytes | number)[] = [
      404,
      utf8Encode("garbage"),
      issueRevocationList({ issuer, fromMs: NOW_MS - 2 * DAY_MS, untilMs: NOW_MS - DAY_MS }),
      issueRevocationList({ issuer, fromMs: NOW_MS + 1000 }),
      issueRevocationList({ issuer: pki.ask }),
    ];
    for (const page of lists) {
      pages.set("/vcek/v1/Milan/crl", page);
      assert.deepEqual(await source()(pki.report()), [{ kind: "certificates", content: vcek }]);
    }
  });

  test("that are of no use are not taken", async () => {
    const others: readonly (Bytes | number)[] = [
      404,
      utf8Encode("garbage"),
      chain,
      pki.vek({ tcb: Uint8Array.of(5, 0, 0, 0, 0, 0, 0x18, 0xdb) }).der,
      pki.vek({ hardwareId: TEST_CHIP.toReversed() }).der,
      pki.vek({ kind: "vlek" }).der,
      new Uint8Array(MAX_CERTIFICATE_CONTAINER_BYTES + 1),
      new Uint8Array(MAX_ENDORSEMENT_ANSWER_BYTES + 1),
    ];
    for (const page of others) {
      pages.set(VCEK_PAGE, page);
      await assert.rejects(source({ cacheFolder: folder })(pki.report()), isUnavailable);
      assert.deepEqual(readdirSync(folder), []);
    }
  });

  test("are not asked for by a provider's key, nor for a chip that is not named", async () => {
    for (const report of [pki.report({ 72: 4 }), pki.report({ 416: new Uint8Array(64) })])
      await assert.rejects(source()(report), isUnavailable);
    assert.deepEqual(asked, []);
  });

  test("are asked for again when the service is busy, so many times", async () => {
    for (const status of [429, 500, 503]) {
      pages.set(VCEK_PAGE, status);
      asked = [];
      const pauses: number[] = [];
      const pause = async (ms: number) => void pauses.push(ms);
      await assert.rejects(source({ pause })(pki.report()), isUnavailable);
      assert.equal(asked.length, ENDORSEMENT_REQUEST_ATTEMPTS);
      assert.deepEqual(pauses, [500, 1000]);
    }
    let left = 2;
    const flaky: ChipCertificateOptions["fetch"] = (url, options) =>
      left-- > 0 ? Promise.reject(new TypeError("fetch failed")) : fetch(url, options);
    pages.set(VCEK_PAGE, vcek);
    assert.deepEqual(reasons(pki.report(), await source({ fetch: flaky })(pki.report())), []);
  });

  test("are given up when the service is silent, and not asked for again at once", async () => {
    let now = NOW_MS;
    server.removeAllListeners("request");
    const silent = source({ requestTimeoutMs: 30, nowMs: () => now });
    await assert.rejects(silent(pki.report()), isUnavailable);
    server.on("request", (request, response) => {
      asked.push(request.url ?? "");
      response.end(vcek);
    });
    await assert.rejects(silent(pki.report()), isUnavailable);
    assert.deepEqual(asked, []);
    now += ENDORSEMENT_REST_MS;
    assert.equal((await silent(pki.report())).length, 1);
  });

  test("are asked for until one deadline, whatever the number of attempts and products", async () => {
    server.removeAllListeners("request");
    const signals: AbortSignal[] = [];
    const counting: ChipCertificateOptions["fetch"] = (url, options) => {
      signals.push(options.signal);
      return fetch(url, options);
    };
    const unnamed = pki.report({ 0: 2, 392: 0, 393: 0, 394: 0 });
    await assert.rejects(source({ fetch: counting, deadlineMs: 50 })(unnamed), isUnavailable);
    // Each request had five seconds of its own: what ended all of them is the deadline.
    assert.ok(signals.length <= SNP_PRODUCTS.length && signals.every(({ aborted }) => aborted), `${signals.length}`);
  });

  test("wanted many times at once are asked for once", async () => {
    const certificates = source({ cacheFolder: folder });
    const all = await Promise.all(Array.from({ length: 5 }, () => certificates(pki.report())));
    assert.equal(new Set(all.map((endorsements) => JSON.stringify(endorsements))).size, 1);
    assert.deepEqual(asked, [VCEK_PAGE, "/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"]);
  });
});

describe("certificates from Azure's services", () => {
  test("come from the cache by chip and TCB, and from the host with its header; the list stays with AMD", async () => {
    const all = certificatesPem([vcek, pki.ask.der, pki.ark.der]);
    const thim = {
      vcekCert: certificatesPem([vcek]),
      tcbm: "DB18000000000004",
      certificateChain: certificatesPem([pki.ask.der, pki.ark.der]),
      cacheControl: "86400",
    };
    pages.set(CACHE_PAGE, utf8Encode(all));
    pages.set(HOST_PAGE, utf8Encode(JSON.stringify(thim)));
    for (const [service, page] of [
      ["azure-cache", CACHE_PAGE],
      ["azure-host", HOST_PAGE],
    ] as const) {
      asked = [];
      const endorsements = await source({ services: [service] })(pki.report());
      assert.deepEqual(asked, [page]);
      assert.deepEqual(readCertificates(endorsements[0]?.content ?? assert.fail()), [vcek, pki.ask.der, pki.ark.der]);
      assert.equal(headers["metadata"], service === "azure-host" ? "true" : undefined);
    }
  });

  test("are asked one after the other, until one has the certificate for this TCB", async () => {
    const older = pki.vek({ tcb: Uint8Array.of(3, 0, 0, 0, 0, 0, 0x18, 0xdb) }).der;
    pages.set(HOST_PAGE, utf8Encode(certificatesPem([older])));
    const endorsements = await source({ services: ["azure-host", "azure-cache", "amd"] })(pki.report());
    assert.deepEqual(asked.slice(0, 3), [HOST_PAGE, CACHE_PAGE, VCEK_PAGE]);
    assert.deepEqual(reasons(pki.report(), endorsements), []);
    await assert.rejects(source({ services: [] })(pki.report()), isUnavailable);
  });
});

describe("certificates that are kept", () => {
  test("serve without any service; of another TCB others are asked for", async () => {
    const certificates = (nowMs = NOW_MS) => source({ cacheFolder: join(folder, "cache"), nowMs: () => nowMs });
    const first = await certificates()(pki.report());
    pages = new Map();
    asked = [];
    // The list is good for a day: it is asked for anew, and the one that is kept serves.
    assert.deepEqual(await certificates()(pki.report()), first);
    while (asked.length === 0) await pauseFor(5);
    assert.deepEqual(new Set(asked), new Set(["/vcek/v1/Milan/crl"]));
    const later = await certificates(NOW_MS + 2 * DAY_MS)(pki.report());
    assert.deepEqual(
      later.map(({ kind }) => kind),
      ["certificates"],
      "the list has ended",
    );
    const tcb = Uint8Array.of(5, 0, 0, 0, 0, 0, 0x18, 0xdb);
    await assert.rejects(certificates()(pki.report({ 56: tcb, 384: tcb, 480: tcb, 496: tcb })), isUnavailable);
  });

  test("are kept for a month at most, and the list for a week, whatever they say", async () => {
    const untilMs = NOW_MS + 3000 * DAY_MS;
    const forever = issueRevocationList({ issuer: pki.ark, algorithm: "pss", hash: "sha384", saltLength: 48, untilMs });
    pages.set("/vcek/v1/Milan/crl", forever);
    const at = (nowMs: number) => source({ cacheFolder: folder, nowMs: () => nowMs })(pki.report());
    await at(NOW_MS);
    pages = new Map();
    asked = [];
    assert.equal((await at(NOW_MS + KEPT_COLLATERAL_MS - 2 * DAY_MS)).length, 2);
    assert.deepEqual(asked, []);
    assert.equal((await at(NOW_MS + KEPT_COLLATERAL_MS)).length, 1, "the list is too old");
    await assert.rejects(at(NOW_MS + KEPT_CERTIFICATES_MS), isUnavailable);
  });

  const CRL_PAGE = "/vcek/v1/Milan/crl";
  const KEPT_CHAIN = `snp-${CHIP}-db18000000000004`;
  const KEPT_LIST = "snp-Milan-revocations";
  const forger = makeSnpPki();
  const listBy = (issuer: SnpPki["ark"], revoked: readonly SnpPki["ask"][] = []) =>
    issueRevocationList({
      issuer,
      revoked,
      algorithm: "pss",
      hash: "sha384",
      saltLength: 48,
      untilMs: NOW_MS + 5 * DAY_MS,
    });

  for (const [what, page, forged, forgotten, stays] of [
    ["certificates", VCEK_PAGE, forger.vek().der, KEPT_CHAIN, KEPT_LIST],
    ["the list", CRL_PAGE, listBy(forger.ark), KEPT_LIST, KEPT_CHAIN],
  ] as const)
    test(`that the report does not verify for are forgotten, the others stay: ${what}`, async () => {
      let now = NOW_MS;
      const certificates = source({ cacheFolder: folder, nowMs: () => now });
      pages.set(CRL_PAGE, listBy(pki.ark));
      const genuine = pages.get(page) ?? assert.fail();
      pages.set(page, forged);
      assert.notDeepEqual(reasons(pki.report(), await certificates(pki.report())), []);
      assert.deepEqual(readdirSync(folder), [stays]);
      pages.set(page, genuine);
      now += ENDORSEMENT_REFETCH_MS;
      asked = [];
      assert.deepEqual(reasons(pki.report(), await certificates(pki.report())), []);
      assert.ok(asked.includes(page) && !asked.includes(page === CRL_PAGE ? VCEK_PAGE : CRL_PAGE), asked.join());
      assert.deepEqual(readdirSync(folder).toSorted(), [forgotten, stays].toSorted());
    });

  test("and forgotten are not asked for again before a rest, however often evidence is made", async () => {
    let now = NOW_MS;
    const certificates = source({ cacheFolder: folder, nowMs: () => now });
    pages.set(CRL_PAGE, listBy(forger.ark));
    const tries = 40;
    for (let time = 0; time < tries; time++) {
      const endorsements = await certificates(pki.report());
      // The genuine certificate of the chip is never lost: evidence goes without the list until it is asked for again.
      const isFresh = time % 10 === 0;
      assert.deepEqual(
        endorsements.map(({ kind }) => kind),
        isFresh ? ["certificates", "revocations"] : ["certificates"],
      );
      assert.deepEqual(readdirSync(folder), [KEPT_CHAIN]);
      now += ENDORSEMENT_REFETCH_MS / 10;
    }
    const count = (page: string) => asked.filter((each) => each === page).length;
    assert.deepEqual([count(VCEK_PAGE), count(CRL_PAGE)], [1, tries / 10]);
    pages.set(VCEK_PAGE, forger.vek().der);
    rmSync(join(folder, KEPT_CHAIN));
    asked = [];
    await certificates(pki.report());
    for (let time = 0; time < 5; time++)
      await assert.rejects(certificates(pki.report()), {
        ...isUnavailable,
        message: /does not verify; it is asked again at/,
      });
    assert.equal(count(VCEK_PAGE), 1);
  });

  test("are forgotten where a good list revokes what they lead to; the list that says so stays", async () => {
    pages.set(CRL_PAGE, listBy(pki.ark, [pki.ask]));
    const certificates = source({ cacheFolder: folder });
    assert.deepEqual(reasons(pki.report(), await certificates(pki.report())), ["CertificateRevoked"]);
    assert.deepEqual(readdirSync(folder), [KEPT_LIST]);
  });

  test("are not forgotten for what the report says of itself", async () => {
    pages.set(CRL_PAGE, listBy(pki.ark));
    const certificates = source({ cacheFolder: folder });
    const masked = pki.report({ 72: 2 });
    assert.notDeepEqual(reasons(masked, await certificates(masked)), []);
    assert.deepEqual(readdirSync(folder).toSorted(), [KEPT_CHAIN, KEPT_LIST].toSorted());
  });

  test("are not taken where there are more than evidence may carry; the chip's own is taken without such a chain", async () => {
    const many = utf8Encode(certificatesPem(Array.from({ length: MAX_SNP_CERTIFICATES }, () => pki.ask.der)));
    pages.set("/vcek/v1/Milan/cert_chain", many);
    const [certificates] = await source({ cacheFolder: folder })(pki.report());
    assert.deepEqual(certificates?.content, vcek);
    pages.set(HOST_PAGE, utf8Encode(certificatesPem([vcek, ...readCertificates(many)])));
    await assert.rejects(source({ services: ["azure-host"] })(pki.report()), isUnavailable);
  });

  test("and damaged, or of another chip, are asked for anew", async () => {
    const certificates = () => source({ cacheFolder: folder })(pki.report());
    const first = await certificates();
    const file = join(folder, `snp-${CHIP}-db18000000000004`);
    assert.ok(existsSync(file));
    for (const damage of ["", "garbage", certificatesPem([pki.vek({ hardwareId: TEST_CHIP.toReversed() }).der])]) {
      writeFileSync(file, damage);
      utimesSync(file, NOW_MS / 1000, NOW_MS / 1000);
      assert.deepEqual(await certificates(), first);
      assert.deepEqual(new Uint8Array(readFileSync(file)), first[0]?.content);
    }
  });
});

describe("certificates of real chips", { skip: missingTeeVectors("snp") }, () => {
  /** A report, its chip's certificate, and what the strict policy has to allow of it. */
  const CASES = [
    ["Milan", "ms-tee-av/milan_attestation_report.bin", "ms-tee-av/milan_vcek.pem", []],
    ["Genoa", "ccf/genoa_attestation.bin", "ccf/genoa_endorsements.pem", []],
    ["Milan", "sidecar/attest/snp_report.bin", "sidecar/attest/uvm_host_amd_certificate.pem", ["v2"]],
  ] as const;
  for (const [product, reportFile, certificateFile, allow] of CASES)
    test(`${reportFile} verifies to AMD's own roots with what the services give`, async () => {
      assert.ok(existsSync(join(TEE_VECTORS, "snp", reportFile)), "a vector that stands in the list is there");
      const report = teeVector(`snp/${reportFile}`);
      const [der] = readCertificates(teeVector(`snp/${certificateFile}`));
      const { chipId, reportedTcb } = parseSnpReport(report);
      const part = (at: number) => String(reportedTcb[at]).padStart(2, "0");
      const query = `blSPL=${part(0)}&teeSPL=${part(1)}&snpSPL=${part(6)}&ucodeSPL=${part(7)}`;
      pages = new Map([[`/vcek/v1/${product}/${toHex(chipId)}?${query}`, der ?? assert.fail()]]);
      const endorsements = await source()(report);
      const options = { roots: pinnedRoots().amd, nowMs: Date.parse("2026-11-01T00:00:00Z") };
      const policy = allowingSnp(STRICT_SNP_POLICY, allow) ?? assert.fail();
      const { checks } = judgeSnpEvidence({ tee: "snp", evidence: report, endorsements }, policy, options, crypto);
      assert.ok(isAccepted(checks), reasonsOf(checks).join());
    });
});
