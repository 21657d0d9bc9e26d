/** Intel TDX on this machine: quotes through configfs-tsm, collateral from whoever serves it to the attester. */
import { CocoError } from "../../errors.ts";
import { readTsmReport, type TsmOptions } from "./configfs-tsm.ts";
import { evidenceOfQuote, type QuoteOptions, requireOwnQuote } from "./own-quote.ts";
import type { TeeProvider } from "./provider.ts";

/** Where this machine has what the provider reads. */
export interface TdxProviderOptions extends QuoteOptions {
  readonly tsm?: TsmOptions;
}

const DRIVER = "tdx_guest";

/** Makes the provider; nothing is read before it attests. */
export function createTdxProvider(options: TdxProviderOptions): TeeProvider {
  return {
    tee: "tdx",
    async attest(reportData) {
      const { provider, report } = await readTsmReport(reportData, options.tsm);
      if (provider !== DRIVER)
        throw new CocoError("TeeUnavailable", `the kernel's driver is ${provider}, not ${DRIVER}`);
      requireOwnQuote(report, reportData, "guest");
      return evidenceOfQuote("tdx", report, reportData, options);
    },
  };
}
