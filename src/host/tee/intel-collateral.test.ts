import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as pauseFor } from "node:timers/promises";
import { fromHex, utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import { issue, issueRevocationList, NOW_MS } from "../../../test/support/issue-certificates.ts";
import {
  makeEvidence,
  PLATFORM_NAMES,
  type QuoteForm,
  type TestEvidence,
} from "../../../test/support/intel-platform.ts";
import { isAccepted } from "../../attestation/checks.ts";
import { parseCollateral, type Collateral } from "../../attestation/dcap/collateral.ts";
import { parseQuote } from "../../attestation/dcap/quote.ts";
import { verifyDcap } from "../../attestation/dcap/verify.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { KEPT_COLLATERAL_MS, MAX_ENDORSEMENT_ANSWER_BYTES } from "./bounded-fetch.ts";
import { createIntelCollateral, type IntelCollateralOptions } from "./intel-collateral.ts";
import { evidenceOfQuote } from "./own-quote.ts";

const isUnavailable = { code: "CollateralUnavailable" };
const HOUR_MS = 3_600_000;
const crypto = createAttestationCrypto();

interface Page {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Bytes;
}

let server: Server;
let folder = "";
let asked: string[] = [];
let pages = new Map<string, Page>();
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "coco-collateral-"));
  asked = [];
  answer = (request, response) => {
    asked.push(request.url ?? "");
    const page = pages.get(request.url ?? "");
    response.writeHead(page?.status ?? (page ? 200 : 404), page?.headers);
    response.end(page?.body);
  };
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

const serviceUrl = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** The pages of a service that knows one platform. */
function serve(evidence: TestEvidence, tee: "sgx" | "tdx", authority = "platform"): Collateral {
  const collateral = parseCollateral(evidence.collateral);
  const info = `{"tcbInfo":${collateral.tcb_info},"signature":"${collateral.tcb_info_signature}"}`;
  const identity = `{"enclaveIdentity":${collateral.qe_identity},"signature":"${collateral.qe_identity_signature}"}`;
  const chain = encodeURIComponent(collateral.tcb_info_issuer_chain);
  pages = new Map<string, Page>([
    [`/${tee}/certification/v4/tcb?fmspc=00a067110000`, { body: info, headers: { "TCB-Info-Issuer-Chain": chain } }],
    [
      `/${tee}/certification/v4/qe/identity`,
      { body: identity, headers: { "SGX-Enclave-Identity-Issuer-Chain": chain } },
    ],
    [`/sgx/certification/v4/pckcrl?ca=${authority}&encoding=der`, { body: fromHex(collateral.pck_crl) }],
    ["/IntelSGXRootCA.der", { body: fromHex(collateral.root_ca_crl) }],
  ]);
  return collateral;
}

function source(options: Partial<IntelCollateralOptions> = {}) {
  return createIntelCollateral({
    fetch,
    nowMs: () => NOW_MS,
    pause: async () => undefined,
    serviceUrl: serviceUrl(),
    rootListUrl: `${serviceUrl()}/IntelSGXRootCA.der`,
    ...options,
  });
}

describe("collateral from Intel's service", () => {
  for (const [form, tee] of [
    ["sgx-3", "sgx"],
    ["tdx-5-15", "tdx"],
  ] as const) {
    test(`${form}: is asked for by platform, and verifies`, async () => {
      const evidence = makeEvidence({ form });
      const collateral = serve(evidence, tee);
      const bytes = await source()(evidence.quote);
      assert.deepEqual(parseCollateral(bytes), collateral);
      assert.deepEqual(asked.sort(), [...pages.keys()].sort());
      const { quote, roots, nowMs } = evidence;
      assert.ok(isAccepted(verifyDcap({ quote, collateral: bytes }, { roots, nowMs }, crypto).checks));
    });
  }

  test("of a processor CA is asked for by that name", async () => {
    const subject = PLATFORM_NAMES.authority.replace("Platform", "Processor");
    const evidence = makeEvidence({ authority: { subject } });
    serve(evidence, "tdx", "processor");
    await source()(evidence.quote);
    assert.ok(asked.includes("/sgx/certification/v4/pckcrl?ca=processor&encoding=der"));
  });

  test("of a service that gives lists in hex is the same", async () => {
    const evidence = makeEvidence();
    const collateral = serve(evidence, "tdx");
    pages.set("/IntelSGXRootCA.der", { body: collateral.root_ca_crl });
    assert.deepEqual(parseCollateral(await source()(evidence.quote)), collateral);
  });

  test("is not taken from answers that are of no use", async () => {
    const evidence = makeEvidence();
    const info = "/tdx/certification/v4/tcb?fmspc=00a067110000";
    const chain = { "TCB-Info-Issuer-Chain": "x" };
    const wrong: readonly (readonly [string, Page])[] = [
      [info, { status: 404, body: "" }],
      [info, { status: 302, body: "", headers: { location: `${serviceUrl()}/IntelSGXRootCA.der` } }],
      [info, { body: "{}", headers: chain }],
      [info, { body: "not JSON", headers: chain }],
      [info, { body: Uint8Array.of(0xff, 0xfe), headers: chain }],
      [info, { body: "" }],
      [info, { body: "x".repeat(MAX_ENDORSEMENT_ANSWER_BYTES + 1), headers: chain }],
      ["/IntelSGXRootCA.der", { body: "garbage" }],
      ["/IntelSGXRootCA.der", { body: "" }],
      ["/sgx/certification/v4/pckcrl?ca=platform&encoding=der", { body: Uint8Array.of(0x30, 0x80) }],
    ];
    for (const [url, page] of wrong) {
      serve(evidence, "tdx");
      const genuine = pages.get(url);
      pages.set(url, page);
      await assert.rejects(
        source()(evidence.quote),
        isUnavailable,
        `${url} ${utf8Decode(new Uint8Array()) || page.status}`,
      );
      assert.ok(genuine);
    }
    serve(evidence, "tdx");
    const document = pages.get(info) as Page;
    for (const headers of [
      {},
      { "TCB-Info-Issuer-Chain": "%zz" },
      { "TCB-Info-Issuer-Chain": "a".repeat(16_000) + "%" },
    ]) {
      pages.set(info, { ...document, headers });
      await assert.rejects(source()(evidence.quote), isUnavailable);
    }
  });

  test("is given up when the service is silent, or does not end", async () => {
    const evidence = makeEvidence();
    serve(evidence, "tdx");
    answer = () => undefined;
    await assert.rejects(source({ requestTimeoutMs: 50 })(evidence.quote), isUnavailable);
    answer = (_, response) => {
      response.writeHead(200);
      response.write("x");
    };
    await assert.rejects(source({ requestTimeoutMs: 50 })(evidence.quote), isUnavailable);
    server.closeAllConnections();
  });

  test("is not asked for by quotes that name no platform", async () => {
    const without = makeEvidence({ certificationKind: 3, certificationData: new Uint8Array(404) });
    await assert.rejects(source()(without.quote), isUnavailable);
    const other = makeEvidence({ authority: { subject: "CN=Other CA" } });
    await assert.rejects(source()(other.quote), isUnavailable);
    await assert.rejects(source()(new Uint8Array(10)), { code: "EvidenceRejected" });
    assert.deepEqual(asked, []);
  });
});

describe("collateral that is kept", () => {
  async function kept(form: QuoteForm = "tdx-5-15") {
    const evidence = makeEvidence({ form });
    serve(evidence, form.startsWith("sgx") ? "sgx" : "tdx");
    const at = (nowMs: number) => source({ cacheFolder: join(folder, "cache"), nowMs: () => nowMs })(evidence.quote);
    // Everything is valid until a day after NOW_MS.
    const first = await at(NOW_MS - HOUR_MS);
    assert.equal(asked.length, 4);
    asked = [];
    return { at, first, file: join(folder, "cache", readdirSync(join(folder, "cache"))[0] ?? "") };
  }

  test("is used while it is valid for a day and longer, then serves while it is fetched anew", async () => {
    const { at, first, file } = await kept();
    assert.deepEqual(await at(NOW_MS - HOUR_MS), first);
    assert.equal(asked.length, 0);
    assert.deepEqual(await at(NOW_MS + HOUR_MS), first);
    while (statSync(file).mtimeMs !== NOW_MS + HOUR_MS) await pauseFor(5);
    assert.equal(asked.length, 4);
  });

  test("and due serves at once while the service is silent, which is asked once", async () => {
    const { first } = await kept();
    const wanted: string[] = [];
    const due = source({
      ...{ cacheFolder: join(folder, "cache"), nowMs: () => NOW_MS + HOUR_MS },
      fetch: (url) => {
        wanted.push(url);
        return new Promise(() => undefined);
      },
    });
    const evidence = makeEvidence();
    for (let time = 0; time < 3; time++) assert.deepEqual(await due(evidence.quote), first);
    assert.equal(wanted.length, 4, "one request for each part");
  });

  test("is given up when it is a week old, whatever it says", async () => {
    const evidence = makeEvidence();
    const collateral = serve(evidence, "tdx");
    // What is signed is not looked at before it is kept: dates and lists alone decide.
    const lasting = {
      info: collateral.tcb_info.replace(/"nextUpdate":"[^"]*"/, '"nextUpdate":"2099-01-01T00:00:00Z"'),
      identity: collateral.qe_identity.replace(/"nextUpdate":"[^"]*"/, '"nextUpdate":"2099-01-01T00:00:00Z"'),
    };
    const list = issueRevocationList({ issuer: issue(), untilMs: Date.parse("2099-01-01T00:00:00Z") });
    for (const [url, page] of pages) {
      if (url.includes("/tcb?"))
        pages.set(url, { ...page, body: `{"tcbInfo":${lasting.info},"signature":"${collateral.tcb_info_signature}"}` });
      else if (url.includes("/qe/"))
        pages.set(url, {
          ...page,
          body: `{"enclaveIdentity":${lasting.identity},"signature":"${collateral.qe_identity_signature}"}`,
        });
      else pages.set(url, { body: list });
    }
    const at = (nowMs: number) => source({ cacheFolder: folder, nowMs: () => nowMs })(evidence.quote);
    const forged = await at(NOW_MS);
    asked = [];
    assert.deepEqual(await at(NOW_MS + KEPT_COLLATERAL_MS - 25 * HOUR_MS), forged);
    assert.equal(asked.length, 0);
    serve(evidence, "tdx");
    assert.deepEqual(parseCollateral(await at(NOW_MS + KEPT_COLLATERAL_MS)), collateral);
    // A file that is from a time to come is of no age.
    pages = new Map();
    await assert.rejects(at(NOW_MS), isUnavailable);
  });

  test("is forgotten when a quote does not verify with it, and fetched anew", async () => {
    const evidence = makeEvidence();
    const collateral = serve(evidence, "tdx");
    const info = "/tdx/certification/v4/tcb?fmspc=00a067110000";
    const genuine = pages.get(info) as Page;
    const signature = collateral.tcb_info_signature.replace(/^../, (first) => (first === "00" ? "01" : "00"));
    pages.set(info, { ...genuine, body: `{"tcbInfo":${collateral.tcb_info},"signature":"${signature}"}` });
    const nowMs = () => NOW_MS - HOUR_MS;
    const options = { collateral: source({ cacheFolder: folder, nowMs }), roots: evidence.roots, nowMs };
    const { reportData } = parseQuote(evidence.quote).body;
    const attest = () => evidenceOfQuote("tdx", evidence.quote, reportData, options);
    await assert.rejects(attest(), { code: "TeeUnavailable" });
    assert.deepEqual(readdirSync(folder), []);
    pages.set(info, genuine);
    const [endorsement] = (await attest()).endorsements;
    assert.deepEqual(parseCollateral(endorsement?.content ?? assert.fail()), collateral);
    assert.equal(readdirSync(folder).length, 1);
  });

  test("serves without the service as long as it is valid, and not after that", async () => {
    const { at, first } = await kept("sgx-3");
    pages = new Map();
    assert.deepEqual(await at(NOW_MS + 23 * HOUR_MS), first);
    await assert.rejects(at(NOW_MS + 25 * HOUR_MS), isUnavailable);
  });

  test("and damaged is fetched anew", async () => {
    const { at, first, file } = await kept();
    for (const damage of [
      "",
      "{}",
      utf8Decode(first).slice(0, -9),
      utf8Decode(first).replace("00A067110000", "00A067110001"),
    ]) {
      writeFileSync(file, damage);
      utimesSync(file, NOW_MS / 1000, NOW_MS / 1000);
      asked = [];
      assert.deepEqual(await at(NOW_MS - HOUR_MS), first);
      assert.equal(asked.length, 4);
      assert.deepEqual(new Uint8Array(readFileSync(file)), first);
    }
  });

  test("where no file can be written is fetched each time", async () => {
    const evidence = makeEvidence();
    serve(evidence, "tdx");
    writeFileSync(join(folder, "file"), "");
    const fetchAgain = source({ cacheFolder: join(folder, "file"), nowMs: () => NOW_MS - HOUR_MS });
    assert.deepEqual(await fetchAgain(evidence.quote), await fetchAgain(evidence.quote));
    assert.equal(asked.length, 8);
  });
});
