import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { issue } from "../../../test/support/issue-certificates.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { reasonsOf } from "../../attestation/checks.ts";
import { judgeVsmEvidence } from "../../attestation/vsm/evidence.ts";
import { makeGuardian, makeReport } from "../../attestation/vsm/test-vsm-evidence.ts";
import { NOW_MS } from "../../../test/support/issue-certificates.ts";
import { fromBase64, toBase64 } from "../../core/codec/base64.ts";
import { utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import { readDocument } from "../../core/governance/fields.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { readVsmPolicy } from "../../core/governance/policy-vsm.ts";
import { askAt, askInFile, MAX_ENCLAVE_HOST_ANSWER_BYTES } from "./enclave-host.ts";
import { createProvider } from "./providers.ts";
import { createVsmFileProvider, createVsmProvider } from "./vsm.ts";

const folder = mkdtempSync(join(tmpdir(), "coco-vsm-"));
const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

const guardian = makeGuardian();
const reportData = Uint8Array.from({ length: 64 }, (_, at) => at);
const isUnavailable = { code: "TeeUnavailable" };

type Request = Readonly<Record<string, unknown>>;

/** A small enclave host: answers each request by what `answer` writes. */
async function serve(answer: (request: Request, socket: Socket) => void): Promise<string> {
  const path =
    process.platform === "win32"
      ? `\\\\.\\pipe\\coco-test-${process.pid}-${servers.length}`
      : join(folder, `host-${servers.length}`);
  const server = createServer((socket) => {
    let received = "";
    socket.on("error", () => undefined);
    socket.on("data", (piece: Bytes) => {
      received += utf8Decode(piece);
      if (received.endsWith("\n")) answer(JSON.parse(received) as Request, socket);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

const serveText = (text: string): Promise<string> => serve((_, socket) => void socket.write(text));
const line = (value: unknown): string => `${JSON.stringify(value)}\n`;

function answerFor(enclaveData: Bytes) {
  const report = makeReport(guardian.key, { enclaveData });
  return { report: toBase64(report), healthCertificate: toBase64(guardian.health.der) };
}

/** An enclave host that does all three, and seals by turning bits over. */
const host = serve((request, socket) => {
  const data = fromBase64(String(request["data64"]));
  const turned = { data64: toBase64(data.map((byte) => byte ^ 0xff)) };
  socket.end(line(request["op"] === "attest" ? answerFor(data) : turned));
});

describe("the provider vsm", () => {
  test("has evidence made that its verifier accepts", async () => {
    const evidence = await createVsmProvider(await host).attest(reportData);
    const json = { format: "vbs-hgs", roots: [pemOfDer(guardian.root.der, "CERTIFICATE")] };
    const policy = readDocument(json, { form: "json", code: "ConfigurationInvalid" }, readVsmPolicy);
    const { claims, checks } = judgeVsmEvidence(
      evidence,
      policy,
      { nowMs: NOW_MS, reportData },
      createAttestationCrypto(),
    );
    assert.deepEqual(reasonsOf(checks), []);
    assert.equal(claims.tee, "vsm");
  });

  test("seals and unseals", async () => {
    const provider = createVsmProvider(await host);
    const secret = Uint8Array.of(1, 2, 3);
    const sealed = await provider.seal(secret);
    assert.deepEqual(sealed, Uint8Array.of(254, 253, 252));
    assert.deepEqual(await provider.unseal(sealed), secret);
    await assert.rejects(provider.seal(new Uint8Array(0)), isUnavailable);
    await assert.rejects(provider.unseal(new Uint8Array(64 * 1024 + 1)), isUnavailable);
  });

  test("sends one request of one line", async () => {
    const requests: Request[] = [];
    const path = await serve((request, socket) => {
      requests.push(request);
      socket.end(line(answerFor(reportData)));
    });
    await createVsmProvider(path).attest(reportData);
    assert.deepEqual(requests, [{ op: "attest", data64: toBase64(reportData) }]);
  });

  test("hands on certificates between, and tokens", async () => {
    const middle = issue({ ca: true }).der;
    const more = await serveText(line({ ...answerFor(reportData), intermediates: [toBase64(middle)] }));
    const kinds = (await createVsmProvider(more).attest(reportData)).endorsements.map(({ kind }) => kind);
    assert.deepEqual(kinds, ["health-certificate", "certificates"]);
    const token = await createVsmProvider(await serveText(line({ token: "a.b.c" }))).attest(reportData);
    assert.deepEqual([utf8Decode(token.evidence), token.endorsements], ["a.b.c", []]);
  });

  const good = answerFor(reportData);
  const answers: readonly (readonly [string, string])[] = [
    ["evidence for other data", line(answerFor(new Uint8Array(64)))],
    ["a refusal", line({ error: "no enclave" })],
    ["no JSON", "hello\n"],
    ["a list", "[]\n"],
    ["a name that stands twice", `{"token":"a","token":"b"}\n`],
    ["a field too many", line({ ...good, more: 1 })],
    ["a field too few", line({ report: good.report })],
    ["no base64", line({ ...good, report: "?" })],
    ["an empty field", line({ ...good, healthCertificate: "" })],
    ["no report", line({ ...good, report: "AAAA" })],
    ["too many certificates between", line({ ...good, intermediates: Array.from({ length: 5 }, () => "AAAA") })],
    ["certificates that are none", line({ ...good, intermediates: [7] })],
    ["a token beside other things", line({ ...good, token: "a.b.c" })],
    ["a token that is no text", line({ token: 7 })],
    ["two answers", line(good) + line(good)],
    ["too much", "x".repeat(MAX_ENCLAVE_HOST_ANSWER_BYTES + 1)],
  ];

  for (const [name, text] of answers)
    test(`refuses ${name} as an answer`, async () => {
      await assert.rejects(createVsmProvider(await serveText(text)).attest(reportData), isUnavailable);
    });

  test("refuses sealed data that are too many, or have something beside them", async () => {
    const wrong = [{ data64: toBase64(new Uint8Array(64 * 1024 + 1)) }, { data64: "AAAA", more: 1 }, { data: "AAAA" }];
    for (const answer of wrong)
      await assert.rejects(createVsmProvider(await serveText(line(answer))).seal(reportData), isUnavailable);
  });

  test("does not wait for ever, nor for one who is not there or hangs up", async () => {
    const silent = await serve(() => undefined);
    await assert.rejects(askAt(silent, 20)("attest", reportData), isUnavailable);
    const short = await serve((_, socket) => void socket.end("{"));
    await assert.rejects(askAt(short)("attest", reportData), isUnavailable);
    await assert.rejects(askAt(join(folder, "nobody"))("attest", reportData), isUnavailable);
  });

  test("repeats nothing that an enclave host says", async () => {
    const path = await serveText(line({ error: "TOP SECRET" }));
    await assert.rejects(
      createVsmProvider(path).attest(reportData),
      (error: Error) => !error.message.includes("SECRET"),
    );
  });

  describe("where the host answers in a file", () => {
    /** A host that looks for requests and answers them by what `answer` makes, until the test has ended. */
    function answering(name: string, answer: (request: Request) => string | Uint8Array | undefined) {
      const file = join(folder, name);
      const requests: Request[] = [];
      const timer = setInterval(() => {
        if (!existsSync(`${file}.request`) || existsSync(file)) return;
        const request = JSON.parse(readFileSync(`${file}.request`, "utf8")) as Request;
        const content = answer(request);
        requests.push(request);
        if (content === undefined) return;
        writeFileSync(`${file}.new`, content);
        renameSync(`${file}.new`, file);
      }, 1);
      after(() => clearInterval(timer));
      return { file, requests };
    }
    const dataOf = ({ data64 }: Request): Bytes => new Uint8Array(Buffer.from(String(data64), "base64"));

    test("evidence is made for each request, and nothing stays behind", async () => {
      const { file, requests } = answering("answer.json", (request) => JSON.stringify(answerFor(dataOf(request))));
      writeFileSync(file, JSON.stringify(answerFor(new Uint8Array(64).fill(9))));
      const provider = createVsmFileProvider(file);
      assert.equal((await provider.attest(reportData)).endorsements.length, 1);
      assert.equal((await provider.attest(new Uint8Array(64))).endorsements.length, 1);
      assert.deepEqual(
        requests.map(({ op }) => op),
        ["attest", "attest"],
      );
      assert.deepEqual([existsSync(file), existsSync(`${file}.request`)], [false, false]);
      await assert.rejects(provider.attest(new Uint8Array(32)), isUnavailable);
    });

    test("an answer of before, of other data, of no form, too long or none is TeeUnavailable", async () => {
      const other = answering("other.json", () => JSON.stringify(answerFor(new Uint8Array(64).fill(9))));
      await assert.rejects(createVsmFileProvider(other.file).attest(reportData), { message: /for other data/ });
      for (const [name, content] of [
        ["no-json", "{"],
        ["refusal", '{"error":"no"}'],
        ["long", new Uint8Array(MAX_ENCLAVE_HOST_ANSWER_BYTES + 1)],
      ] as const)
        await assert.rejects(
          createVsmFileProvider(answering(name, () => content).file).attest(reportData),
          isUnavailable,
        );
      const silent = join(folder, "silent.json");
      writeFileSync(silent, JSON.stringify(answerFor(reportData)));
      const asked = createVsmFileProvider(silent, askInFile(silent, 200)).attest(reportData);
      await assert.rejects(asked, { ...isUnavailable, message: /no answer in/ });
      assert.equal(existsSync(`${silent}.request`), false);
      await assert.rejects(createVsmFileProvider(join(folder, "absent", "x")).attest(reportData), isUnavailable);
    });

    test("a setting names the file, and the provider is made by it", async () => {
      const { file } = answering("set.json", (request) => JSON.stringify(answerFor(dataOf(request))));
      const provider = createProvider("vsm", { name: "vsm", answerFile: file });
      assert.equal((await provider.attest(reportData)).tee, "vsm");
      assert.equal("seal" in provider, false);
    });
  });
});
