/**
 * The two ways in: the gateway for wallets, which passes Ethereum's requests of this machine only, and the nodes
 * themselves, which speak TLS 1.3 with certificates on both sides. curl and openssl are the judges.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RpcClient } from "./lib/json-rpc.ts";
import { type Finished, present, runProcess } from "./lib/processes.ts";
import { ETHEREUM_PATH, type Sandbox, startSandbox, temporaryFolder } from "./lib/sandbox.ts";

const CHAIN_ID = '{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}';
const ANSWER = { jsonrpc: "2.0", id: 1, result: "0x7a69" };

let sandbox: Sandbox;
let scratch: string;

before(async () => {
  scratch = await temporaryFolder();
  sandbox = await startSandbox();
});
after(async () => {
  await sandbox?.stop();
  await rm(scratch, { recursive: true, force: true });
});

const openssl = (arguments_: readonly string[], input = ""): Promise<Finished> =>
  runProcess("openssl", arguments_, { input });

describe("the gateway for wallets", () => {
  let gateway: RpcClient;
  let host: string;
  before(() => {
    gateway = sandbox.gateway(0);
    host = new URL(present(sandbox.endpoints.nodes[0]).ethRpc).host;
  });
  const post = (headers: Readonly<Record<string, string>>, body = CHAIN_ID) => gateway.http({ headers, body });

  test("answers programs, and pages of this machine", async () => {
    assert.deepEqual(JSON.parse((await post({})).body), ANSWER);
    for (const origin of [
      "http://localhost:3000",
      "http://127.0.0.1",
      "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn",
    ]) {
      const { status, headers, body } = await post({ origin });
      assert.deepEqual([status, headers["access-control-allow-origin"], JSON.parse(body)], [200, origin, ANSWER]);
    }
  });

  test("refuses pages of other sites", async () => {
    for (const origin of ["https://example.com", "null", "http://localhost.example.com"]) {
      const { status, headers } = await post({ origin });
      assert.deepEqual([status, headers["access-control-allow-origin"]], [403, undefined]);
    }
  });

  test("refuses names other than its own, against DNS rebinding", async () => {
    for (const name of ["example.com", `example.com:${host.split(":")[1]}`, "127.0.0.1:1"]) {
      assert.equal((await post({ host: name })).status, 403);
    }
    assert.equal((await post({ host: host.replace("127.0.0.1", "localhost") })).status, 200);
  });

  test("answers the preflight of an allowed page", async () => {
    const preflight = { "access-control-request-method": "POST", "access-control-request-headers": "content-type" };
    const origin = "http://localhost:3000";
    const { status, headers } = await gateway.http({ method: "OPTIONS", headers: { origin, ...preflight } });
    assert.equal(status, 204);
    assert.equal(headers["access-control-allow-origin"], origin);
    assert.match(headers["access-control-allow-methods"] ?? "", /POST/);
    assert.match(headers["access-control-allow-headers"] ?? "", /content-type/i);
    const foreign = await gateway.http({ method: "OPTIONS", headers: { origin: "https://example.com", ...preflight } });
    assert.equal(foreign.status, 403);
  });

  test("passes nothing but POST, and nothing but Ethereum's methods", async () => {
    for (const method of ["PUT", "DELETE", "PATCH"]) assert.equal((await gateway.http({ method })).status, 405);
    const greeting = await gateway.http({ method: "GET" });
    assert.deepEqual([greeting.status, greeting.headers["content-type"]], [200, "text/plain; charset=utf-8"]);
    const { error } = await gateway.ask("node_state");
    assert.equal(error?.code, -32601);
    const answers = await gateway.batch([
      ["eth_chainId", []],
      ["admin_peers", []],
    ]);
    assert.deepEqual(
      answers.map(({ result, error: fault }) => result ?? fault?.code),
      ["0x7a69", -32601],
    );
    for (const path of ["/node/network", "/node/constitution"]) {
      assert.equal((await gateway.http({ method: "GET", path })).status, 404);
    }
  });
});

describe("a validating node", () => {
  const url = (path = ETHEREUM_PATH): string => new URL(path, present(sandbox.endpoints.nodes[1]).rpc).href;

  async function curl(...arguments_: readonly string[]): Promise<readonly [status: string, body: string]> {
    const { code, stdout, stderr } = await runProcess("curl", [
      ...["-sS", "--cacert", sandbox.endpoints.ca, "-w", "\n%{http_code}", "-H", "content-type: application/json"],
      ...arguments_,
    ]);
    assert.equal(code, 0, stderr);
    const at = stdout.lastIndexOf("\n");
    return [stdout.slice(at + 1), stdout.slice(0, at)];
  }
  const member = (): readonly string[] => {
    const { cert, key } = present(sandbox.endpoints.members[2]);
    return ["--cert", cert, "--key", key];
  };

  test("answers curl with a member's certificate", async () => {
    const [status, body] = await curl(...member(), "-d", CHAIN_ID, url());
    assert.deepEqual([status, JSON.parse(body)], ["200", ANSWER]);
    const [, network] = await curl(...member(), url("/node/network"));
    assert.equal(JSON.parse(network).nodes.length, 3);
  });

  test("refuses clients without a certificate, and with one nobody knows", async () => {
    const [none, body] = await curl("-d", CHAIN_ID, url());
    assert.equal(none, "401");
    assert.equal(JSON.parse(body).error.code, "AuthenticationRequired");
    const [key, cert] = [join(scratch, "stranger.key"), join(scratch, "stranger.pem")];
    const made = await openssl([
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...["-subj", "/CN=member0", "-keyout", key, "-out", cert],
    ]);
    assert.equal(made.code, 0, made.stderr);
    const [unknown, answer] = await curl("--cert", cert, "--key", key, "-d", CHAIN_ID, url());
    assert.equal(unknown, "401");
    assert.equal(JSON.parse(answer).error.code, "CertificateUnknown");
    assert.doesNotMatch(answer, /\bat .*\.js/);
  });

  test("answers unknown paths and methods with codes", async () => {
    assert.equal((await curl(...member(), url("/node/nothing")))[0], "404");
    assert.equal((await curl(...member(), "-d", "{}", url("/nothing")))[0], "404");
    assert.equal((await curl(...member(), "-X", "DELETE", url("/node/network")))[0], "405");
  });

  test("speaks TLS 1.3 only", async () => {
    const address = new URL(url()).host;
    const connect = (version: string) =>
      openssl(["s_client", "-connect", address, "-CAfile", sandbox.endpoints.ca, "-verify_return_error", version]);
    const newest = await connect("-tls1_3");
    assert.match(newest.stdout, /Protocol\s*: TLSv1\.3|New, TLSv1\.3/);
    assert.match(newest.stdout, /Verify return code: 0 \(ok\)/);
    for (const older of ["-tls1_2", "-tls1_1"]) {
      const { code, stdout, stderr } = await connect(older);
      assert.notEqual(code, 0);
      assert.match(stdout + stderr, /protocol version|no protocols available|unsupported protocol|wrong version/i);
    }
  });

  test("shows a certificate that the service certificate endorses", async () => {
    const { stdout } = await openssl(["s_client", "-connect", new URL(url()).host, "-showcerts"]);
    const shown = present(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout))[0];
    const file = join(scratch, "node.pem");
    await writeFile(file, shown);
    const verified = await openssl([
      ...["verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "127.0.0.1"],
      ...["-CAfile", sandbox.endpoints.ca, file],
    ]);
    assert.equal(verified.code, 0, verified.stderr);
  });
});
