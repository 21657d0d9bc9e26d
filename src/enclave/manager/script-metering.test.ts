import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { METER_EXPORTS, meterModule } from "./script-metering.ts";
import { webAssembly, type WasmGlobal } from "./web-assembly.ts";

const I32 = 0x7f;
const BOUNDS = { stackBytes: 1000, depthBytes: 100_000 };

/** A module with a stack pointer (5000), a memory of one page, and one function `f(i32) -> i32` with this code. */
function moduleOf(code: readonly number[], locals: readonly number[] = [0]): Uint8Array {
  const body = [...locals, ...code, 0x0b];
  const section = (id: number, content: readonly number[]) => [id, content.length, ...content];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 1, I32, 1, I32]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(6, [1, I32, 1, 0x41, 0x88, 0x27, 0x0b]),
    ...section(7, [1, 1, 0x66, 0, 0]),
    ...section(10, [1, body.length, ...body]),
  ]);
}

async function instantiate(code: readonly number[], locals?: readonly number[]) {
  const instance = await webAssembly.instantiate(
    await webAssembly.compile(meterModule(moduleOf(code, locals), BOUNDS)),
    {},
  );
  const f = instance.exports["f"] as (parameter: number) => number;
  const global = (name: string) => instance.exports[name] as WasmGlobal;
  const fuel = global(METER_EXPORTS.fuel);
  const depth = global(METER_EXPORTS.depth);
  const stack = global(METER_EXPORTS.stack);
  /** Runs it with so much fuel; what it returned (undefined: a trap), and the fuel it took. */
  const run = (parameter: number, given = 1_000_000) => {
    fuel.value = given;
    depth.value = 0;
    try {
      return { value: f(parameter), fuel: given - fuel.value, depth: depth.value };
    } catch (error) {
      assert.ok(error instanceof webAssembly.RuntimeError);
      return { value: undefined, fuel: given - fuel.value, depth: depth.value };
    }
  };
  return { run, stack };
}

const GET = [0x20, 0];
/** f(n) = n === 0 ? 0 : f(n - 1) + 1 */
const RECURSION = [...GET, 0x45, 0x04, I32, 0x41, 0, 0x05, ...GET, 0x41, 1, 0x6b, 0x10, 0, 0x41, 1, 0x6a, 0x0b];
/** Counts the parameter down to 0 in a loop. */
const COUNTDOWN = [0x03, 0x40, ...GET, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, ...GET];

describe("a metered module", () => {
  test("takes one unit of fuel for a call and for each turn of a loop, and does what it did", async () => {
    const { run } = await instantiate(COUNTDOWN);
    assert.deepEqual(run(1), { value: 0, fuel: 2, depth: 0 });
    assert.deepEqual(run(1000), { value: 0, fuel: 1001, depth: 0 });
  });

  test("stops at the unit of fuel it does not have", async () => {
    const { run } = await instantiate(COUNTDOWN);
    assert.equal(run(1000, 1001).value, 0);
    assert.equal(run(1000, 1000).value, undefined);
    const endless = await instantiate([0x03, 0x40, 0x0c, 0, 0x0b, 0x00]);
    assert.deepEqual([endless.run(0).value, endless.run(0).fuel], [undefined, 1_000_001]);
  });

  test("stops calls that are nested too deeply, and gives frames back", async () => {
    const { run } = await instantiate(RECURSION);
    assert.deepEqual(run(100), { value: 100, fuel: 101, depth: 0 });
    const deep = run(100_000);
    assert.equal(deep.value, undefined);
    assert.ok(deep.depth > BOUNDS.depthBytes && deep.fuel < 1000);
    assert.equal(run(100).value, 100);
  });

  test("gives the frame back on every way out: return at any nesting, and a branch out of the body", async () => {
    const early = [0x02, 0x40, 0x02, 0x40, ...GET, 0x04, 0x40, 0x41, 7, 0x0f, 0x0b, 0x0b, 0x0b, 0x41, 8];
    const { run } = await instantiate(early);
    assert.deepEqual(
      [run(1), run(0)].map(({ value, depth }) => [value, depth]),
      [
        [7, 0],
        [8, 0],
      ],
    );
    const branch = [0x02, 0x40, ...GET, 0x04, 0x40, 0x41, 9, 0x0c, 2, 0x0b, 0x0b, 0x41, 10];
    const out = await instantiate(branch);
    assert.deepEqual(
      [out.run(1), out.run(0)].map(({ value, depth }) => [value, depth]),
      [
        [9, 0],
        [10, 0],
      ],
    );
    // A table of branches out of two blocks, one of which returns.
    const chosen = await instantiate([
      0x02,
      0x40,
      0x02,
      0x40,
      ...GET,
      0x0e,
      1,
      0,
      1,
      0x0b,
      0x41,
      5,
      0x0f,
      0x0b,
      0x41,
      6,
    ]);
    assert.deepEqual(
      [chosen.run(0), chosen.run(3)].map(({ value, depth }) => [value, depth]),
      [
        [5, 0],
        [6, 0],
      ],
    );
  });

  test("pays for bulk operations on memory by their length", async () => {
    // memory.fill(0, 1, n), then n; with locals of other types before the one that is added
    const fill = [0x41, 0, 0x41, 1, ...GET, 0xfc, 0x0b, 0, ...GET];
    const { run } = await instantiate(fill, [2, 1, 0x7c, 2, 0x7e]);
    assert.deepEqual(run(0), { value: 0, fuel: 1, depth: 0 });
    assert.deepEqual(run(65_536), { value: 65_536, fuel: 1 + 65_536 / 16, depth: 0 });
    assert.equal(run(65_536, 4096).value, undefined);
    // A length that no memory has traps, too, without fuel running backwards.
    assert.ok(run(-1, 1_000_000).fuel > 0);
  });

  test("stops when its stack pointer is below the floor", async () => {
    const { run, stack } = await instantiate(GET);
    stack.value = 5000 - BOUNDS.stackBytes;
    assert.equal(run(3).value, 3);
    stack.value -= 1;
    assert.equal(run(3).value, undefined);
  });

  test("is refused when it has what is not understood", () => {
    // a tail call, a vector, an unknown operation on memory, an exception
    for (const code of [
      [0x12, 0],
      [0xfd, 12],
      [0xfc, 40],
      [0x08, 0],
    ])
      assert.throws(() => meterModule(moduleOf(code), BOUNDS), /unknown instruction/);
    const whole = moduleOf(GET);
    for (let length = 9; length < whole.length; length += 1)
      assert.throws(() => {
        const metered = meterModule(whole.subarray(0, length), BOUNDS);
        // A cut at the end of a section leaves a module that is understood, but none that is complete.
        assert.ok(metered.length < meterModule(whole, BOUNDS).length);
        throw new TypeError("shorter");
      });
  });
});
