/** The controls of how texts are written, and their values. */

import { h } from "../play/dom.js";
import { keep, recall } from "./store.js";

const ORDERS = [
  ["max_prob", "surest first"],
  ["margin", "clearest first"],
  ["entropy", "least open first"],
  ["random", "at random"],
  ["left_to_right", "left to right"],
];
const FIELDS = {
  steps: { label: "Steps", usual: 32, min: 1, max: 128, step: 1, about: "denoising steps" },
  order: { label: "Order", usual: "max_prob", options: ORDERS, about: "which words settle first" },
  temperature: { label: "Temperature", usual: 0.6, min: 0, max: 1.5, step: 0.05,
    about: "0 takes the likeliest word" },
  top_p: { label: "Top p", usual: 0.95, min: 0.05, max: 1, step: 0.05,
    about: "share of the likeliest words" },
  block: { label: "Blocks", usual: 8, min: 0, max: 64, step: 1, about: "0: the whole canvas at once" },
  length: { label: "Length", usual: 28, min: 1, max: 96, step: 1, about: "tokens at most" },
  seed: { label: "Seed", usual: 1, min: 0, max: 2 ** 31 - 1, step: 1, free: true,
    about: "the same seed, the same text" },
  n: { label: "Texts", usual: 1, min: 1, max: 8, step: 1, about: "written side by side" },
};

const DECODING = new Set(["steps", "order", "temperature", "top_p", "block"]); // not every model takes all

/**
 * A panel of controls whose values are kept in the browser.
 * @param {string} name under which they are kept
 * @param {string[]} fields which of the controls
 * @param {Object<string, any>} [usual] values at first, instead of the usual ones
 * @returns {{node: HTMLElement, values: function(): Object, set: function, only: function, summary: function}}
 */
export function createSettings(name, fields, usual = {}) {
  const first = Object.fromEntries(fields.map((one) => [one, usual[one] ?? FIELDS[one].usual]));
  const values = { ...first }, shown = {}, kept = recall(name, {});
  let taken = null;
  for (const one of fields) if (valid(one, kept[one])) values[one] = kept[one];

  function set(field, value) {
    if (!valid(field, value)) return shown[field](values[field]);
    values[field] = value;
    shown[field](value);
    brief.textContent = summary();
    keep(name, values);
  }

  /** Leaves the controls that a model takes, of those that say how it writes; all if that is not known. */
  function only(names) {
    taken = names;
    fields.forEach((field, i) => { rows[i].hidden = !used(field); });
  }

  const used = (field) => !taken || !DECODING.has(field) || taken.includes(field);
  const summary = () => [
    values.steps && `${values.steps} steps`,
    values.temperature !== undefined && `temperature ${values.temperature}`,
    values.n > 1 && `${values.n} texts`,
  ].filter(Boolean).join(" · ");
  const brief = h("span", { class: "brief" }, summary());
  const rows = fields.map((field) => row(name, field, (value) => set(field, value), shown));
  const usualAgain = () => fields.forEach((field) => set(field, first[field]));
  const again = h("button", { class: "link", onclick: usualAgain }, "Usual values");
  const node = h("details", { class: "settings", open: matchMedia("(min-width: 60rem)").matches },
    h("summary", {}, h("span", {}, "How to write"), brief),
    h("div", { class: "fields" }, rows, again));
  fields.forEach((field) => shown[field](values[field]));
  const given = () => Object.fromEntries(fields.filter(used).map((field) => [field, values[field]]));
  return { node, values: given, set, only, summary };
}

/** The fields of a request from the values of the controls. */
export function decodingOf(values) {
  const { steps, order, temperature, top_p, block } = values;
  const given = { steps, order, temperature, top_p: top_p === 1 ? undefined : top_p, block };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function valid(field, value) {
  const { options, min, max, step } = FIELDS[field];
  if (options) return options.some(([name]) => name === value);
  return typeof value === "number" && value >= min && value <= max
    && (step < 1 || Number.isInteger(value));
}

function row(name, field, change, shown) {
  const { label, options, about, min, max, step, free } = FIELDS[field];
  const id = `${name}-${field}`, seen = field === "block";
  const tell = h("small", { id: `${id}-about`, class: seen ? null : "unseen" }, about);
  const known = { id, "aria-describedby": `${id}-about` };
  const read = (event) => change(Number(event.target.value));
  if (options) {
    const choices = options.map(([value, text]) => h("option", { value }, text));
    const pick = h("select", { ...known, onchange: (event) => change(event.target.value) }, choices);
    shown[field] = (value) => { pick.value = value; };
    return h("div", { class: "field", title: about }, h("label", { for: id }, label), pick, tell);
  }
  const limits = { min, max, step };
  const number = h("input", { ...known, type: "number", inputmode: "decimal", ...limits, onchange: read });
  const slide = free ? dice(max, change)
    : h("input", { type: "range", ...limits, tabindex: -1, "aria-label": label, oninput: read });
  shown[field] = (value) => {
    number.value = value;
    if (!free) slide.value = value;
  };
  const kind = free ? "field free" : "field";
  return h("div", { class: kind, title: about }, h("label", { for: id }, label), number, slide, tell);
}

function dice(max, change) {
  const roll = () => change(Math.floor(Math.random() * Math.min(max, 9999)) + 1);
  const label = "Another seed";
  return h("button", { class: "dice", "aria-label": label, title: label, onclick: roll });
}
