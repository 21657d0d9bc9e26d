/** How far a node keeps its adapters' workers from itself (R31): the choice, and its bounds. */

/** Levels of isolation: `process` is a wall, `thread` a discipline (SECURITY.md). */
export const WORKER_LEVELS = ["process", "thread"] as const;
/** One of {@link WORKER_LEVELS}. */
export type WorkerLevel = (typeof WORKER_LEVELS)[number];
/** Level of a node whose configuration names none. */
export const DEFAULT_WORKER_LEVEL: WorkerLevel = "process";

/** Memory of a worker's JavaScript heap in MiB, unless the node's configuration says otherwise; a worker that needs more ends. */
export const DEFAULT_WORKER_MEMORY_MB = 4096;
/** Least memory that can be set for a worker, in MiB. */
export const WORKER_MEMORY_MB_MIN = 128;
/** Most memory that can be set for a worker, in MiB. */
export const WORKER_MEMORY_MB_MAX = 1024 * 1024;
