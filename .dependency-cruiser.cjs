/**
 * Import directions, as ARCHITECTURE.md states them: core <- attestation <- enclave <- host <- cli.
 *
 * Each ring has a list of what it may import; everything else is an error. The trust boundary is the import boundary:
 * what src/host holds is ciphertext because it cannot reach the enclave's inside, and the pure core stays pure because
 * it can import nothing that is not. Tests, benchmarks and tools may import what they like.
 */

/** Modules of Node itself, by name. */
const NODE = { dependencyTypes: ["core"] };

/** Tests, and what only they use. */
const TEST_CODE = "(?:\\.test|/test-[^/]+|^src/.+/testing/.+)\\.ts$";

/** `from` a folder only these paths (and the ring's npm packages, if any) may be imported. */
function ring(name, folder, paths, options = {}) {
  const allowedNode = options.node ?? [];
  const nodePattern = allowedNode.length > 0 ? `^(?:node:)?(?:${allowedNode.join("|")})$` : undefined;
  const from = { path: folder, pathNot: [TEST_CODE, ...(options.except ?? [])] };
  const rules = [
    {
      name: `${name}-imports`,
      severity: "error",
      comment: `${folder} may import only ${paths.join(", ")}`,
      from,
      to: { path: "^src/", pathNot: paths },
    },
  ];
  if (options.anyNode !== true) {
    rules.push({
      name: `${name}-node-modules`,
      severity: "error",
      comment: `${folder} may use these modules of Node: ${allowedNode.join(", ") || "none"}`,
      from,
      to: { ...NODE, ...(nodePattern === undefined ? {} : { pathNot: nodePattern }) },
    });
  }
  if (options.packages !== undefined) {
    rules.push({
      name: `${name}-packages`,
      severity: "error",
      comment: `${folder} may use these packages: ${options.packages.join(", ")}`,
      from,
      to: { path: "node_modules/", pathNot: options.packages.map((name) => `node_modules/${name}`) },
    });
  }
  return rules;
}

const ERRORS = "^src/errors\\.ts$";
const CONTRACT = "^src/adapters/adapter\\.ts$";

module.exports = {
  forbidden: [
    {
      name: "no-circles",
      severity: "error",
      comment: "an import circle: neither side can be read, tested or moved alone",
      from: { path: "^src/" },
      to: { circular: true },
    },
    {
      name: "resolves",
      severity: "error",
      comment: "the import leads nowhere",
      from: { path: "^src/" },
      to: { couldNotResolve: true },
    },
    {
      name: "declared-packages",
      severity: "error",
      comment: "src may only use packages of `dependencies` in package.json: others are not installed for users",
      from: { path: "^src/", pathNot: TEST_CODE },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "no-test-code",
      severity: "error",
      comment: "what runs in a node does not use what exists for tests",
      from: { path: "^src/", pathNot: TEST_CODE },
      to: { path: TEST_CODE },
    },
    ...ring("errors", ERRORS, [ERRORS]),
    ...ring("core", "^src/core/", ["^src/core/", ERRORS], { packages: ["@noble/"] }),
    ...ring("attestation", "^src/attestation/", ["^src/attestation/", "^src/core/", ERRORS]),
    ...ring("enclave", "^src/enclave/", ["^src/enclave/", "^src/attestation/", "^src/core/", CONTRACT, ERRORS], {
      node: ["crypto", "tls", "http", "https", "stream"],
      except: ["^src/enclave/worker/"],
    }),
    ...ring("worker", "^src/enclave/worker/", ["^src/enclave/", "^src/core/", CONTRACT, ERRORS], {
      node: ["crypto", "worker_threads"],
    }),
    ...ring(
      "host",
      "^src/host/",
      ["^src/host/", "^src/enclave/", "^src/attestation/", "^src/core/", CONTRACT, ERRORS],
      { anyNode: true, except: ["^src/host/adapters\\.ts$"] },
    ),
    {
      name: "one-composition-root",
      severity: "error",
      comment: "src/host/adapters.ts is the one place that names adapters; it needs nothing else of the host",
      from: { path: "^src/host/adapters\\.ts$" },
      to: { path: "^src/cli/" },
    },
    ...ring("adapter-contract", CONTRACT, [CONTRACT, "^src/core/", ERRORS], { packages: [] }),
    ...ring("adapter", "^src/adapters/[^/]+/", ["^src/adapters/[^/]+/", "^src/core/", CONTRACT, ERRORS]),
    {
      name: "adapters-apart",
      severity: "error",
      comment: "adapters know nothing of each other",
      from: { path: "^src/adapters/([^/]+)/" },
      to: { path: "^src/adapters/[^/]+/", pathNot: "^src/adapters/$1/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { conditionNames: ["import", "node", "default", "types"], exportsFields: ["exports"] },
  },
};
