/** A worker process's end of a pipe it inherited. */
import { Socket } from "node:net";
import type { Bytes } from "../core/codec/bytes.ts";
import { FrameReader, FrameWriter } from "./worker-frames.ts";

/** Descriptor of the pipe to the node, and in a process that prepares that to the worker. */
export const NODE_PIPE = 3;
/** Descriptor of the worker's pipe to the process that prepares. */
export const PREPARE_PIPE = 4;

/**
 * Opens an inherited pipe. When the other side closes it, or sends what is no frame, this process has nobody to work for.
 * @returns sends one frame
 */
export function openPipe(descriptor: number, onFrame: (payload: Bytes) => void): (payload: Bytes) => void {
  const socket = new Socket({ fd: descriptor, readable: true, writable: true });
  const reader = new FrameReader(onFrame);
  const writer = new FrameWriter(socket);
  socket.on("data", (chunk: Buffer) => reader.push(chunk));
  socket.on("error", () => process.exit(1));
  socket.on("close", () => process.exit(0));
  return (payload) => writer.write(payload);
}
