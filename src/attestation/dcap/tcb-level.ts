/**
 * How up to date a platform is, by the rules of Intel's own verifier (SGX-TDX-DCAP-QuoteVerificationLibrary, TcbLevelCheck,
 * TdxModuleCheck and TDRelaunchCheck): levels of the platform, of the TDX module and of the quoting enclave become one status.
 */
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import type { TcbStatus } from "../../core/governance/policy-dcap.ts";
import type { PlatformTcb } from "./pck.ts";
import type { GuestReport } from "./quote.ts";
import { levelOf, type PartLevel, type PartStatus, type PlatformLevel, type TcbInfo } from "./tcb-info.ts";

/** How up to date a platform is. */
export interface TcbVerdict {
  readonly status: TcbStatus;
  /** The level of the platform that counts. */
  readonly platform: PlatformLevel;
  /** The level of the TDX module, where modules have levels of their own, by the id of its identity. */
  readonly module?: PartLevel & { readonly id: string };
  /** Advisories of all parts, each once, in order. */
  readonly advisories: readonly string[];
}

function reaches(versions: ArrayLike<number>, minimum: readonly number[], from = 0): boolean {
  return minimum.every((version, at) => at < from || (versions[at] ?? 0) >= version);
}

/** The id of the identity of a TDX module of this major version. */
export function moduleId(major: number): string {
  return `TDX_${toHex(Uint8Array.of(major)).toUpperCase()}`;
}

/** Minor and major version of the TDX module that a TEE_TCB_SVN names; major 0: the module has no identity of its own. */
export function moduleVersion(teeTcbSvn: Bytes): { readonly minor: number; readonly major: number } {
  return { minor: teeTcbSvn[0] ?? 0, major: teeTcbSvn[1] ?? 0 };
}

/** Where modules have identities, those judge the first two components. */
function reachesGuest(teeTcbSvn: Bytes, level: PlatformLevel): boolean {
  return reaches(teeTcbSvn, level.tdx, moduleVersion(teeTcbSvn).major > 0 ? 2 : 0);
}

/** What a platform's status becomes by a part that is old, or that has to be configured. */
const MERGED: Readonly<Record<"OutOfDate" | "ConfigurationNeeded", Readonly<Partial<Record<TcbStatus, TcbStatus>>>>> = {
  OutOfDate: {
    UpToDate: "OutOfDate",
    SWHardeningNeeded: "OutOfDate",
    ConfigurationNeeded: "OutOfDateConfigurationNeeded",
    ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded",
  },
  ConfigurationNeeded: {
    UpToDate: "ConfigurationNeeded",
    SWHardeningNeeded: "ConfigurationAndSWHardeningNeeded",
    OutOfDate: "OutOfDateConfigurationNeeded",
    TDRelaunchAdvised: "TDRelaunchAdvisedConfigurationNeeded",
  },
};

/** The status of a platform with such a part in it. */
function merged(status: TcbStatus, part: PartStatus | undefined): TcbStatus {
  if (status === "Revoked" || part === "Revoked") return "Revoked";
  if (part === undefined || part === "UpToDate") return status;
  return MERGED[part][status] ?? status;
}

/** Judges a platform; a text says why no level fits. */
export function judgeTcb(
  info: TcbInfo,
  tcb: PlatformTcb,
  guest: GuestReport | undefined,
  quoting: PartLevel | undefined,
): TcbVerdict | string {
  const reached = info.levels.filter((level) => reaches(tcb.components, level.sgx) && tcb.pceSvn >= level.pceSvn);
  const platform = guest === undefined ? reached[0] : reached.find((level) => reachesGuest(guest.teeTcbSvn, level));
  if (platform === undefined) return "no TCB level is as low as the platform's";
  const module = guest && moduleLevel(info, guest.teeTcbSvn);
  if (typeof module === "string") return module;
  let status = merged(platform.status, module?.status);
  if (guest?.extension !== undefined && quoting?.status === "UpToDate") {
    const relaunched = afterRelaunch(info, guest.extension.teeTcbSvn2, {
      guest: status,
      sgx: reached[0]?.status,
      module: module?.status,
    });
    if (relaunched === "UnknownModule") return "no identity of the TDX module that is in use now";
    status = relaunched;
  }
  const advisories = [platform, module, quoting].flatMap((part) => part?.advisories ?? []);
  return {
    status: merged(status, quoting?.status),
    platform,
    ...(module && { module }),
    advisories: [...new Set(advisories)].sort(),
  };
}

function moduleLevel(info: TcbInfo, teeTcbSvn: Bytes): (PartLevel & { readonly id: string }) | string | undefined {
  const { minor, major } = moduleVersion(teeTcbSvn);
  if (major === 0) return undefined;
  const id = moduleId(major);
  const identity = info.modules.find((candidate) => candidate.id === id);
  const level = identity && levelOf(identity.levels, minor);
  return level === undefined
    ? `no TCB level of ${id} is as low as version ${minor} of the TDX module`
    : { ...level, id };
}

interface Statuses {
  readonly guest: TcbStatus;
  readonly sgx: TcbStatus | undefined;
  readonly module: PartStatus | undefined;
}

/** Whether the one thing that is old is the module: the platform itself is as new as Intel asks. */
function onlyModuleIsOld({ guest, sgx, module }: Statuses): boolean {
  const sgxIsCurrent = sgx !== undefined && sgx !== "Revoked" && !sgx.startsWith("OutOfDate");
  return sgxIsCurrent && guest.startsWith("OutOfDate") && module === "OutOfDate";
}

/**
 * The status of a guest that may have outlived an update of its module: when the module in use now (`current`) is the newest,
 * starting the guest again is all it takes.
 */
function afterRelaunch(info: TcbInfo, current: Bytes, statuses: Statuses): TcbStatus | "UnknownModule" {
  const [newest] = info.levels;
  if (newest === undefined || !onlyModuleIsOld(statuses)) return statuses.guest;
  const { minor, major } = moduleVersion(current);
  const identity = info.modules.find((candidate) => candidate.id === moduleId(major));
  if (major > 0 && identity === undefined) return "UnknownModule";
  const newestMinor = major === 0 ? newest.tdx[0] : identity?.levels[0]?.minVersion;
  if (newestMinor === undefined || minor < newestMinor || (current[2] ?? 0) < (newest.tdx[2] ?? 0))
    return statuses.guest;
  const needsConfiguration = [statuses.guest, statuses.sgx].some((status) => status?.includes("Configuration"));
  return needsConfiguration ? "TDRelaunchAdvisedConfigurationNeeded" : "TDRelaunchAdvised";
}
