/** Makes the provider of a machine's hardware from a node's settings, and says in words what each needs. */
import type { Endorsement } from "../../attestation/hardware-evidence.ts";
import type { HardwareTee } from "../../core/governance/manifest-entries.ts";
import { CocoError } from "../../errors.ts";
import { readConfigurationFile } from "../files.ts";
import { createAzureVtpmProvider } from "./azure-vtpm.ts";
import { type ChipCertificates, createChipCertificates, hasCertificateFor } from "./chip-certificates.ts";
import { createGramineProvider } from "./gramine-provider.ts";
import { type CollateralSource, createIntelCollateral } from "./intel-collateral.ts";
import type { TeeProvider } from "./provider.ts";
import { readSecurityContext } from "./security-context.ts";
import { createSnpProvider } from "./snp-provider.ts";
import { createTdxProvider } from "./tdx-provider.ts";
import { CHIP_SERVICES, DEFAULT_SEAL_TO, type TeeSettings } from "./tee-settings.ts";
import { createVsmFileProvider, createVsmProvider } from "./vsm.ts";

/** Largest file of a chip's certificates in bytes; larger ones are `ConfigurationInvalid`. */
export const MAX_CHIP_CERTIFICATES_BYTES = 32 * 1024;

const CONFIGFS =
  "it needs Linux 6.7 or newer with configfs mounted (mount -t configfs none /sys/kernel/config), " +
  "and the right to make folders there: run the node as root, or hand the folder over";

const SNP_CERTIFICATES =
  "A host that hands in no certificates of the chip needs --chip-certificates, --security-context or --chip-service";

const HARDWARE_NEEDS: Readonly<Record<HardwareTee, string>> = {
  snp:
    `--tee snp runs in a confidential virtual machine of AMD SEV-SNP with the driver sev-guest; ${CONFIGFS}. ` +
    `A confidential Azure machine has none: there --vtpm /dev/tpmrm0 says where its virtual TPM is. ${SNP_CERTIFICATES}`,
  tdx:
    "--tee tdx runs in a guest of Intel TDX with the driver tdx-guest, on a host with a quote generation service; " +
    CONFIGFS,
  sgx: "--tee sgx runs inside an SGX enclave of Gramine, whose manifest sets sgx.remote_attestation to dcap",
  vsm: "--tee vsm needs an enclave host that answers at --pipe, or in --answer-file; see docs/reference/attestation-vsm.md",
};

const VTPM_NEEDS =
  "--tee snp --vtpm runs in a confidential Azure machine of AMD SEV-SNP, whose virtual TPM holds its report, with the right to " +
  "read and write that device: run the node as root, or in the group that owns it (tss, mostly). On any other machine leave out " +
  `--vtpm: reports come from the driver sev-guest there. ${SNP_CERTIFICATES}`;

/** What is missing where a TEE is unavailable with these settings, and what to do about it. */
export function hardwareNeeds(tee: HardwareTee, { vtpm }: Pick<TeeSettings, "vtpm">): string {
  return tee === "snp" && vtpm !== undefined ? VTPM_NEEDS : HARDWARE_NEEDS[tee];
}

/**
 * Makes the provider; nothing is read before it attests.
 * @param collateralCache where collateral is kept, unless the settings say where
 */
export function createProvider(tee: HardwareTee, settings: TeeSettings, collateralCache?: string): TeeProvider {
  switch (tee) {
    case "snp":
      return snpProvider(settings, collateralCache);
    case "tdx":
      return createTdxProvider({ tsm: tsmOf(settings), collateral: collateralOf(settings, collateralCache) });
    case "sgx": {
      const { reportFolder: folder, sealTo = DEFAULT_SEAL_TO } = settings;
      return createGramineProvider({
        ...(folder !== undefined && { folder }),
        ...(sealTo !== "machine" && { sealTo }),
        collateral: collateralOf(settings, collateralCache),
      });
    }
    case "vsm":
      if (settings.answerFile !== undefined) return createVsmFileProvider(settings.answerFile);
      if (settings.pipe !== undefined) return createVsmProvider(settings.pipe);
      throw new CocoError("ConfigurationInvalid", "the TEE vsm: expected the pipe or file of the enclave host");
  }
}

function tsmOf({ reportFolder: folder }: TeeSettings) {
  return folder === undefined ? {} : { folder };
}

function snpProvider(settings: TeeSettings, usualCache: string | undefined): TeeProvider {
  const { vtpm, securityContext: securityContextFolder } = settings;
  const certificates = () => chipCertificates(settings);
  const fetched = fetchedCertificates(settings, usualCache);
  if (vtpm !== undefined)
    return createAzureVtpmProvider({
      path: vtpm,
      certificates: async (report) => {
        const context = securityContextFolder === undefined ? [] : await readSecurityContext(securityContextFolder);
        const local = [...(await certificates()), ...context];
        return fetched === undefined || hasCertificateFor(report, local)
          ? local
          : [...local, ...(await fetched(report))];
      },
    });
  const provider = createSnpProvider({ tsm: tsmOf(settings), securityContextFolder, certificates: fetched });
  return {
    tee: "snp",
    attest: async (reportData) => {
      const evidence = await provider.attest(reportData);
      return { ...evidence, endorsements: [...evidence.endorsements, ...(await certificates())] };
    },
  };
}

async function chipCertificates({ chipCertificates: file }: TeeSettings): Promise<readonly Endorsement[]> {
  if (file === undefined) return [];
  return [{ kind: "certificates", content: await readConfigurationFile(file, MAX_CHIP_CERTIFICATES_BYTES) }];
}

/** Asks a service for what is not there, unless the operator names a file or wants none asked. */
export function fetchedCertificates(
  { chipCertificates: file, chipService = "amd", chipServiceUrl: url, collateralCache }: TeeSettings,
  usual: string | undefined,
): ChipCertificates | undefined {
  if (file !== undefined || chipService === "none") return undefined;
  const cacheFolder = collateralCache ?? usual;
  return createChipCertificates({
    fetch,
    nowMs: () => Date.now(),
    services: CHIP_SERVICES.filter((service) => service === chipService),
    ...(url !== undefined && { urls: { [chipService]: url } }),
    ...(cacheFolder !== undefined && { cacheFolder }),
  });
}

function collateralOf(
  { collateralUrl, rootListUrl, collateralCache }: TeeSettings,
  usual: string | undefined,
): CollateralSource {
  const cacheFolder = collateralCache ?? usual;
  return createIntelCollateral({
    fetch,
    nowMs: () => Date.now(),
    ...(cacheFolder !== undefined && { cacheFolder }),
    ...(collateralUrl !== undefined && { serviceUrl: collateralUrl }),
    ...(rootListUrl !== undefined && { rootListUrl }),
  });
}
