import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { describe, test } from "node:test";
import { NewestConnections } from "./newest-connections.ts";

class Connection extends EventEmitter {
  ended = 0;

  destroy(): void {
    this.ended++;
  }
}

describe("connections that are to become channels", () => {
  test("are one of each peer: a newer one ends the older, whose end changes nothing for the newer", () => {
    const connections = new NewestConnections();
    const [first, second, third, other] = [new Connection(), new Connection(), new Connection(), new Connection()];
    connections.take("peer", first);
    connections.take("other", other);
    connections.take("peer", second);
    first.emit("close");
    connections.take("peer", third);
    assert.deepEqual([first.ended, second.ended, third.ended, other.ended], [1, 1, 0, 0]);
  });

  test("are left alone once they are channels, or gone", () => {
    const connections = new NewestConnections();
    const [channel, gone, last] = [new Connection(), new Connection(), new Connection()];
    connections.take("peer", channel);
    connections.release("peer", channel);
    connections.take("peer", gone);
    gone.emit("close");
    connections.take("peer", last);
    assert.deepEqual([channel.ended, gone.ended, last.ended], [0, 0, 0]);
  });
});
