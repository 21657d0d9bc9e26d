/** The few file operations that requests to the kernel's configfs are made of: one object, so that tests can play a kernel. */
import { constants } from "node:fs";
import { mkdir, open, rmdir } from "node:fs/promises";
import { type Bytes, concatBytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";

const PIECE_BYTES = 4096;
const FOLDER_MODE = 0o700;

/** What is done to the kernel's files. Each operation rejects with the system's error. */
export interface TsmFiles {
  /** Makes a folder that is not there. */
  makeFolder(folder: string): Promise<void>;
  /** Removes a folder; the kernel's own files in it go with it. */
  removeFolder(folder: string): Promise<void>;
  /** Writes everything by one call into a file that is there: the kernel takes each call as a value. */
  writeOnce(file: string, data: Bytes): Promise<void>;
  /** A file to its end, whatever size it says it has; rejects with `TeeUnavailable` when it is longer than `maxBytes`. */
  read(file: string, maxBytes: number): Promise<Bytes>;
}

/** The file system of this machine. */
export const TSM_FILES: TsmFiles = {
  async makeFolder(folder) {
    await mkdir(folder, { mode: FOLDER_MODE });
  },
  removeFolder: (folder) => rmdir(folder),
  async writeOnce(file, data) {
    // Neither made nor cut: the file is the kernel's.
    const handle = await open(file, constants.O_WRONLY);
    try {
      const { bytesWritten } = await handle.write(data, 0, data.length);
      if (bytesWritten !== data.length) throw new CocoError("TeeUnavailable", `${file}: took a part of a value`);
    } finally {
      await handle.close();
    }
  },
  async read(file, maxBytes) {
    const handle = await open(file, constants.O_RDONLY);
    try {
      const pieces: Bytes[] = [];
      for (let total = 0; ; ) {
        const { bytesRead, buffer } = await handle.read(new Uint8Array(PIECE_BYTES), 0, PIECE_BYTES);
        if (bytesRead === 0) return concatBytes(...pieces);
        total += bytesRead;
        if (total > maxBytes) throw new CocoError("TeeUnavailable", `${file}: more than ${maxBytes} bytes`);
        pieces.push(buffer.subarray(0, bytesRead));
      }
    } finally {
      await handle.close();
    }
  },
};
