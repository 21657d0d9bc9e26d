import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CocoError } from "../../errors.ts";
import { policiesFor } from "./policies.ts";

describe("names of allowances", () => {
  test("an unknown one is answered with all there are, each once", () => {
    assert.throws(
      () => policiesFor("snp", undefined, ["nope"], undefined),
      (error: unknown) => {
        assert.ok(error instanceof CocoError && error.code === "WrongUsage");
        const names = error.message.slice(error.message.indexOf("some of ") + "some of ".length).split(", ");
        assert.ok(names.includes("debug") && names.includes("shared-machine"), error.message);
        assert.deepEqual(names, [...new Set(names)]);
        return true;
      },
    );
  });
});
