import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as pauseFor } from "node:timers/promises";
import { fromHex, type Bytes } from "../../core/codec/bytes.ts";
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
import {
  ENDORSEMENT_REFETCH_MS,
  ENDORSEMENT_REST_MS,
  KEPT_COLLATERAL_MS,
  MAX_ENDORSEMENT_ANSWER_BYTES,
} from "./bounded-fetch.ts";
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
      assert.ok(pages.has(url));
      pages.set(url, page);
      await assert.rejects(source()(evidence.quote), isUnavailable, url);
    }
    serve(evidence, "tdx");
    const document = pages.get(info) as Page;
    for (const issuers of [undefined, "%zz", "a".repeat(16_000) + "%"]) {
      pages.set(info, { ...document, headers: issuers === undefined ? {} : { "TCB-Info-Issuer-Chain": issuers } });
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

  const INFO_PAGE = "/tdx/certification/v4/tcb?fmspc=00a067110000";
  const IDENTITY_PAGE = "/tdx/certification/v4/qe/identity";
  const PCK_PAGE = "/sgx/certification/v4/pckcrl?ca=platform&encoding=der";
  const ROOT_PAGE = "/IntelSGXRootCA.der";
  const FILES = new Map([
    [INFO_PAGE, "dcap-tdx-00a067110000-tcb.json"],
    [IDENTITY_PAGE, "dcap-tdx-identity.json"],
    [PCK_PAGE, "dcap-platform-revocations.json"],
    [ROOT_PAGE, "dcap-root-revocations.json"],
  ]);

  /** Attests by a service that lies about these pages. */
  function attester(forged: ReadonlyMap<string, Page>) {
    const evidence = makeEvidence();
    const collateral = serve(evidence, "tdx");
    const genuine = new Map(pages);
    for (const [url, page] of forged) pages.set(url, page);
    let now = NOW_MS - HOUR_MS;
    const nowMs = () => now;
    const options = { collateral: source({ cacheFolder: folder, nowMs }), roots: evidence.roots, nowMs };
    const { reportData } = parseQuote(evidence.quote).body;
    const attest = (quote = evidence.quote) => evidenceOfQuote("tdx", quote, reportData, options);
    return { evidence, collateral, genuine, attest, pass: (ms: number) => (now += ms) };
  }

  /** The same page, signed by nobody. */
  function unsigned(url: string): Page {
    const { body, headers = {} } = pages.get(url) ?? assert.fail();
    const turned = String(body).replace(
      /("signature":")(..)/,
      (_, name: string, first: string) => `${name}${first === "00" ? "01" : "00"}`,
    );
    return { body: turned, headers };
  }

  test("is forgotten by the part that a quote does not verify for, and only that is fetched anew, after a rest", async () => {
    serve(makeEvidence(), "tdx");
    const otherRoot = issueRevocationList({ issuer: issue(), untilMs: NOW_MS + 24 * HOUR_MS });
    for (const [url, page] of [
      [INFO_PAGE, unsigned(INFO_PAGE)],
      [IDENTITY_PAGE, unsigned(IDENTITY_PAGE)],
      [PCK_PAGE, { body: otherRoot }],
      [ROOT_PAGE, { body: otherRoot }],
    ] as const) {
      const { collateral, genuine, attest, pass } = attester(new Map([[url, page]]));
      await assert.rejects(attest(), { code: "TeeUnavailable" }, url);
      const left = [...FILES].flatMap(([each, file]) => (each === url ? [] : [file]));
      assert.deepEqual(readdirSync(folder).toSorted(), left.toSorted(), url);
      asked = [];
      for (let time = 0; time < 9; time++) {
        pass(ENDORSEMENT_REFETCH_MS / 10);
        await assert.rejects(attest(), { ...isUnavailable, message: /does not verify; it is asked again at/ });
      }
      assert.deepEqual(asked, [], "it rests");
      pass(ENDORSEMENT_REFETCH_MS / 10);
      await assert.rejects(attest(), { code: "TeeUnavailable" }, "the service lies still");
      assert.deepEqual(asked, [url]);
      pages = genuine;
      pass(ENDORSEMENT_REFETCH_MS);
      const [endorsement] = (await attest()).endorsements;
      assert.deepEqual(asked, [url, url]);
      assert.deepEqual(parseCollateral(endorsement?.content ?? assert.fail()), collateral);
      for (const name of readdirSync(folder)) rmSync(join(folder, name));
    }
  });

  test("is kept whole when a quote does not verify for what the machine made", async () => {
    const { evidence, attest } = attester(new Map());
    const broken = evidence.quote.map((byte, at) => (at === 48 + 136 ? byte ^ 1 : byte));
    await assert.rejects(attest(broken), { code: "TeeUnavailable", message: /quote: signature/ });
    assert.deepEqual(readdirSync(folder).toSorted(), [...FILES.values()].toSorted());
    asked = [];
    await attest();
    assert.deepEqual(asked, []);
  });

  test("that a good list revokes is forgotten with its documents; the list that says so stays", async () => {
    const evidence = makeEvidence({ rootList: ({ tcbSigning }) => ({ revoked: [tcbSigning] }) });
    serve(evidence, "tdx");
    const nowMs = () => NOW_MS - HOUR_MS;
    const options = { collateral: source({ cacheFolder: folder, nowMs }), roots: evidence.roots, nowMs };
    const { reportData } = parseQuote(evidence.quote).body;
    await assert.rejects(evidenceOfQuote("tdx", evidence.quote, reportData, options), /CertificateRevoked/);
    assert.deepEqual(readdirSync(folder).toSorted(), [FILES.get(PCK_PAGE), FILES.get(ROOT_PAGE)]);
  });

  test("that fails in one part is not fetched anew in the others", async () => {
    const { genuine, attest, pass } = attester(new Map([[PCK_PAGE, { status: 404, body: "" }]]));
    await assert.rejects(attest(), isUnavailable);
    while (readdirSync(folder).filter((name) => !name.startsWith(".")).length < 3) await pauseFor(5);
    pages = genuine;
    asked = [];
    pass(ENDORSEMENT_REST_MS);
    await attest();
    assert.deepEqual(asked, [PCK_PAGE]);
  });

  test("and due is asked for once in a while, though what comes ends as soon", async () => {
    const { attest, pass } = attester(new Map());
    await attest();
    asked = [];
    // From here on all of it ends within a day, as does what the service has.
    pass(2 * HOUR_MS);
    for (let time = 0; time < 10; time++) {
      await attest();
      while (asked.length < 4) await pauseFor(5);
      await pauseFor(20);
    }
    assert.deepEqual(asked.toSorted(), [...FILES.keys()].toSorted());
  });

  test("serves without the service as long as it is valid, and not after that", async () => {
    const { at, first } = await kept("sgx-3");
    pages = new Map();
    assert.deepEqual(await at(NOW_MS + 23 * HOUR_MS), first);
    await assert.rejects(at(NOW_MS + 25 * HOUR_MS), isUnavailable);
  });

  test("and damaged is fetched anew, by the part that is damaged", async () => {
    const { at, first } = await kept();
    for (const [url, name] of FILES) {
      const file = join(folder, "cache", name);
      const good = readFileSync(file);
      const text = good.toString();
      for (const damage of [
        "",
        "{}",
        "[]",
        text.slice(0, -9),
        text.replace("{", '{ "more": "1",'),
        text.replace(/: "/, ': 1, "x": "'),
        ...(url === INFO_PAGE ? [text.replace("00A067110000", "00A067110001")] : []),
        ...(url === PCK_PAGE ? [text.replace("pck_crl", "root_ca_crl")] : []),
      ]) {
        writeFileSync(file, damage);
        utimesSync(file, NOW_MS / 1000, NOW_MS / 1000);
        asked = [];
        assert.deepEqual(await at(NOW_MS - HOUR_MS), first);
        assert.deepEqual(asked, [url], damage.slice(0, 80));
        assert.deepEqual(readFileSync(file), good);
      }
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
