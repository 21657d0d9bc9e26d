/** Intel TDX on this machine: quotes through configfs-tsm, collateral from whoever serves it to the attester. */
import { CocoError } from "../../errors.ts";
import { readTsmReport, type TsmOptions } from "./configfs-tsm.ts";
import type { CollateralSource } from "./intel-collateral.ts";
import { requireOwnQuote } from "./own-quote.ts";
import type { TeeProvider } from "./provider.ts";

/** Where this machine has what the provider reads. */
export interface TdxProviderOptions {
  readonly tsm?: TsmOptions;
  readonly collateral: CollateralSource;
}

const DRIVER = "tdx_guest";

/** Makes the provider; nothing is read before it attests. */
export function createTdxProvider({ tsm, collateral }: TdxProviderOptions): TeeProvider {
  return {
    tee: "tdx",
    async attest(reportData) {
      const { provider, report } = await readTsmReport(reportData, tsm);
      if (provider !== DRIVER)
        throw new CocoError("TeeUnavailable", `the kernel's driver is ${provider}, not ${DRIVER}`);
      requireOwnQuote(report, reportData, "guest");
      const content = await collateral(report);
      return { tee: "tdx", evidence: report, endorsements: [{ kind: "collateral", content }] };
    },
  };
}
