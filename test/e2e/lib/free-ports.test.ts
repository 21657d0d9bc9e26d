import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { freePorts } from "./free-ports.ts";

/** Whether nobody listens there. */
function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

test("ports that were given away are free for their nodes, and marked for other processes", async (context) => {
  const ports = await freePorts(6);
  assert.equal(new Set(ports).size, 6);
  for (const port of ports) assert.ok(await isFree("127.0.0.1", port), `port ${port}`);
  if (!(await isFree("127.0.0.2", 0))) return context.skip("this machine has one address of its own");
  for (const port of ports) assert.ok(!(await isFree("127.0.0.2", port)), `port ${port}`);
});
