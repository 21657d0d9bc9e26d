import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { foundCoreNetwork } from "./lib/core-founding.ts";
import { makeRequests, runLoad } from "./lib/core-load.ts";
import { startCoreNetwork } from "./lib/core-network.ts";
import { percentile } from "./lib/statistics.ts";

const [count = 1, batch = 100, rounds = 5, size = 50_000] = process.argv.slice(2).map(Number);
const directory = mkdtempSync(join(tmpdir(), "coco-bench-"));
try {
  const founded = foundCoreNetwork(count, { maxBatch: { transactions: batch } });
  const network = await startCoreNetwork(founded, directory);
  for (let round = 0; round < rounds; round++) {
    const bodies = makeRequests(size, 1000);
    const at = network.syncs.length;
    const { transactions, wallMs, processorMs, failed } = await runLoad(network.leader, bodies);
    console.log(
      `${Math.round((transactions / wallMs) * 1000)} tx/s, ${((processorMs * 1000) / transactions).toFixed(2)} cpu us/tx, failed ${failed}, syncs ${network.syncs.length - at}, p50 ${percentile(network.syncs.slice(at), 0.5).toFixed(2)} ms`,
    );
  }
  await network.close();
} finally {
  rmSync(directory, { recursive: true, force: true });
}
