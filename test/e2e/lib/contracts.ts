/**
 * Compiles the test's token, an OpenZeppelin ERC-20, with the Solidity compiler.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Abi, Hex } from "viem";
import { present } from "./processes.ts";

const require = createRequire(import.meta.url);

interface SolidityCompiler {
  compile(input: string, callbacks: { readonly import: (path: string) => { readonly contents: string } }): string;
}

interface CompilerOutput {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts?: Readonly<
    Record<string, Readonly<Record<string, { readonly abi: Abi; readonly evm: { bytecode: { object: string } } }>>>
  >;
}

/** The fork the network runs compiles to the same instructions as this one. */
const EVM_VERSION = "prague";

const SOURCE = `// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;
import "@openzeppelin/contracts/token/ERC20/ERC20.sol";

contract TestToken is ERC20 {
  address private immutable issuer = msg.sender;

  constructor(uint256 supply) ERC20("Test Token", "TST") {
    _mint(msg.sender, supply);
  }

  function mint(address to, uint256 amount) external {
    require(msg.sender == issuer, "only the issuer mints");
    _mint(to, amount);
  }
}
`;

/** A compiled contract. */
export interface CompiledContract {
  readonly abi: Abi;
  readonly bytecode: Hex;
}

/** Compiles the token: `constructor(uint256 supply)`, ERC-20, and `mint(address, uint256)` for its issuer alone. */
export function compileToken(): CompiledContract {
  const compiler = require("solc") as SolidityCompiler;
  const input = {
    language: "Solidity",
    sources: { "TestToken.sol": { content: SOURCE } },
    settings: {
      evmVersion: EVM_VERSION,
      optimizer: { enabled: true },
      outputSelection: { "*": { TestToken: ["abi", "evm.bytecode.object"] } },
    },
  };
  const output = JSON.parse(
    compiler.compile(JSON.stringify(input), {
      import: (path) => ({ contents: readFileSync(require.resolve(path), "utf8") }),
    }),
  ) as CompilerOutput;
  const failures = (output.errors ?? []).filter((error) => error.severity === "error");
  if (failures.length > 0) throw new Error(failures.map((error) => error.formattedMessage).join("\n"));
  const { abi, evm } = present(output.contracts?.["TestToken.sol"]?.["TestToken"], "the compiled contract");
  return { abi, bytecode: `0x${evm.bytecode.object}` };
}
