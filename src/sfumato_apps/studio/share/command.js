/** The same run on the command line and in Python. */

/** A word for a shell: quoted where it has to be. */
export function quoted(word) {
  const text = String(word);
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A literal of Python: JSON's strings are among them, but for what lies outside the BMP. */
export function literal(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "string")
    return JSON.stringify(value).replaceAll("\u007f", "\\x7f").replace(/\p{Cs}/gu, escaped);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return String(value);
}

const escaped = (half) => `\\u${half.charCodeAt(0).toString(16)}`;
const DECODING = ["steps", "order", "temperature", "top_p", "block"];
const given = (values, names) =>
  names.filter((name) => values[name] !== undefined && !(name === "top_p" && values[name] === 1));

/**
 * A run: {kind: "write", prompt}, {kind: "fill", text} or {kind: "edit", text, spans}, with the
 * values of the controls and, if it is not the shipped model, the model.
 */
export function commandOf({ kind, prompt, text, spans, values, model = null }) {
  const words = ["sfumato", kind];
  if (kind === "write" && prompt) words.push("--prompt", prompt);
  if (kind !== "write") words.push(text);
  if (kind === "edit") for (const [start, stop] of spans ?? []) words.push("--span", `${start}:${stop}`);
  if (model) words.push("--model", model);
  for (const name of given(values, [...DECODING, "seed", "n"]))
    words.push(`--${name.replaceAll("_", "-")}`, values[name]);
  if (kind === "write" && values.length) words.push("--length", values.length);
  return words.map(quoted).join(" ");
}

/** The same as lines of Python. */
export function pythonOf({ kind, prompt, text, spans, values, model = null }) {
  const decoding = given(values, DECODING).map((name) => `${name}=${literal(values[name])}`);
  const free = kind === "write" ? ", block=8" : "";
  const asked = [];
  if (kind === "write" && prompt) asked.push(`prompt=${literal(prompt)}`);
  if (kind !== "write") asked.push(literal(text));
  if (kind === "edit") asked.push(`spans=${spans ? literal(spans).replaceAll("[", "(").replaceAll("]", ")") : "None"}`);
  if (kind === "write" && values.length) asked.push(`length=${values.length}`);
  asked.push(`n=${values.n}`, `seed=${values.seed}`, "policy=policy");
  return `import sfumato
from sfumato_apps.choices import Decoding
from sfumato_apps.policies import policy_of

model = sfumato.load(${model ? literal(model) : ""})
policy = policy_of(model, Decoding(${decoding.join(", ")})${free})
for one in sfumato.${kind}(model, ${asked.join(", ")}):
    print(one.text)
`;
}
