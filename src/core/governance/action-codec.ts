/**
 * Reading and writing the actions of a proposal: `{"actions": [{"name", "args"}, ...]}` as in CCF, strictly. Each error is
 * `ProposalInvalid` with the path of the field, a reason of its own, and number and name of the action.
 */
import { ACTION_NAMES, isActionName } from "./action-names.ts";
import { ACTIONS, type Action, type ActionArgs, type ActionOf } from "./actions.ts";
import type { ActionName } from "./action-names.ts";
import { FieldReader, type FieldContext, type FieldRecord } from "./fields.ts";
import type { JsonValue } from "./json-value.ts";
import { refused } from "./refusal.ts";

/** Most actions of one proposal. */
export const MAX_ACTIONS = 64;
/** Longest description of a proposal, in characters. */
export const MAX_DESCRIPTION_LENGTH = 4_000;
/** Longest name of an action that an error repeats, in characters. */
const MAX_NAME_SHOWN = 64;

function readName(item: unknown, at: number): ActionName {
  const fields = new FieldReader(item, `actions[${at}]`, contextOf(at, ""));
  const name = fields.value("name");
  if (typeof name === "string" && isActionName(name)) return name;
  const shown = typeof name === "string" ? name.slice(0, MAX_NAME_SHOWN) : typeof name;
  const message = `actions[${at}].name: ${shown} is not an action; there are: ${ACTION_NAMES.join(", ")}`;
  throw refused("UnknownAction", message, { action: at, name: shown, field: `actions[${at}].name` });
}

function contextOf(action: number, name: string): FieldContext {
  return { form: "json", code: "ProposalInvalid", data: { action, name }, givesReasons: true };
}

function readAction(item: unknown, at: number): Action {
  const name = readName(item, at);
  const fields = new FieldReader(item, `actions[${at}]`, contextOf(at, name));
  fields.value("name");
  const args = fields.record<ActionArgs[ActionName]>("args", ACTIONS[name].read);
  fields.end();
  // The kind of this name has read them: what the table says of each name can't be said of a name that is only known here.
  return { name, args } as Action;
}

/** Reads the field `actions` of a proposal's payload (JSON). */
export function readActionList(fields: FieldReader): readonly Action[] {
  const items = fields.values("actions", MAX_ACTIONS);
  if (items.length === 0) throw refused("NoActions", "actions: a proposal has at least one action");
  return items.map(readAction);
}

/** Reads the payload of a proposal: its actions, and what its member says of them. */
export function readProposalPayload(fields: FieldReader): {
  readonly actions: readonly Action[];
  readonly description: string | undefined;
} {
  return {
    actions: readActionList(fields),
    description: fields.has("description") ? fields.text("description", { max: MAX_DESCRIPTION_LENGTH }) : undefined,
  };
}

/** Reads a whole record `{"actions": [...]}`, such as a script returns. */
export function readActions(value: JsonValue): readonly Action[] {
  const fields = new FieldReader(value, "", { form: "json", code: "ProposalInvalid", givesReasons: true });
  const actions = readActionList(fields);
  fields.end();
  return actions;
}

function actionTree<Name extends ActionName>({ name, args }: ActionOf<Name>): FieldRecord {
  return { name, args: ACTIONS[name].tree(args) };
}

/** The tree form of actions: the value of the field `actions`. */
export function actionsTree(actions: readonly Action[]): readonly FieldRecord[] {
  return actions.map((action) => actionTree(action));
}
