import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  level,
  makeEvidence,
  partLevel,
  QUOTE_FORMS,
  SEAM_SIGNER,
  SGX_TCB,
  type Document,
  type PlatformChanges,
} from "../../../test/support/intel-platform.ts";
import { TCB_STATUSES, type TcbStatus } from "../../core/governance/policy-dcap.ts";
import { reasonsOf } from "../checks.ts";
import { failedNames, refusals, refusedInEachForm, TDX_FORMS, verified } from "./test-refusals.ts";

const LOW = new Array<number>(16).fill(0);
const LEVEL_STATUSES = TCB_STATUSES.filter((status) => !status.startsWith("TDRelaunch"));

/** TCB info with these levels, on TDX with components of the module's loader only. */
function levels(...list: readonly Document[]): PlatformChanges {
  return { tcbInfo: (info) => Object.assign(info, { tcbLevels: list }) };
}

function statusOf(changes: PlatformChanges): TcbStatus | undefined {
  return verified(makeEvidence(changes)).claims.tcbStatus;
}

const MODULE = { mrsigner: SEAM_SIGNER, attributes: "0000000000000000", attributesMask: "FFFFFFFFFFFFFFFF" };

function modules(...list: readonly Document[]): Document {
  return { tdxModuleIdentities: list.map((each) => ({ ...MODULE, ...each })) };
}

describe("R5: levels of a platform", () => {
  for (const form of QUOTE_FORMS) {
    const tdx = form.startsWith("tdx") ? [0, 0, 0] : undefined;
    test(`${form}: each status is told, and accepted only where the policy lists it`, () => {
      for (const status of LEVEL_STATUSES) {
        const changes = { form, ...levels(level(status, LOW, 0, tdx)) };
        assert.equal(statusOf(changes), status);
        const refused = ["TcbStatusNotAllowed"];
        assert.deepEqual(refusals(changes), status === "UpToDate" ? [] : refused, status);
        assert.deepEqual(refusals(changes, { statuses: [status] }), status === "Revoked" ? refused : [], status);
        assert.deepEqual(refusals(changes, { statuses: [] }), refused, status);
      }
    });

    test(`${form}: the first level that every component reaches counts`, () => {
      const first = level("UpToDate", SGX_TCB, 13, tdx);
      const second = level("OutOfDate", LOW, 0, tdx);
      assert.equal(statusOf({ form, ...levels(first, second) }), "UpToDate");
      for (const [at, svn] of SGX_TCB.entries()) {
        if (svn === 0) continue;
        const components = SGX_TCB.map((each, index) => (index === at ? each - 1 : each));
        assert.equal(statusOf({ form, ...levels(first, second), platform: { components } }), "OutOfDate", `${at}`);
      }
      assert.equal(statusOf({ form, ...levels(first, second), platform: { pceSvn: 12 } }), "OutOfDate");
    });

    test(`${form}: none is low enough`, () => {
      const changes = { form, ...levels(level("UpToDate", [...SGX_TCB.slice(0, 15), 1], 13, tdx)) };
      const { claims, checks } = verified(makeEvidence(changes));
      assert.equal(claims.tcbStatus, undefined);
      assert.deepEqual(failedNames(checks), ["tcb level"]);
      assert.deepEqual(refusals(changes, { statuses: [...TCB_STATUSES] }), ["TcbStatusNotAllowed"]);
    });

    test(`${form}: an old or revoked quoting enclave makes the platform one`, () => {
      const old: Readonly<Record<string, string>> = {
        UpToDate: "OutOfDate",
        SWHardeningNeeded: "OutOfDate",
        ConfigurationNeeded: "OutOfDateConfigurationNeeded",
        ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded",
      };
      const identity = (status: string) => (document: Document) =>
        Object.assign(document, { tcbLevels: [partLevel(status, 1, ["INTEL-SA-00001"])] });
      for (const status of LEVEL_STATUSES) {
        const changes = { form, ...levels(level(status, LOW, 0, tdx, ["INTEL-SA-00002"])) };
        assert.equal(statusOf({ ...changes, identity: identity("OutOfDate") }), old[status] ?? status);
        assert.equal(statusOf({ ...changes, identity: identity("Revoked") }), "Revoked");
      }
      const configured: Readonly<Record<string, string>> = {
        UpToDate: "ConfigurationNeeded",
        SWHardeningNeeded: "ConfigurationAndSWHardeningNeeded",
        OutOfDate: "OutOfDateConfigurationNeeded",
      };
      for (const status of LEVEL_STATUSES) {
        const changes = { form, ...levels(level(status, LOW, 0, tdx)), identity: identity("ConfigurationNeeded") };
        assert.equal(statusOf(changes), configured[status] ?? status);
      }
      const toConfigure = {
        form,
        ...levels(level("UpToDate", LOW, 0, tdx)),
        identity: identity("ConfigurationNeeded"),
      };
      assert.deepEqual(refusals(toConfigure), ["TcbStatusNotAllowed"]);
      assert.deepEqual(refusals(toConfigure, { statuses: ["ConfigurationNeeded"] }), []);
      const { claims } = verified(
        makeEvidence({
          form,
          ...levels(level("UpToDate", LOW, 0, tdx, ["INTEL-SA-00002"])),
          identity: identity("OutOfDate"),
        }),
      );
      assert.deepEqual(claims.advisories, ["INTEL-SA-00001", "INTEL-SA-00002"]);
      assert.equal(claims.platformTcbStatus, "UpToDate");
      assert.equal(claims.quotingEnclaveStatus, "OutOfDate");
    });
  }

  test("an advisory that applies twice is told once; the policy tolerates those it lists", () => {
    const changes: PlatformChanges = {
      ...levels(level("UpToDate", LOW, 0, [0], ["INTEL-SA-00615", "INTEL-SA-00289"])),
      identity: (document) => Object.assign(document, { tcbLevels: [partLevel("UpToDate", 1, ["INTEL-SA-00615"])] }),
    };
    assert.deepEqual(verified(makeEvidence(changes)).claims.advisories, ["INTEL-SA-00289", "INTEL-SA-00615"]);
    assert.deepEqual(refusals(changes), []);
    assert.deepEqual(refusals(changes, { advisories: ["INTEL-SA-00615", "INTEL-SA-00289"] }), []);
    assert.deepEqual(refusals(changes, { advisories: ["INTEL-SA-00615"] }), ["AdvisoryNotAllowed"]);
    assert.deepEqual(refusals(changes, { advisories: [] }), ["AdvisoryNotAllowed"]);
  });
});

describe("TDX modules", () => {
  /** The module on which the guest was started, and which is in use still. */
  const body = (...svn: readonly number[]): PlatformChanges => ({
    body: (bytes) => {
      bytes.set(svn);
      if (bytes.length > 584) bytes.set(svn, 584);
    },
  });

  for (const form of TDX_FORMS) {
    test(`${form}: a module with an identity is judged by it, not by the first two components`, () => {
      const two = levels(level("UpToDate", LOW, 0, [9, 9, 7]), level("OutOfDate", LOW, 0, [0, 0, 5]));
      assert.equal(statusOf({ form, ...two, ...body(4, 1, 7) }), "UpToDate");
      assert.equal(statusOf({ form, ...two, ...body(4, 1, 6) }), "OutOfDate");
    });

    test(`${form}: a module without one is judged by all components`, () => {
      const two = levels(level("UpToDate", LOW, 0, [5, 0, 7]), level("OutOfDate", LOW, 0, [3, 0, 5]));
      assert.equal(statusOf({ form, ...two, ...body(5, 0, 7) }), "UpToDate");
      assert.equal(statusOf({ form, ...two, ...body(4, 0, 7) }), "OutOfDate");
      assert.equal(verified(makeEvidence({ form, ...two, ...body(4, 0, 7) })).claims.module, undefined);
      assert.equal(statusOf({ form, ...two, ...body(2, 0, 7) }), undefined);
    });

    test(`${form}: an old, revoked or unknown module makes the platform one, or none`, () => {
      const info = (...parts: Document[]): PlatformChanges => ({
        tcbInfo: (document) => void Object.assign(document, ...parts),
      });
      const withModule = (status: string): PlatformChanges =>
        info(modules({ id: "TDX_01", tcbLevels: [partLevel("UpToDate", 9), partLevel(status, 1)] }));
      assert.equal(statusOf({ form, ...withModule("OutOfDate"), ...body(1, 1, 7) }), "OutOfDate");
      assert.equal(statusOf({ form, ...withModule("Revoked"), ...body(1, 1, 7) }), "Revoked");
      assert.equal(statusOf({ form, ...withModule("UpToDate"), ...body(0, 1, 7) }), undefined);
      assert.equal(statusOf({ form, ...body(3, 3, 7) }), "UpToDate");
      const unknown = verified(makeEvidence({ form, ...body(6, 2, 7) }));
      assert.deepEqual(reasonsOf(unknown.checks), ["ModuleInvalid", "TcbStatusNotAllowed"]);
    });
  }

  refusedInEachForm(
    "another signer of the module",
    { body: (bytes) => bytes.set([1], 64) },
    ["ModuleInvalid"],
    TDX_FORMS,
  );
  refusedInEachForm(
    "other attributes of the module",
    { body: (bytes) => bytes.set([1], 112) },
    ["ModuleInvalid"],
    TDX_FORMS,
  );
  refusedInEachForm(
    "attributes of the module that its identity lets pass",
    {
      body: (bytes) => bytes.set([1], 112),
      tcbInfo: (info) =>
        void Object.assign(
          info,
          modules({ id: "TDX_01", attributesMask: "00".repeat(8), tcbLevels: [partLevel("UpToDate", 1)] }),
        ),
    },
    ["ModuleInvalid"],
    TDX_FORMS,
  );
  refusedInEachForm(
    "a module without identity that is not the one of the TCB info",
    {
      body: (bytes) => {
        bytes.set([6, 0, 7]);
        bytes[64] = 1;
      },
    },
    ["ModuleInvalid"],
    TDX_FORMS,
  );
});

describe("a guest that outlived an update of its module", () => {
  /** Started on `then`, and the module in use is `now`. */
  function outlived(then: readonly number[], now: readonly number[], ...list: readonly Document[]): PlatformChanges {
    return {
      form: "tdx-5-15",
      body: (bytes) => {
        bytes.set(then);
        bytes.set(now, 584);
      },
      ...(list.length > 0 ? levels(...list) : {}),
    };
  }

  test("is advised to start again where nothing else is old", () => {
    assert.equal(statusOf(outlived([2, 1, 7], [4, 1, 7])), "TDRelaunchAdvised");
    assert.equal(statusOf(outlived([2, 1, 7], [3, 3, 7])), "TDRelaunchAdvised");
    assert.equal(statusOf(outlived([2, 1, 7], [5, 0, 7])), "TDRelaunchAdvised");
    assert.equal(
      statusOf(outlived([2, 1, 7], [4, 1, 7], level("SWHardeningNeeded", LOW, 0, [5, 0, 7]))),
      "TDRelaunchAdvised",
    );
    const changes = outlived([2, 1, 7], [4, 1, 7]);
    assert.deepEqual(refusals(changes), ["TcbStatusNotAllowed"]);
    assert.deepEqual(refusals(changes, { statuses: ["TDRelaunchAdvised"] }), []);
  });

  test("may need configuration, too", () => {
    for (const status of ["ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"])
      assert.equal(
        statusOf(outlived([2, 1, 7], [4, 1, 7], level(status, LOW, 0, [5, 0, 7]))),
        "TDRelaunchAdvisedConfigurationNeeded",
      );
  });

  test("is out of date where the module in use is, or another part", () => {
    assert.equal(statusOf(outlived([2, 1, 7], [3, 1, 7])), "OutOfDate");
    assert.equal(statusOf(outlived([2, 1, 7], [4, 1, 6])), "OutOfDate");
    assert.equal(statusOf(outlived([2, 1, 7], [4, 0, 7])), "OutOfDate");
    assert.equal(statusOf({ ...outlived([2, 1, 7], [4, 1, 7]), platform: { pceSvn: 12 } }), "OutOfDate");
    assert.equal(
      statusOf({ ...outlived([2, 1, 7], [4, 1, 7]), quotingReport: (bytes) => bytes.set([6], 258) }),
      "OutOfDate",
    );
    const old = level("OutOfDate", LOW, 0, [0]);
    assert.equal(statusOf(outlived([4, 1, 6], [4, 1, 7], level("UpToDate", LOW, 0, [5, 0, 7]), old)), "OutOfDate");
    assert.equal(
      statusOf({ ...outlived([2, 1, 7], []), form: "tdx-5-10", body: (bytes) => bytes.set([2, 1, 7]) }),
      "OutOfDate",
    );
  });

  test("is out of date by its platform, and started again it would be up to date", () => {
    const current = level("UpToDate", LOW, 0, [5, 0, 7]);
    const old = level("OutOfDate", LOW, 0, [3, 0, 5]);
    assert.equal(statusOf(outlived([2, 1, 5], [4, 1, 7], current, old)), "TDRelaunchAdvised");
  });

  test("is refused where nobody knows the module in use", () => {
    const { claims, checks } = verified(makeEvidence(outlived([2, 1, 7], [9, 9, 9])));
    assert.equal(claims.tcbStatus, undefined);
    assert.deepEqual(reasonsOf(checks), ["TcbStatusNotAllowed"]);
  });
});
