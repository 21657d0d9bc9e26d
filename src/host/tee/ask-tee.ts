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

/** Who opens a node's keys on disk, by what seals them. */
const KEEPING: Readonly<Record<NodeTee["sealedBy"], readonly [level: "info" | "warn", message: string]>> = {
  enclave: ["info", "keys are sealed to the enclave: no other code and no other machine opens them"],
  signer: ["warn", "keys are sealed to the enclave's signer: whatever code that one signs opens them on this machine"],
  "machine key file": [
    "warn",
    "keys are in a file that this machine's operator can read: whoever reads the machine key file reads them",
  ],
};

/** Says in the log which TEE the node runs on, what that does not give, and who can read the node's keys on disk. */
export function tellTee({ tee, code, sealedBy, flags = [] }: NodeTee, tracer: Tracer): void {
  tracer.event("info", "tee", { tee, measurement: code.measurement, sealedBy });
  const message = WEAKNESS[tee];
  if (message !== undefined) tracer.event("warn", `${tee}_tee`, { message });
  const measured =
    "these flags, variables and folders of Node.js are measured: without them, or with members' approval, the code counts";
  if (flags.length > 0) tracer.event("warn", "flags_measured", { flags: flags.join(" "), message: measured });
  const [level, keeping] = KEEPING[sealedBy];
  tracer.event(level, "node_keys", { sealedBy, message: keeping });
}
