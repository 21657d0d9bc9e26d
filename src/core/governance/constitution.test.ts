import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { createGovernanceCrypto, sha256 } from "../../enclave/manager/node-crypto.ts";
import { signNodeEntry } from "../../host/genesis.ts";
import { foundNetwork, makeFounder, makeNode } from "../../../test/support/founders.ts";
import { decodeCbor, encodeCbor, type CborValue } from "../codec/cbor.ts";
import { bytesEqual, fromHex } from "../codec/bytes.ts";
import { parseAddress, parseIpAddress } from "./address.ts";
import {
  constitutionDigest,
  constitutionFromJson,
  constitutionToJson,
  decodeConstitution,
  encodeConstitution,
} from "./constitution-codec.ts";
import type { Constitution, NodeEntry } from "./constitution.ts";
import { verifyConstitution } from "./constitution-verify.ts";
import { readJsonValue } from "./json-value.ts";
import { derOfPem, isOneDerSequence, pemOfDer } from "./pem.ts";

const network = foundNetwork();
const { constitution } = network;
const crypto = createGovernanceCrypto();

function invalid(field: string | RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "ConstitutionInvalid");
    const found = String(error.data["field"]);
    assert.ok(typeof field === "string" ? found === field : field.test(found), `field ${found}: ${error.message}`);
    return true;
  };
}

const document: unknown = JSON.parse(constitutionToJson(constitution));

function child(value: unknown, name: string): unknown {
  assert.ok(typeof value === "object" && value !== null);
  return Object.entries(value).find(([key]) => key === name)?.[1];
}

/** The value at a dotted path of the JSON form. */
function at(path: string): unknown {
  return path.split(".").reduce(child, document);
}

/** The JSON form with the value at a dotted path replaced, or removed when undefined. */
function json(path: string, value: unknown): string {
  const names = path.split(".");
  const copy: unknown = structuredClone(document);
  const parent = names.slice(0, -1).reduce(child, copy);
  assert.ok(typeof parent === "object" && parent !== null);
  Reflect.set(parent, names.at(-1) ?? "", value);
  return JSON.stringify(copy);
}

function firstNode(): NodeEntry {
  const [node] = constitution.nodes;
  assert.ok(node);
  return node;
}

function withNode(change: Partial<NodeEntry>): Constitution {
  return { ...constitution, nodes: [{ ...firstNode(), ...change }, ...constitution.nodes.slice(1)] };
}

describe("the two forms of the constitution", () => {
  test("mean the same, and the binary form is canonical", () => {
    const bytes = encodeConstitution(constitution);
    assert.deepEqual(decodeConstitution(bytes), constitution);
    assert.deepEqual(constitutionFromJson(constitutionToJson(constitution)), constitution);
    assert.ok(bytesEqual(encodeConstitution(decodeConstitution(bytes)), bytes));
    assert.ok(bytesEqual(constitutionDigest(constitution, sha256), sha256(bytes)));
  });

  test("the order of JSON fields does not change the digest", () => {
    const reversed = JSON.stringify(
      Object.fromEntries(Object.entries(JSON.parse(constitutionToJson(constitution))).reverse()),
    );
    assert.deepEqual(constitutionDigest(constitutionFromJson(reversed), sha256), network.digest);
  });

  test("an unknown, missing or mistyped field is refused by its name", () => {
    assert.throws(() => constitutionFromJson(json("extra", 1)), invalid("extra"));
    assert.throws(
      () => constitutionFromJson(json("settings.maxBatch.bytes", undefined)),
      invalid("settings.maxBatch.bytes"),
    );
    const lengthMs = "settings.epoch.lengthMs";
    assert.throws(() => constitutionFromJson(json(lengthMs, -1)), invalid(lengthMs));
    assert.throws(() => constitutionFromJson(json("actors.1.role", "boss")), invalid("actors[1].role"));
    assert.throws(() => constitutionFromJson(json("actors.0.id", "UPPER")), invalid("actors[0].id"));
    assert.throws(() => constitutionFromJson(json("actors.0.name", "\ud800")), invalid("actors[0].name"));
    assert.throws(
      () => constitutionFromJson(json("actors.0.certificates.0", "x")),
      invalid("actors[0].certificates[0]"),
    );
    assert.throws(() => constitutionFromJson(json("nodes.0.address", "host")), invalid("nodes[0].address"));
    assert.throws(() => constitutionFromJson(json("nodes.0.address", "host:0")), invalid("nodes[0].address"));
    assert.throws(
      () => constitutionFromJson(json("codeManifest.0.measurement", "AA".repeat(32))),
      invalid("codeManifest[0].measurement"),
    );
    assert.throws(() => constitutionFromJson(json("teeManifest.0.tee", "other")), invalid("teeManifest[0].tee"));
    assert.throws(
      () => constitutionFromJson(json("policies.default.rule.type", "any")),
      invalid("policies.default.rule.type"),
    );
    assert.throws(() => constitutionFromJson(json("adapters.0.options.gas", 0.5)), invalid("adapters[0].options"));
    assert.throws(() => constitutionFromJson(json("version", 0)), invalid("version"));
    assert.throws(() => constitutionFromJson("{"), invalid(""));
    assert.throws(() => constitutionFromJson("[]"), invalid(""));
  });

  test("every cut of the binary form and every flipped byte is refused or another constitution", () => {
    const bytes = encodeConstitution(constitution);
    for (let length = 0; length < bytes.length; length += 7)
      assert.throws(() => decodeConstitution(bytes.subarray(0, length)), invalid(""));
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const changed = Uint8Array.from(bytes);
        changed[at] = (changed[at] as number) ^ mask;
        try {
          assert.ok(bytesEqual(encodeConstitution(decodeConstitution(changed)), changed));
        } catch (error) {
          invalid(/.*/)(error);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("CBOR with a field of the wrong name type is refused", () => {
    const document = decodeCbor(encodeConstitution(constitution));
    assert.ok(document instanceof Map);
    const changed = new Map<string | number, CborValue>(document).set(5, null);
    assert.throws(() => decodeConstitution(encodeCbor(changed)), invalid(""));
  });

  test("options of adapters keep a field named __proto__ and refuse what is too deep", () => {
    const value = readJsonValue(JSON.parse('{"__proto__":{"a":1},"b":[null,true,"x"]}'));
    assert.deepEqual(Object.keys(value as object), ["__proto__", "b"]);
    let deep: unknown = 1;
    for (let level = 0; level < 20; level++) deep = [deep];
    assert.equal(readJsonValue(deep), undefined);
    assert.equal(readJsonValue(Array.from({ length: 20_000 }, () => 0)), undefined);
  });
});

describe("a constitution that lists something twice", () => {
  const adapter = constitution.adapters[0];
  const twice: readonly (readonly [field: string, path: string, value: unknown])[] = [
    ["actors[1].id", "actors.1.id", at("actors.0.id")],
    ["actors[2].certificates[0]", "actors.2.certificates.0", at("actors.0.certificates.0")],
    ["nodes[1].nodeId", "nodes.1.nodeId", at("nodes.0.nodeId")],
    ["nodes[1].publicKey", "nodes.1.publicKey", at("nodes.0.publicKey")],
    ["nodes[2].encryptionKey", "nodes.2.encryptionKey", at("nodes.0.encryptionKey")],
    ["nodes[1].address", "nodes.1.address", at("nodes.0.address")],
    ["nodes[2].clientAddress", "nodes.2.clientAddress", at("nodes.0.address")],
    ["codeManifest[1].measurement", "codeManifest.1", at("codeManifest.0")],
    ["teeManifest[1].machineKey", "teeManifest.1", at("teeManifest.0")],
    ["adapters[1].id", "adapters.1", { ...adapter, name: "other", mount: "/other" }],
    ["adapters[1].name", "adapters.1", { ...adapter, id: 2, mount: "/other" }],
    ["adapters[1].mount", "adapters.1", { ...adapter, id: 2, name: "other" }],
  ];
  for (const [field, path, value] of twice) {
    test(`is refused: ${field}`, () => {
      assert.throws(() => constitutionFromJson(json(path, value)), invalid(field));
    });
  }

  test("is refused, too, when something refers to nobody or is missing", () => {
    assert.throws(() => constitutionFromJson(json("nodes.0.owner", "stranger")), invalid("nodes[0].owner"));
    for (const list of ["nodes", "codeManifest", "teeManifest"]) {
      assert.throws(() => constitutionFromJson(json(list, [])), invalid(list));
    }
    assert.throws(() => constitutionFromJson(json("actors", [at("actors.3")])), invalid("actors"));
    assert.throws(
      () => constitutionFromJson(json("codeManifest.0.approvedAt", 2)),
      invalid("codeManifest[0].approvedAt"),
    );
  });
});

describe("entries of the VN list", () => {
  test("hold when signed by their owners", () => {
    assert.doesNotThrow(() => verifyConstitution(constitution, crypto));
  });

  test("are refused when anything of the tuple was changed after signing", () => {
    const other = makeNode(50, network.machine).request;
    const changes: readonly Partial<NodeEntry>[] = [
      { address: "10.0.0.1:1" },
      { clientAddress: "10.0.0.1:1" },
      { publicKey: other.publicKey },
      { publicKey: other.publicKey, nodeId: other.nodeId },
      { encryptionKey: other.encryptionKey },
      { owner: "member2" },
      { signature: firstNode().signature.subarray(1) },
    ];
    for (const change of changes)
      assert.throws(() => verifyConstitution(withNode(change), crypto), invalid("nodes[0].signature"));
    assert.throws(
      () => verifyConstitution({ ...constitution, network: { name: "other", open: true } }, crypto),
      invalid("nodes[0].signature"),
    );
  });

  test("are refused when signed by someone else in the owner's name", () => {
    const impostor = makeFounder("member1");
    const [node] = network.nodes;
    assert.ok(node);
    const { entry } = signNodeEntry(node.request, impostor.issuer.privateKey, "member1", "test");
    assert.throws(() => verifyConstitution(withNode(entry), crypto), invalid("nodes[0].signature"));
  });

  test("are refused when another listed actor signed them", () => {
    const [node] = network.nodes;
    const second = network.founders[1];
    assert.ok(node && second);
    const { entry } = signNodeEntry(node.request, second.issuer.privateKey, "member2", "test");
    assert.throws(
      () => verifyConstitution(withNode({ signature: entry.signature }), crypto),
      invalid("nodes[0].signature"),
    );
  });

  test("every flipped byte of a signature message is refused", () => {
    const { signature } = firstNode();
    for (let at = 0; at < signature.length; at += 3) {
      const changed = Uint8Array.from(signature);
      changed[at] = (changed[at] as number) ^ 1;
      assert.throws(() => verifyConstitution(withNode({ signature: changed }), crypto), invalid("nodes[0].signature"));
    }
  });
});

describe("addresses and PEM", () => {
  test("addresses are host:port", () => {
    assert.deepEqual(parseAddress("node-1.example.org:443"), { host: "node-1.example.org", port: 443 });
    assert.deepEqual(parseAddress("[::1]:65535"), { host: "::1", port: 65535 });
    assert.deepEqual(parseAddress("127.0.0.1:0", true), { host: "127.0.0.1", port: 0 });
    for (const bad of [
      "",
      ":1",
      "a",
      "a:",
      "a:0",
      "a:65536",
      "a:01",
      "::1:80",
      "[1]:2",
      "[::1::]:2",
      "a b:1",
      "-a:1",
      "a:1 ",
    ]) {
      assert.equal(parseAddress(bad), undefined, bad);
    }
  });

  test("IP addresses are read to their bytes", () => {
    assert.deepEqual(parseIpAddress("127.0.0.1"), fromHex("7f000001"));
    assert.deepEqual(parseIpAddress("::"), new Uint8Array(16));
    assert.deepEqual(parseIpAddress("2001:db8::1"), fromHex(`20010db8${"00".repeat(11)}01`));
    assert.deepEqual(parseIpAddress("::ffff:10.0.0.1"), fromHex(`${"00".repeat(10)}ffff0a000001`));
    assert.deepEqual(parseIpAddress("1:2:3:4:5:6:7:8"), fromHex("00010002000300040005000600070008"));
    for (const bad of [
      "1.2.3",
      "256.1.1.1",
      "01.1.1.1",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1::2::3",
      "1:2:3:4::5:6:7:8",
      ":1",
      "1.2.3.4::",
      "g::",
    ]) {
      assert.equal(parseIpAddress(bad), undefined, bad);
    }
  });

  test("PEM has one reading, and other texts have none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (der) => {
        assert.deepEqual(derOfPem(pemOfDer(der, "CERTIFICATE"), "CERTIFICATE"), der);
      }),
    );
    const pem = pemOfDer(Uint8Array.of(1, 2, 3, 4), "CERTIFICATE");
    for (const bad of [
      pem.replaceAll("CERTIFICATE", "KEY"),
      pem + pem,
      pem.replace("AQIDBA==", "AQIDBB=="),
      pem.replace("==", ""),
      "",
      "-----",
    ]) {
      assert.equal(derOfPem(bad, "CERTIFICATE"), undefined);
    }
  });

  test("a DER sequence has the shortest length and nothing behind it", () => {
    assert.ok(isOneDerSequence(fromHex("3000")));
    assert.ok(isOneDerSequence(fromHex(`308180${"00".repeat(128)}`)));
    for (const bad of ["", "30", "300000", "3001", "308101ff", "30820001ff", "3080", "3100"])
      assert.ok(!isOneDerSequence(fromHex(bad)), bad);
  });
});
