/** A journal's entries as curves and samples. Pure. */

const TITLES = {
  loss: "Loss",
  eval_elbo_nats_per_token: "ELBO bound, nats a token",
  eval_elbo_bits_per_byte: "ELBO bound, bits a byte",
  eval_loss: "Held-out loss",
  learning_rate: "Learning rate",
  grad_norm: "Gradient norm",
};
const FIRST = ["loss", "eval_elbo_nats_per_token"];
const LEFT_OUT = new Set(["step", "epoch", "total_flos"]);

/** What a curve is called. */
export const titleOf = (name) => TITLES[name] ?? name.replace(/^eval_/, "held-out ").replaceAll("_", " ");

/** Every number that was logged over steps: name → points [step, value], each name's in order. */
export function curvesOf(entries) {
  const found = new Map();
  for (const entry of entries) {
    if (entry === null) continue; // a line that could not be read
    if (entry.kind !== "train" && entry.kind !== "valid") continue;
    for (const [name, value] of Object.entries(entry)) {
      if (LEFT_OUT.has(name) || name.endsWith("runtime") || name.endsWith("per_second")) continue;
      if (typeof value === "number" && Number.isFinite(value))
        found.set(name, [...(found.get(name) ?? []), [entry.step, value]]);
    }
  }
  return new Map([...found].filter(([, points]) => points.length > 1));
}

/** Names of the curves of several runs: loss and bound first, then the others as they were met. */
export function namesOf(all) {
  const names = new Set(all.flatMap((curves) => [...curves.keys()]));
  return [...FIRST.filter((name) => names.has(name)), ...[...names].filter((name) => !FIRST.includes(name))];
}

/** What the model wrote while it learnt, by prompt, in the order of the steps. */
export function samplesOf(entries) {
  const found = new Map();
  for (const { kind, step, prompt = "", text } of entries.filter(Boolean))
    if (kind === "sample" && typeof text === "string")
      found.set(prompt, [...(found.get(prompt) ?? []), { step, text }]);
  return found;
}
