/** Blind: two ways to write, side by side without names; which is better, and how sure is that. */

import { createNotice } from "../core/notice.js";
import { createSettings, decodingOf } from "../core/settings.js";
import { collector } from "../core/stage.js";
import { keep, recall } from "../core/store.js";
import { h } from "../play/dom.js";
import { createMeter } from "./meter.js";

const FIELDS = ["steps", "order", "temperature", "block"];
const PROMPTS = "The Golden Curry is\nNear the river,\nThe Eagle is a\nThe Wrestlers serves";
const PAUSE = 900; // ms that the names are seen after a vote

/** The mode: `node` for the page, `aside` for its controls. */
export function createBlind({ api, known }) {
  const ways = { a: createSettings("blind-a", FIELDS), b: createSettings("blind-b", FIELDS, { temperature: 1.2 }) };
  const notice = createNotice(), meter = createMeter();
  const prompts = h("textarea", { class: "prompts", rows: 5, id: "prompts", value: recall("prompts", PROMPTS),
    oninput: () => keep("prompts", prompts.value) });
  const asked = h("p", { class: "asked", dir: "auto" });
  const sides = [0, 1].map((i) => h("button", { class: "side", disabled: true, onclick: () => vote(i) }));
  const tie = h("button", { class: "quiet", disabled: true, onclick: () => vote(null) },
    "As good", h("kbd", {}, "↓"));
  const go = h("button", { class: "primary", onclick: () => (stopped ? stopped() : pair()) }, "Begin");
  const told = h("p", { class: "unseen", role: "status" });
  const node = h("div", { class: "blind" }, asked, h("div", { class: "sides" }, sides), notice.node,
    h("div", { class: "row" }, go, tie), meter.node, told);
  const aside = h("div", { class: "ways" },
    h("h2", {}, "A"), ways.a.node, h("h2", {}, "B"), ways.b.node,
    h("label", { class: "field", for: "prompts" }, "Beginnings, one a line"), prompts);
  sides.forEach(hazed);
  let shown = null, stopped = null, busy = false;
  for (const { node: panel, only } of Object.values(ways)) {
    panel.open = true;
    known.on("takes", only);
  }

  const nameOf = (way) => {
    const { steps, order, temperature, block } = ways[way].values();
    const blocks = block === undefined ? null : `blocks ${block}`;
    return [`${steps} steps`, order, `temperature ${temperature}`, blocks].filter(Boolean).join(", ");
  };
  const names = () => ({ a: nameOf("a"), b: nameOf("b") });

  async function one(way, prompt, seed, signal) {
    const body = { model: "sfumato", prompt, seed, max_tokens: 28, ...decodingOf(ways[way].values()) };
    const { traces, line } = collector(prompt, () => {});
    await api.stream("/v1/completions", body, { signal, online: line });
    return traces[0].end.text;
  }

  async function pair() {
    if (nameOf("a") === nameOf("b")) return notice.say("A and B are the same: change one of them.");
    const lines = prompts.value.split("\n").filter((line) => line.trim()), abort = new AbortController();
    const prompt = lines.length ? lines[Math.floor(Math.random() * lines.length)] : "";
    const seed = Math.floor(Math.random() * 1e6), order = Math.random() < 0.5 ? ["a", "b"] : ["b", "a"];
    notice.clear();
    stopped = () => { abort.abort(); wait(false); };
    wait(true);
    sides.forEach(hazed);
    asked.textContent = prompt ? "" : "From noise";
    try {
      const texts = {};
      for (const way of order) texts[way] = await one(way, prompt, seed, abort.signal);
      shown = { prompt, order, texts, names: names() };
      sides.forEach((side, i) => {
        side.className = "side";
        side.replaceChildren(h("p", { class: "mini", dir: "auto" }, ...spelled(prompt, texts[order[i]])),
          h("span", { class: "who" }, h("kbd", {}, i ? "→" : "←"), i ? " Right" : " Left"));
        side.setAttribute("aria-label", `${i ? "Right" : "Left"}: ${texts[order[i]]}`);
      });
      told.textContent = "Two texts are there. Which is better?";
    } catch (error) {
      notice.failed(error, pair);
    }
    wait(false);
  }

  function hazed(side, i) {
    const words = i ? "sono varum ne mora os nemesa um rao neva" : "varum nemesa os neva um sono rao mora ne";
    side.className = "side";
    side.setAttribute("aria-label", i ? "Right" : "Left");
    const haze = words.split(" ").flatMap((word, at) =>
      [at ? " " : null, h("span", { class: "slot haze" }, h("span", { class: "word" }, word))]);
    const text = h("p", { class: "mini", "aria-hidden": "true" }, haze);
    side.replaceChildren(text, h("span", { class: "who" }));
  }

  function wait(on) {
    busy = on;
    if (!on) stopped = null;
    go.textContent = on ? "Stop" : shown ? "Skip" : "Begin";
    go.classList.toggle("stop", on);
    node.classList.toggle("busy", on);
    for (const part of [...sides, tie]) part.disabled = on || !shown;
  }

  /** The beginning in grey, so that the eye goes to what was written. */
  function spelled(prompt, text) {
    const same = prompt && text.startsWith(prompt);
    return same ? [h("span", { class: "given" }, prompt), text.slice(prompt.length)] : [text];
  }

  async function vote(side) {
    if (!shown || busy) return;
    const { prompt, order, texts, names: called } = shown;
    const winner = side === null ? "tie" : order[side];
    shown = null;
    wait(true);
    sides.forEach((part, i) => {
      part.classList.add(side === i ? "won" : side === null ? "even" : "lost");
      part.lastChild.textContent = order[i].toUpperCase();
    });
    told.textContent = side === null ? "As good." : `${winner.toUpperCase()} was better.`;
    try {
      await api.post("/v1/judgements", { prompt, a: called.a, b: called.b, text_a: texts.a, text_b: texts.b, winner });
      await load();
      await new Promise((resume) => setTimeout(resume, PAUSE));
      await pair();
    } catch (error) {
      wait(false);
      notice.failed(error, pair);
    }
  }

  async function load() {
    const { a, b } = names();
    meter.show(await api.get(`/v1/judgements/summary?${new URLSearchParams({ a, b })}`));
  }

  function key(event, { typing, chord }) {
    if (typing || chord || event.altKey) return false;
    const side = { ArrowLeft: 0, ArrowRight: 1, ArrowDown: null }[event.key];
    if (side === undefined || !shown) return false;
    vote(side);
    return true;
  }

  return { node, aside, key, load: () => load().catch((error) => notice.failed(error, load)) };
}
