/** The enumeration of crashes: that it names every call, both sides of it, and that what it plays holds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { countCalls, crashAt, crashPlaces } from "./crash-points.ts";

/** One place in so many is played here; `npm run sim -- --crash-points` plays all. */
const EVERY = 211;

test("a node may end before and after any call through a port", async () => {
  const lives = await countCalls({ seed: 2 });
  const total = lives.reduce((sum, { calls }) => sum + calls, 0);
  const all = crashPlaces(lives);
  assert.equal(new Set(all.map((place) => JSON.stringify(place))).size, total * 2);
  const places = crashPlaces(lives, EVERY, 7);
  assert.deepEqual([...new Set(places.map(({ phase }) => phase))].sort(), ["after", "before"]);
  assert.equal(new Set(places.map(({ node }) => node)).size, 3);
  for (const place of places) assert.ok((await crashAt({ seed: 2 }, place)).transactions > 0);
});
