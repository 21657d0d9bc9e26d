/**
 * The part of the WebAssembly JavaScript interface (W3C) that the script engine uses. Its types belong to browsers' libraries,
 * which this project does not take in.
 */

/** A linear memory. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** A global variable of a module. */
export interface WasmGlobal {
  value: number;
}

/** What a module imports: by module name, then by name. */
export type WasmImports = Readonly<Record<string, Readonly<Record<string, WasmMemory | (() => number)>>>>;

/** A module that runs. */
export interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}

interface WasmInterface {
  readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => WasmMemory;
  readonly Global: new (kind: { readonly value: "i32"; readonly mutable: boolean }) => WasmGlobal;
  /** Thrown at a trap. */
  readonly RuntimeError: new () => Error;
  readonly compile: (module: Uint8Array) => Promise<object>;
  readonly instantiate: (module: object, imports: WasmImports) => Promise<WasmInstance>;
}

declare const WebAssembly: WasmInterface;

/** The interface as the platform has it. */
export const webAssembly: WasmInterface = WebAssembly;
