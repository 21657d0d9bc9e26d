/** Actions on the network as a whole: its settings, its opening, its service identity, its epochs. */
import { NO_ARGS, requireChange, sameTree, type ActionKind, type NoArgs } from "./action-kind.ts";
import type { Constitution } from "./constitution.ts";
import { refused } from "./refusal.ts";
import { readSettingsChange, settingsTree, settingsWith, type SettingsChange } from "./settings.ts";

const SET_SETTINGS: ActionKind<SettingsChange> = {
  read: readSettingsChange,
  tree: settingsTree,
  apply: (constitution, change) => {
    const { settings } = constitution;
    if (change.consensus !== undefined)
      throw refused("ConsensusFixed", `consensus is ${settings.consensus} for as long as the network exists`);
    if (namesNothing(change)) throw refused("NoSettings", "no setting is named");
    const changed = settingsWith(change, settings);
    requireChange(settingsTree(settings), settingsTree(changed), "every setting that is named");
    return { ...constitution, settings: changed };
  },
};

function namesNothing(change: SettingsChange): boolean {
  return Object.values(settingsTree(change)).every((value) => value === undefined || sameTree(value, {}));
}

const OPEN_NETWORK: ActionKind<NoArgs> = {
  ...NO_ARGS,
  apply: (constitution) => {
    if (constitution.network.open) throw refused("AlreadyOpen", "the network is open already");
    return { ...constitution, network: { ...constitution.network, open: true } };
  },
};

/** What it brings about is no part of the constitution: the effect of a proposal says it. */
const NO_CHANGE: ActionKind<NoArgs> = { ...NO_ARGS, apply: (constitution) => constitution };

/** Refuses a quorum that can't be had with the nodes there are. */
export function checkQuorum({ nodes, settings: { quorum } }: Constitution): void {
  if (quorum.type !== "flexible") return;
  const { election, replication } = quorum;
  const count = nodes.length;
  const fits = election * 2 > count && election <= count && replication <= count && election + replication > count;
  if (fits) return;
  const quorums = `an election quorum of ${election} and a replication quorum of ${replication}`;
  throw refused("QuorumNotPossible", `${quorums} do not fit ${count} nodes`);
}

/** The actions of this file. */
export const NETWORK_ACTIONS = {
  set_settings: SET_SETTINGS,
  open_network: OPEN_NETWORK,
  rotate_service_identity: NO_CHANGE,
  open_epoch: NO_CHANGE,
};
