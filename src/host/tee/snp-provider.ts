/**
 * AMD SEV-SNP on this machine: reports through configfs-tsm, certificates from the host's table or from the files that Azure
 * puts beside a container. Where neither has the certificate of the key that signed, it is fetched, if that is wanted.
 */
import type { Endorsement } from "../../attestation/hardware-evidence.ts";
import { readCertificateTable } from "../../attestation/snp/certificates.ts";
import { parseSnpReport } from "../../attestation/snp/report.ts";
import { type Bytes, bytesEqual } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { type ChipCertificates, hasCertificateFor } from "./chip-certificates.ts";
import { readTsmReport, type TsmOptions } from "./configfs-tsm.ts";
import type { TeeProvider } from "./provider.ts";
import { readSecurityContext, SECURITY_CONTEXT_VARIABLE } from "./security-context.ts";

/** Where this machine has what the provider reads. */
export interface SnpProviderOptions {
  readonly tsm?: TsmOptions;
  /** Folder of Azure's files; what {@link SECURITY_CONTEXT_VARIABLE} names unless given; without either there is none. */
  readonly securityContextFolder?: string | undefined;
  /** Fetches what neither has; unless given, evidence goes without, and whoever uses it adds it. */
  readonly certificates?: ChipCertificates | undefined;
}

const DRIVER = "sev_guest";

/** Makes the provider; nothing is read before it attests. */
export function createSnpProvider(options: SnpProviderOptions = {}): TeeProvider {
  const { tsm, certificates, securityContextFolder = process.env[SECURITY_CONTEXT_VARIABLE] } = options;
  return {
    tee: "snp",
    async attest(reportData) {
      const { provider, report, auxiliary } = await readTsmReport(reportData, tsm);
      if (provider !== DRIVER)
        throw new CocoError("TeeUnavailable", `the kernel's driver is ${provider}, not ${DRIVER}`);
      requireBound(report, reportData);
      const context = securityContextFolder === undefined ? [] : await readSecurityContext(securityContextFolder);
      const local = [...hostTable(auxiliary), ...context];
      const isComplete = certificates === undefined || hasCertificateFor(report, local);
      const endorsements = isComplete ? local : [...withoutOthers(local), ...(await certificates(report))];
      return { tee: "snp", evidence: report, endorsements };
    },
  };
}

/** What the host has for another TCB would only add to what is read. */
function withoutOthers(local: readonly Endorsement[]): readonly Endorsement[] {
  return local.filter(({ kind }) => kind !== "certificates");
}

/** A host that answers with another report is noticed here, before others refuse it. */
function requireBound(report: Bytes, reportData: Bytes): void {
  let bound: Bytes;
  try {
    bound = parseSnpReport(report).reportData;
  } catch (error) {
    throw new CocoError("TeeUnavailable", "what the kernel gave is no SNP report", {}, { cause: error });
  }
  if (!bytesEqual(bound, reportData)) throw new CocoError("TeeUnavailable", "the report binds other data");
}

/** The host fills the table, or does not, or fills it with what is none: then the certificates come from elsewhere. */
function hostTable(table: Bytes): readonly Endorsement[] {
  try {
    return readCertificateTable(table).length > 0 ? [{ kind: "certificates", content: table }] : [];
  } catch (error) {
    if (error instanceof CocoError && error.code === "EvidenceRejected") return [];
    throw error;
  }
}
