/** A short search of every model: nothing breaks, and the search reaches what it is for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { exposePrivates } from "./expose-privates.ts";

exposePrivates();
const { MODELS } = await import("./model.ts");
const { search } = await import("./search.ts");

/** States of each model; `npm run explore` sees more. */
const STATES = 10_000;

for (const model of MODELS) {
  test(`no state of the model ${model.name} breaks a property`, () => {
    const { states, violation, deepest, coreSteps } = search(model, STATES);
    assert.equal(violation, undefined, violation && `${violation.message}\n${violation.trace.join("\n")}`);
    assert.ok(
      states === STATES && deepest > 20 && coreSteps > 1000,
      `${states} states, ${deepest} deep, ${coreSteps} steps`,
    );
  });
}

test("the same seed sees the same states", () => {
  const [model] = MODELS;
  assert.ok(model !== undefined);
  assert.deepEqual(search(model, STATES, 7), search(model, STATES, 7));
});
