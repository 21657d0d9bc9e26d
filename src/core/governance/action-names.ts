/** The names of all actions a proposal may hold, as they stand in its JSON; where CCF has the same action, its name. */

/** Every action, in the order people read them. */
export const ACTION_NAMES = [
  "add_member",
  "add_participant",
  "remove_member",
  "remove_participant",
  "replace_member",
  "replace_participant",
  "add_certificate",
  "remove_certificate",
  "set_revocations",
  "restrict_participant",
  "add_node",
  "remove_node",
  "replace_node",
  "approve_code",
  "retire_code",
  "approve_tee",
  "retire_tee",
  "set_policy",
  "remove_policy",
  "set_script",
  "set_settings",
  "open_network",
  "rotate_service_identity",
  "open_epoch",
  "mount_adapter",
  "configure_adapter",
  "remove_adapter",
] as const;

/** The name of an action. */
export type ActionName = (typeof ACTION_NAMES)[number];

/** Whether a text is the name of an action. */
export function isActionName(text: string): text is ActionName {
  return ACTION_NAMES.some((name) => name === text);
}
