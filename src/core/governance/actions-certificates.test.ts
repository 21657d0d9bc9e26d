import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { consortium, contextOf } from "../../../test/support/governed-actions.ts";
import { DAY_MS, issue, issueRevocationList, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { createGovernanceCrypto } from "../../enclave/manager/node-crypto.ts";
import type { Bytes } from "../codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { applyActions, type Action } from "./actions.ts";
import type { Constitution } from "./constitution.ts";

const CRYPTO = createGovernanceCrypto();
const ID = "umbrella";
const [FIRST, SECOND] = [issue({ subject: "CN=first", ca: true }), issue({ subject: "CN=second", ca: true })];

/** A participant with two CA certificates. */
function listed(revocations: readonly Bytes[] = []): Constitution {
  const before = consortium();
  const certificates = [FIRST.der, SECOND.der];
  const actors = before.actors.map((actor) => (actor.id === ID ? { ...actor, certificates, revocations } : actor));
  return { ...before, actors };
}

const set = (...revocations: readonly Bytes[]): Action => ({
  name: "set_revocations",
  args: { actor: ID, revocations },
});
const listOf = (issuer: typeof FIRST, untilMs: number): Bytes => issueRevocationList({ issuer, untilMs });

function reasonOf(before: Constitution, nowMs: number, ...actions: readonly Action[]): unknown {
  try {
    applyActions(before, actions, contextOf({ nowMs, crypto: CRYPTO }));
    return undefined;
  } catch (error) {
    assert.ok(error instanceof CocoError);
    return error.data["reason"];
  }
}

describe("lists of revoked certificates", () => {
  const current = listOf(FIRST, NOW_MS + DAY_MS);
  const past = listOf(FIRST, NOW_MS - 1);

  test("are taken while one of each CA is current: at any other time what it issued would be refused", () => {
    assert.equal(reasonOf(listed(), NOW_MS, set(current)), undefined);
    assert.equal(reasonOf(listed(), NOW_MS, set(past)), "RevocationsNotCurrent");
    assert.equal(reasonOf(listed(), NOW_MS + DAY_MS, set(current)), undefined);
    assert.equal(reasonOf(listed(), NOW_MS + DAY_MS + 1, set(current)), "RevocationsNotCurrent");
    assert.equal(reasonOf(listed(), NOW_MS - 2 * DAY_MS, set(current)), "RevocationsNotCurrent");
    // What an older list revoked stays revoked beside a current one of the same CA, and of no other.
    assert.equal(reasonOf(listed(), NOW_MS, set(past, current)), undefined);
    assert.equal(reasonOf(listed(), NOW_MS, set(past, listOf(SECOND, NOW_MS + DAY_MS))), "RevocationsNotCurrent");
  });

  test("come current with a new actor", () => {
    const certificates = [issue({ subject: "CN=third", ca: true })];
    const joining = (untilMs: number): Action => ({
      name: "add_participant",
      args: {
        ...{ id: "hooli", name: "Hooli", certificates: certificates.map(({ der }) => der) },
        revocations: certificates.map((issuer) => listOf(issuer, untilMs)),
      },
    });
    assert.equal(reasonOf(listed(), NOW_MS, joining(NOW_MS + DAY_MS)), undefined);
    assert.equal(reasonOf(listed(), NOW_MS, joining(NOW_MS - 1)), "RevocationsNotCurrent");
  });

  test("that have become old stand in the way of no other change of their actor", () => {
    const restrict: Action = {
      name: "restrict_participant",
      args: { actor: ID, restriction: { type: "banned" } },
    };
    const certificate = issue({ subject: "CN=fourth" }).der;
    const add: Action = { name: "add_certificate", args: { actor: ID, certificate } };
    assert.equal(reasonOf(listed([past]), NOW_MS, restrict, add), undefined);
  });
});
