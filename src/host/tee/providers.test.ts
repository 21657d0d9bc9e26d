import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, describe, test } from "node:test";
import { certificatesPem } from "../../../test/support/issue-certificates.ts";
import { makeSnpPki } from "../../../test/support/snp-pki.ts";
import { readCertificates } from "../../attestation/snp/certificates.ts";
import { fetchedCertificates } from "./providers.ts";

describe("the service for certificates of a chip", () => {
  const pki = makeSnpPki();
  const vcek = pki.vek().der;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    if (request.url?.endsWith("/cert_chain")) response.end(certificatesPem([pki.ask.der, pki.ark.der]));
    else if (request.url?.endsWith("/crl")) response.writeHead(404).end();
    else response.end(vcek);
  });
  after(() => server.close());

  test("is asked where a setting says that it is, and not at all where there is to be none", async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const chipServiceUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const certificates = fetchedCertificates({ name: "snp", chipService: "amd", chipServiceUrl }, undefined);
    const [endorsement] = (await certificates?.(pki.report())) ?? [];
    assert.match(asked[0] ?? "", /^\/vcek\/v1\/Milan\//);
    assert.deepEqual(readCertificates(endorsement?.content ?? assert.fail())[0], vcek);
    assert.equal(fetchedCertificates({ name: "snp", chipService: "none", chipServiceUrl }, undefined), undefined);
  });
});
