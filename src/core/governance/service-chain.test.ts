import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO, GovernedNetwork, idOf, refusal, votersOf } from "../../../test/support/governed-network.ts";
import { simulatedService } from "../../../test/simulation/simulated-crypto.ts";
import { MAX_SERVICES, nextServices, serviceCertificateOf, type ServiceState } from "./service-chain.ts";

describe("the chain of service identities", () => {
  test("grows when a node or an actor loses access, and only then", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    assert.deepEqual([network.state.services.length, network.state.serviceRotationDue], [1, false]);
    network.decide({ name: "open_epoch", args: {} });
    assert.deepEqual([network.state.epochDue, network.state.serviceRotationDue], [true, false]);
    network.execute(network.epoch());
    assert.equal(network.state.services.length, 1);
    network.changeNodes([0, 1, 2, 3]);
    assert.equal(network.state.serviceRotationDue, false, "who comes takes nothing away");
    network.changeNodes([0, 1]);
    assert.equal(network.state.serviceRotationDue, true);
    network.decide({ name: "open_epoch", args: {} });
    assert.equal(network.state.serviceRotationDue, true, "another vote before the epoch does not undo it");
  });

  test("rotates in the epoch after the removed node has lost its vote, not before", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([0, 1]);
    const before = serviceCertificateOf(network.state);
    assert.throws(() => network.execute(network.epoch()), refusal("VotersNotListed"));
    const [all, two] = [votersOf([0, 1, 2].map(idOf)), votersOf([0, 1].map(idOf))];
    network.execute({ type: "configure", current: two, previous: all, learners: [] });
    assert.throws(() => network.execute(network.epoch()), refusal("VotersNotListed"));
    network.execute({ type: "configure", current: two, previous: undefined, learners: [] });
    const { firstSeqno } = network.place;
    network.execute(network.epoch());
    const { services, serviceRotationDue } = network.state;
    assert.equal(serviceRotationDue, false);
    assert.notDeepEqual(serviceCertificateOf(network.state), before);
    assert.deepEqual(
      services.map((service) => [service.fromSeqno, service.endorsement === undefined]),
      [
        [1 + 2, true],
        [firstSeqno, false],
      ],
    );
    assert.deepEqual(services[0]?.certificate, before);
  });

  test("keeps the newest, and what ties the oldest of them to the one that left", () => {
    let state: ServiceState = { services: [], serviceRotationDue: false };
    const endorsements = [];
    for (let at = 0; at < MAX_SERVICES + 3; at++) {
      const offered = simulatedService(state);
      endorsements.push(offered.endorsement);
      state = { services: nextServices(state, offered, 1 + at, GOVERNANCE_CRYPTO), serviceRotationDue: true };
    }
    assert.equal(state.services.length, MAX_SERVICES);
    assert.deepEqual(
      state.services.map(({ fromSeqno }) => fromSeqno),
      Array.from({ length: MAX_SERVICES }, (_, at) => 4 + at),
    );
    assert.deepEqual(state.services[0]?.endorsement, endorsements[3]);
    assert.ok(endorsements[3]);
  });

  test("begins with a certificate alone", () => {
    const none: ServiceState = { services: [], serviceRotationDue: false };
    const offered = simulatedService(none);
    const crossed = { ...offered, endorsement: offered.serviceCertificate };
    assert.throws(() => nextServices(none, crossed, 1, GOVERNANCE_CRYPTO), refusal("ServiceEndorsement"));
    assert.equal(nextServices(none, offered, 1, GOVERNANCE_CRYPTO).length, 1);
  });
});
