/** The TEE of a node as the enclave asks it, and what its operator is told of it. */
import type { TeeName } from "../../core/governance/manifest-entries.ts";
import type { AskTee, Tracer } from "../../enclave/ports.ts";
import { CocoError } from "../../errors.ts";
import type { NodeTee } from "./node-tee.ts";

/** The port of a TEE. */
export function askTeeOf({ attest }: Pick<NodeTee, "attest">): AskTee {
  return (reportData, done) => {
    attest(reportData).then(done, (error: unknown) => {
      if (!(error instanceof CocoError)) throw error;
      done(new CocoError("AttestationFailed", error.message, { ...error.data }, { cause: error }));
    });
  };
}

const WEAKNESS: Partial<Readonly<Record<TeeName, string>>> = {
  virtual: "the virtual TEE says which code runs here: identity, not isolation from whoever controls the machine",
  vsm: "the node itself runs outside the enclave: whoever controls the machine reads its memory",
};

/** Says in the log which TEE the node runs on, and what that does not give. */
export function tellTee({ tee, code, sealedBy, flags = [] }: NodeTee, tracer: Tracer): void {
  tracer.event("info", "tee", { tee, measurement: code.measurement, sealedBy });
  const message = WEAKNESS[tee];
  if (message !== undefined) tracer.event("warn", `${tee}_tee`, { message });
  const measured = "these flags of Node.js are measured: members have to approve the code with them, or it is refused";
  if (flags.length > 0) tracer.event("warn", "flags_measured", { flags: flags.join(" "), message: measured });
  if (sealedBy !== "machine key file") return;
  const sealing = `${tee} does not seal: whoever reads the machine key file reads this node's keys, so keep it where only the TEE can`;
  tracer.event("warn", "tee_does_not_seal", { message: sealing });
}
