/**
 * Actions (R8): what a proposal changes. Several in one proposal are applied in order, all or none; rules that span them
 * (a member is left, nobody owns a node and is gone, ...) are judged on the result, so that their order does not matter there.
 *
 * Whatever does not hold is `ProposalInvalid` with its reason, and with number and name of the action it comes from.
 */
import { bytesEqual } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { CocoError } from "../../errors.ts";
import type { ActionContext, ActionKind, NoArgs } from "./action-kind.ts";
import type { ActionName } from "./action-names.ts";
import {
  ACTOR_ACTIONS,
  type ActorArgs,
  type NewActorArgs,
  type ReplaceActorArgs,
  type RestrictArgs,
} from "./actions-actors.ts";
import {
  ADAPTER_ACTIONS,
  checkAdapters,
  type ConfigureAdapterArgs,
  type MountAdapterArgs,
  type RemoveAdapterArgs,
} from "./actions-adapters.ts";
import {
  CERTIFICATE_ACTIONS,
  checkCertificates,
  type AddCertificateArgs,
  type RemoveCertificateArgs,
  type SetRevocationsArgs,
} from "./actions-certificates.ts";
import {
  checkManifests,
  expelledNodes,
  MANIFEST_ACTIONS,
  type ApproveCodeArgs,
  type RetireCodeArgs,
  type RetireTeeArgs,
} from "./actions-manifests.ts";
import { checkQuorum, NETWORK_ACTIONS } from "./actions-network.ts";
import {
  checkNodeList,
  NODE_ACTIONS,
  type AddNodeArgs,
  type RemoveNodeArgs,
  type ReplaceNodeArgs,
} from "./actions-nodes.ts";
import {
  checkVoting,
  POLICY_ACTIONS,
  type RemovePolicyArgs,
  type SetPolicyArgs,
  type SetScriptArgs,
} from "./actions-policies.ts";
import { checkReferences } from "./constitution-check.ts";
import { encodeConstitution } from "./constitution-codec.ts";
import { constitutionChanges } from "./constitution-diff.ts";
import { MAX_CONSTITUTION_BYTES, type Constitution } from "./constitution.ts";
import type { TeeEntry } from "./manifest-entries.ts";
import type { FieldContext } from "./fields.ts";
import { isRefusal, refused } from "./refusal.ts";
import type { SettingsChange } from "./settings.ts";

/** The arguments of each action. */
export interface ActionArgs {
  readonly add_member: NewActorArgs;
  readonly add_participant: NewActorArgs;
  readonly remove_member: ActorArgs;
  readonly remove_participant: ActorArgs;
  readonly replace_member: ReplaceActorArgs;
  readonly replace_participant: ReplaceActorArgs;
  readonly add_certificate: AddCertificateArgs;
  readonly remove_certificate: RemoveCertificateArgs;
  readonly set_revocations: SetRevocationsArgs;
  readonly restrict_participant: RestrictArgs;
  readonly add_node: AddNodeArgs;
  readonly remove_node: RemoveNodeArgs;
  readonly replace_node: ReplaceNodeArgs;
  readonly approve_code: ApproveCodeArgs;
  readonly retire_code: RetireCodeArgs;
  readonly approve_tee: TeeEntry;
  readonly retire_tee: RetireTeeArgs;
  readonly set_policy: SetPolicyArgs;
  readonly remove_policy: RemovePolicyArgs;
  readonly set_script: SetScriptArgs;
  readonly set_settings: SettingsChange;
  readonly open_network: NoArgs;
  readonly rotate_service_identity: NoArgs;
  readonly open_epoch: NoArgs;
  readonly mount_adapter: MountAdapterArgs;
  readonly configure_adapter: ConfigureAdapterArgs;
  readonly remove_adapter: RemoveAdapterArgs;
}

/** An action of this name. */
export interface ActionOf<Name extends ActionName> {
  readonly name: Name;
  readonly args: ActionArgs[Name];
}

/** Any action. */
export type Action = { readonly [Name in ActionName]: ActionOf<Name> }[ActionName];

/** Every action there is. */
export const ACTIONS: { readonly [Name in ActionName]: ActionKind<ActionArgs[Name]> } = {
  ...ACTOR_ACTIONS,
  ...CERTIFICATE_ACTIONS,
  ...NODE_ACTIONS,
  ...MANIFEST_ACTIONS,
  ...POLICY_ACTIONS,
  ...NETWORK_ACTIONS,
  ...ADAPTER_ACTIONS,
};

/** What actions bring about. */
export interface ActionEffect {
  /** The next constitution: its version is one more. */
  readonly constitution: Constitution;
  /** Whether an epoch is to be opened: asked for, or because somebody lost access (R15). */
  readonly opensEpoch: boolean;
  /** Whether the service gets a new identity with that epoch. */
  readonly rotatesService: boolean;
  /** Nodes that are removed because what they run was retired. */
  readonly expels: readonly NodeId[];
}

/**
 * Names of the actions whose policies judge a proposal: its own, and `approve_tee` where a node brings its machine along, so
 * that nobody approves a machine under the policy for nodes.
 */
export function judgedActions(actions: readonly Action[]): readonly ActionName[] {
  const names = actions.flatMap((action): readonly ActionName[] => {
    const bringsTee = (action.name === "add_node" || action.name === "replace_node") && action.args.tee !== undefined;
    return bringsTee ? [action.name, "approve_tee"] : [action.name];
  });
  return [...new Set(names)];
}

/** A rule about the result, with the actions that can break it. */
interface ResultRule {
  readonly broken: (after: Constitution, before: Constitution, context: ActionContext) => void;
  readonly by: RegExp;
}

const RESULT_RULES: readonly ResultRule[] = [
  { broken: checkMembers, by: /^(?:remove|replace)_member$/ },
  { broken: checkCertificates, by: /certificate$|^set_revocations$|^(?:add|replace)_(?:member|participant)$/ },
  { broken: checkNodeList, by: /_node$|^(?:remove|replace)_(?:member|participant)$|^set_settings$/ },
  { broken: checkQuorum, by: /_node$|^set_settings$/ },
  { broken: checkManifests, by: /_(?:code|tee)$|_node$/ },
  { broken: checkVoting, by: /_policy$|^set_script$|_member$/ },
  { broken: checkAdapters, by: /_adapter$/ },
  { broken: checkWhole, by: /./ },
];

const CONTEXT: FieldContext = { form: "json", code: "ProposalInvalid", data: { reason: "ConstitutionInvalid" } };

function checkMembers({ actors }: Constitution): void {
  if (!actors.some(({ role }) => role === "member")) throw refused("LastMember", "the network would have no member");
}

/** What every reader of the constitution will ask of it. */
function checkWhole(after: Constitution): void {
  checkReferences(after, CONTEXT);
  if (encodeConstitution(after).length > MAX_CONSTITUTION_BYTES)
    throw refused("ConstitutionTooLarge", `a constitution has at most ${MAX_CONSTITUTION_BYTES} bytes`);
}

/** Runs a part of the application; a refusal gets the number and name of its action. */
function ofAction<T>(actions: readonly Action[], at: number, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof CocoError) || !isRefusal(error)) throw error;
    const name = actions[at]?.name ?? "";
    const data = { ...error.data, action: at, name };
    throw new CocoError(error.code, `actions[${at}] ${name}: ${error.message}`, data, { cause: error });
  }
}

function applyOne<Name extends ActionName>(
  constitution: Constitution,
  { name, args }: ActionOf<Name>,
  context: ActionContext,
): Constitution {
  return ACTIONS[name].apply(constitution, args, context);
}

function checkResult(
  after: Constitution,
  before: Constitution,
  actions: readonly Action[],
  context: ActionContext,
): void {
  for (const { broken, by } of RESULT_RULES) {
    const cause = actions.findLastIndex(({ name }) => by.test(name));
    ofAction(actions, Math.max(cause, 0), () => broken(after, before, context));
  }
}

/** Expelled nodes may be cut off before they have handed over: the others must be enough to go on. */
function checkExpulsion({ nodes, settings }: Constitution, staying: ReadonlySet<NodeId>): void {
  const left = nodes.filter(({ nodeId }) => staying.has(nodeId)).length;
  const { quorum } = settings;
  const majority = Math.floor(nodes.length / 2) + 1;
  const needed = quorum.type === "flexible" ? Math.max(quorum.election, quorum.replication) : majority;
  if (left < needed)
    throw refused(
      "QuorumLost",
      `${left} of ${nodes.length} nodes would be left at once, and ${needed} are needed to go on`,
    );
}

/** Whether a node or an actor that was listed no longer is, or nothing is left that an actor was listed with. */
function takesAccess(before: Constitution, after: Constitution): boolean {
  const nodes = new Set(after.nodes.map(({ nodeId }) => nodeId));
  const actors = new Map(after.actors.map((actor) => [actor.id, actor.certificates]));
  return (
    before.nodes.some(({ nodeId }) => !nodes.has(nodeId)) ||
    before.actors.some(({ id, certificates }) => {
      const now = actors.get(id) ?? [];
      return !certificates.some((certificate) => now.some((other) => bytesEqual(other, certificate)));
    })
  );
}

/** Applies the actions of a proposal, all or none; throws `ProposalInvalid` for the first that does not hold. */
export function applyActions(before: Constitution, actions: readonly Action[], context: ActionContext): ActionEffect {
  if (actions.length === 0) throw refused("NoActions", "a proposal has at least one action");
  const asks = (name: ActionName) => actions.some((action) => action.name === name);
  let after = before;
  for (const [at, action] of actions.entries()) after = ofAction(actions, at, () => applyOne(after, action, context));
  const expels = expelledNodes(after, before, context);
  if (expels.length > 0) {
    after = { ...after, nodes: after.nodes.filter(({ nodeId }) => !expels.includes(nodeId)) };
    const cause = actions.findLastIndex(({ name }) => name === "retire_code" || name === "retire_tee");
    const staying = new Set(after.nodes.map(({ nodeId }) => nodeId));
    ofAction(actions, Math.max(cause, 0), () => checkExpulsion(before, staying));
  }
  after = { ...after, version: before.version + 1 };
  checkResult(after, before, actions, context);
  const rotatesService = asks("rotate_service_identity") || takesAccess(before, after);
  const opensEpoch = rotatesService || asks("open_epoch");
  if (!opensEpoch && constitutionChanges(before, after, context.crypto.sha256).length === 0)
    throw refused("NothingChanged", "the actions together change nothing");
  return { constitution: after, opensEpoch, rotatesService, expels };
}
