/** What `coco constitution init` is told. */
import type { QuorumSetting } from "../core/governance/constitution.ts";
import type { NamedValue } from "./arguments.ts";
import type { MeasuredArgument, TeeArgument } from "./hardware-options.ts";
import type { PolicyArgument } from "./policy-argument.ts";

/** Options of `coco constitution init`. */
export interface InitOptions {
  readonly name?: string;
  readonly member: readonly NamedValue[];
  readonly participant: readonly NamedValue[];
  readonly node: readonly string[];
  readonly adapter: readonly NamedValue[];
  readonly code: readonly string[];
  readonly measured: readonly MeasuredArgument[];
  readonly tee: readonly TeeArgument[];
  readonly policy: readonly PolicyArgument[];
  readonly policies?: string;
  readonly script?: string;
  readonly settings?: string;
  readonly epochLength?: number;
  readonly snapshotEvery?: number;
  readonly quorum?: QuorumSetting;
  readonly nodesPerActor?: number;
  readonly trustDisk?: boolean;
  readonly closed?: boolean;
  readonly out?: string;
  readonly json?: boolean;
}
