/** The feed of governance as a plain client of HTTPS reads it. */
import { readFileSync } from "node:fs";
import { request } from "node:https";
import type { NetworkNode } from "./network.ts";
import { type AnswerBody, API_VERSION, certificateOf, type Identity } from "./organisations.ts";

/** A feed that is open: what it said so far, and whether it has ended. */
export interface OpenFeed {
  readonly state: { readonly text: string; readonly ended: boolean };
  readonly stop: () => void;
}

/** Reads the feed of a node. */
export function follow(node: NetworkNode, by: Identity, headers: Readonly<Record<string, string>> = {}): OpenFeed {
  const state = { text: "", ended: false };
  const sent = request(
    `https://127.0.0.1:${node.clientPort}/gov/feed?${API_VERSION}`,
    {
      ...{ headers, agent: false, ca: readFileSync(node.serviceCertificate) },
      ...{ cert: certificateOf(by), key: readFileSync(by.keyFile) },
    },
    (response) => {
      response.on("data", (part: Buffer) => {
        state.text += part.toString();
      });
      response.on("close", () => {
        state.ended = true;
      });
    },
  );
  sent.on("error", () => {
    state.ended = true;
  });
  sent.end();
  return { state, stop: () => sent.destroy() };
}

/** An event of the feed. */
export interface Told {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: AnswerBody;
}

/** The events in the text of a feed. */
export function eventsOf(text: string): readonly Told[] {
  return text.split("\n\n").flatMap((block) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
    const data = field("data");
    return data === undefined ? [] : [{ id: field("id"), event: field("event"), data: JSON.parse(data) as AnswerBody }];
  });
}
