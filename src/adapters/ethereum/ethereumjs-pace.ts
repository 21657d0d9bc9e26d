/**
 * Makes an EVM object of `@ethereumjs/evm` keep a {@link Pace}. A program can only go on for long through jumps, calls and
 * instructions whose cost depends on their operands; those handlers are wrapped, which costs next to nothing, while the
 * `step` event would copy stack and memory at every instruction. What a handler throws that is no EVM error ends the
 * whole run, not just its inner frame. Precompiled contracts cannot be interrupted, so their size is limited instead.
 */
import type { Common } from "@ethereumjs/common";
import { type CustomPrecompile, type EVM, EVMError, getActivePrecompiles, type PrecompileFunc } from "@ethereumjs/evm";
import { invariant } from "../../errors.ts";
import type { Pace } from "./pace.ts";

/** Most gas one precompiled contract may use in a call: about a quarter of a second with the slowest (BLS12-381, BLAKE2). */
export const PRECOMPILE_CALL_GAS_LIMIT = 500_000n;

/** Instructions at which a program can go back. */
const JUMPS: readonly number[] = [0x56, 0x57];

/** KECCAK256, the copies, LOG0 to LOG4, and all that run or make contracts: one of them may take as long as many others. */
const LENGTHY: ReadonlySet<number> = new Set([
  0x20, 0x37, 0x39, 0x3c, 0x3e, 0x5e, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xf0, 0xf1, 0xf2, 0xf4, 0xf5, 0xfa,
]);

/** Holds the pace of the run a machine is in. */
export interface PaceHolder {
  pace: Pace | undefined;
}

type OpcodeEntry = EVM["_opcodeMap"][number];

function paceOf(holder: PaceHolder): Pace {
  invariant(holder.pace !== undefined, "a machine for calls runs without a pace");
  return holder.pace;
}

/** Makes the programs `evm` runs keep the pace `holder` has at that time. */
export function paceOpcodes(evm: EVM, holder: PaceHolder): void {
  // The interpreter looks instructions up in this table, of which every EVM object has its own.
  const table = evm["_opcodeMap"];
  invariant(Array.isArray(table) && table.length === 256, "the engine's table of instructions is not where it was");
  for (const [code, entry] of table.entries()) {
    if (JUMPS.includes(code)) table[code] = pacedJump(entry, holder);
    else if (entry.opcodeInfo.dynamicGas) table[code] = pacedGas(entry, holder, LENGTHY.has(code));
  }
}

/** The interpreter awaits the handler of an instruction that is marked as asynchronous. */
function pacedJump(entry: OpcodeEntry, holder: PaceHolder): OpcodeEntry {
  const { opHandler } = entry;
  invariant(opHandler !== undefined && !entry.opcodeInfo.isAsync, "the engine's jumps are not what they were");
  return {
    ...entry,
    opcodeInfo: { ...entry.opcodeInfo, isAsync: true },
    opHandler: (runState, common) => {
      // Looks at the clock every time: there may be a long stretch of cheap instructions between two jumps.
      const turn = paceOf(holder).check();
      return turn === undefined ? opHandler(runState, common) : turn.then(() => opHandler(runState, common));
    },
  };
}

/** The interpreter awaits what the handler of the gas of every such instruction yields. */
function pacedGas(entry: OpcodeEntry, holder: PaceHolder, lengthy: boolean): OpcodeEntry {
  const { gasHandler } = entry;
  return {
    ...entry,
    gasHandler: async (runState, gas, common) => {
      const pace = paceOf(holder);
      const turn = lengthy ? pace.check() : pace.step();
      if (turn !== undefined) await turn;
      return gasHandler(runState, gas, common);
    },
  };
}

/** The fork's precompiled contracts with {@link PRECOMPILE_CALL_GAS_LIMIT}; a call that would need more is broken off. */
export function pacedPrecompiles(common: Common, holder: PaceHolder): CustomPrecompile[] {
  return [...getActivePrecompiles(common)].map(([address, run]) => ({
    address: `0x${address}`,
    function: pacedPrecompile(run, holder),
  }));
}

function pacedPrecompile(run: PrecompileFunc, holder: PaceHolder): PrecompileFunc {
  return async (input) => {
    const limited = input.gasLimit > PRECOMPILE_CALL_GAS_LIMIT;
    if (!limited) return run(input);
    const result = await run({ ...input, gasLimit: PRECOMPILE_CALL_GAS_LIMIT });
    const error = result.exceptionError?.error;
    if (error === undefined) return result;
    if (error === EVMError.errorMessages.OUT_OF_GAS) paceOf(holder).breakOff();
    // A precompiled contract that fails uses up all it was given.
    return { ...result, executionGasUsed: input.gasLimit };
  };
}
