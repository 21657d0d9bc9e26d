import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  DAY_MS,
  issue,
  issueRevocationList,
  makeKey,
  NOW_MS,
  type TestCertificate,
} from "../../../test/support/issue-certificates.ts";
import { createCertificateVerifier, sha256 } from "../../enclave/manager/node-crypto.ts";
import { toHex, utf8Encode, type Bytes } from "../codec/bytes.ts";
import { ActorIndex, type ListedActor, MAX_PRESENTED_CERTIFICATES, MAX_REMEMBERED_ISSUERS } from "./actor-index.ts";
import type { VerifySignature } from "./algorithm.ts";

const verify = createCertificateVerifier();

function actor(id: string, certificates: readonly TestCertificate[], revocations: readonly Bytes[] = []): ListedActor {
  return { id, role: "member", certificates: certificates.map(({ der }) => der), revocations };
}

function find(index: ActorIndex, chain: readonly TestCertificate[], nowMs = NOW_MS): string {
  const found = index.identify(
    chain.map(({ der }) => der),
    nowMs,
  );
  return "problem" in found ? found.problem : found.actor;
}

const indexOf = (actors: readonly ListedActor[], check: VerifySignature = verify) =>
  new ActorIndex(actors, { sha256, verify: check });

describe("the index of actors", () => {
  const contoso = issue({ subject: "O=Contoso", ca: true });
  const fabrikam = issue({ subject: "O=Fabrikam", ca: true });
  const index = indexOf([actor("contoso", [contoso]), { ...actor("fabrikam", [fabrikam]), role: "participant" }]);

  test("finds an actor by its own certificate, by staff, and by staff under an intermediate CA", () => {
    const middle = issue({ ca: true, issuer: fabrikam });
    const leaf = issue({ issuer: middle });
    assert.equal(find(index, [contoso]), "contoso");
    assert.equal(find(index, [issue({ issuer: contoso })]), "contoso");
    assert.equal(find(index, [leaf]), "UnknownIssuer");
    assert.deepEqual(index.identify([leaf.der, middle.der], NOW_MS), {
      actor: "fabrikam",
      role: "participant",
      certificate: toHex(sha256(leaf.der)),
      untilMs: NOW_MS + 10 * DAY_MS,
    });
  });

  test("knows an actor by each of its certificates while its keys roll over", () => {
    const next = issue({ subject: "O=Contoso", ca: true, key: makeKey("P-384") });
    const both = indexOf([actor("contoso", [contoso, next])]);
    const [older, newer] = [issue({ issuer: contoso }), issue({ issuer: next, keyIds: false })];
    assert.deepEqual([find(both, [older]), find(both, [newer]), find(both, [next])], ["contoso", "contoso", "contoso"]);
    const after = indexOf([actor("contoso", [next])]);
    assert.deepEqual([find(after, [older]), find(after, [newer])], ["UnknownIssuer", "contoso"]);
  });

  test("tells actors of one CA name apart by the signature", () => {
    const [one, two] = [issue({ subject: "CN=CA", ca: true }), issue({ subject: "CN=CA", ca: true })];
    const namesakes = indexOf([actor("one", [one]), actor("two", [two])]);
    assert.equal(find(namesakes, [issue({ issuer: two, keyIds: false })]), "two");
    assert.equal(find(namesakes, [issue({ issuer: { ...one, key: makeKey() }, keyIds: false })]), "BadSignature");
  });

  test("holds what an actor has revoked against it alone", () => {
    const leaf = issue({ issuer: contoso });
    const list = issueRevocationList({ issuer: contoso, revoked: [leaf] });
    assert.equal(find(indexOf([actor("contoso", [contoso], [list])]), [leaf]), "Revoked");
    assert.equal(
      find(indexOf([actor("contoso", [contoso]), actor("fabrikam", [fabrikam], [list])]), [leaf]),
      "contoso",
    );
    assert.equal(find(indexOf([actor("contoso", [contoso], [utf8Encode("no list")])]), [leaf]), "RevocationExpired");
  });

  test("looks at the signature of a revocation list once", () => {
    const list = issueRevocationList({ issuer: contoso, revoked: [issue({ issuer: contoso })] });
    let signatures = 0;
    const counted = indexOf([actor("contoso", [contoso], [list])], (...request) => {
      signatures++;
      return verify(...request);
    });
    for (let at = 0; at < 5; at++) assert.equal(find(counted, [issue({ issuer: contoso })]), "contoso");
    assert.equal(signatures, 6);
  });

  test("remembers the verdicts of few issuers on a revocation list, whatever keys an actor makes", () => {
    const list = issueRevocationList({ issuer: contoso, revoked: [] });
    let signatures = 0;
    const counted = indexOf([actor("contoso", [contoso], [list])], (...request) => {
      signatures++;
      return verify(...request);
    });
    const signaturesOf = (chain: readonly TestCertificate[]): number => {
      signatures = 0;
      find(counted, chain);
      return signatures;
    };
    const chains = Array.from({ length: MAX_REMEMBERED_ISSUERS + 1 }, () => {
      const middle = issue({ subject: "O=Contoso", ca: true, issuer: contoso });
      return [issue({ issuer: middle }), middle];
    });
    const first = chains[0] as readonly TestCertificate[];
    const [fresh, remembered] = [signaturesOf(first), signaturesOf(first)];
    assert.ok(remembered < fresh, `${remembered} < ${fresh}`);
    for (const chain of chains.slice(1)) signaturesOf(chain);
    assert.ok(signaturesOf(first) > remembered);
  });

  test("names the subject that has the problem, and nothing of what it cannot read", () => {
    const leaf = issue({ subject: "CN=Ann", issuer: contoso, untilMs: NOW_MS - 1000 });
    assert.deepEqual(index.identify([leaf.der], NOW_MS), { problem: "Expired", subject: "CN=Ann" });
    const malformed = { problem: "Malformed", subject: "" };
    assert.deepEqual(index.identify([], NOW_MS), malformed);
    assert.deepEqual(index.identify([utf8Encode("no certificate")], NOW_MS), malformed);
    assert.deepEqual(index.identify([contoso.der, utf8Encode("no certificate")], NOW_MS), malformed);
    const many = Array.from({ length: MAX_PRESENTED_CERTIFICATES + 1 }, () => contoso.der);
    assert.deepEqual(index.identify(many, NOW_MS), malformed);
  });

  test("asks for one signature among a thousand actors", (context) => {
    const key = makeKey();
    const authorities = Array.from({ length: 1000 }, (_, at) => issue({ subject: `O=Org ${at}`, ca: true, key }));
    const actors = authorities.map((authority, at) => actor(`actor${at}`, [authority]));
    let signatures = 0;
    const started = performance.now();
    const large = indexOf(actors, (...request) => {
      signatures++;
      return verify(...request);
    });
    const built = performance.now();
    const leaves = authorities.slice(500, 600).map((issuer) => issue({ issuer, key }));
    const issued = performance.now();
    for (const [at, leaf] of leaves.entries()) assert.equal(find(large, [leaf]), `actor${500 + at}`);
    assert.equal(signatures, leaves.length);
    const each = ((performance.now() - issued) / leaves.length).toFixed(2);
    context.diagnostic(`measured: 1000 actors indexed in ${(built - started).toFixed(0)} ms, a caller in ${each} ms`);
  });
});
