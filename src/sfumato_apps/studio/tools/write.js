/** Write: a text emerges after its beginning. */

import { createNotice } from "../core/notice.js";
import { createSettings, decodingOf } from "../core/settings.js";
import { collector, createStage } from "../core/stage.js";
import { keep, recall } from "../core/store.js";
import { h } from "../play/dom.js";
import { createShare } from "../share/menu.js";

const EXAMPLES = ["The Golden Curry is", "Near the river,", "Ты не"];
const FIELDS = ["steps", "order", "temperature", "top_p", "block", "length", "seed", "n"];

/** The tool. */
export function createWrite({ api, store, hand }) {
  const settings = createSettings("write", FIELDS);
  const stage = createStage(), notice = createNotice();
  let traces = [], chosen = 0, stopped = null, asked = null;

  const prompt = h("textarea", {
    class: "text prompt", rows: 1, dir: "auto", spellcheck: "false", id: "prompt", maxlength: 4000,
    "aria-label": "How the text begins; empty for a text from noise",
    placeholder: "How does it begin? Leave it empty to write from noise.",
    value: recall("prompt", ""), oninput: typed,
  });
  const examples = h("div", { class: "chips", "aria-label": "Beginnings to try" },
    EXAMPLES.map((one) => h("button", { onclick: () => begin(one) }, one)));
  const go = h("button", { class: "primary", onclick: () => (stopped ? stopped() : run()) });
  const again = h("button", { class: "quiet", onclick: () => compose() }, "Change the beginning");
  const strip = h("div", { class: "strip", role: "group", "aria-label": "Texts", hidden: true });
  const finished = h("p", { class: "unseen", "aria-live": "polite" });
  const share = createShare({ trace: () => traces[chosen], run: () => asked });
  const onwards = h("div", { class: "actions" },
    h("button", { class: "quiet", onclick: () => hand("edit", text()) }, "Edit it"),
    h("button", { class: "quiet", onclick: rank }, "Rank them"));
  const paper = h("div", { class: "paper" }, prompt, stage.text, finished, examples, stage.note);
  const row = h("div", { class: "row" }, go, again, h("span", { class: "space" }), onwards, share.node);
  const node = h("div", { class: "tool write" },
    h("section", { class: "sheet-of", "aria-label": "Text" },
      h("h1", { class: "unseen" }, "Write"), paper, notice.node, row, strip),
    h("aside", { "aria-label": "How to write" }, settings.node),
    stage.player.bar);

  const text = () => traces[chosen]?.end?.text ?? "";

  function state(name) {
    const composing = name === "compose", done = name === "done";
    prompt.hidden = !composing;
    examples.hidden = !composing || Boolean(prompt.value);
    strip.hidden = composing || traces.length < 2;
    for (const part of [stage.text, stage.note, stage.player.bar]) part.hidden = composing;
    for (const part of [again, onwards, share.node]) part.hidden = !done;
    onwards.lastChild.hidden = traces.length < 2;
    go.textContent = name === "busy" ? "Stop" : done ? "Write again" : "Write";
    go.classList.toggle("stop", name === "busy");
    node.dataset.state = name;
  }

  function typed() {
    keep("prompt", prompt.value);
    examples.hidden = Boolean(prompt.value);
    prompt.style.height = "auto";
    prompt.style.height = `${prompt.scrollHeight}px`;
  }

  function begin(value) {
    prompt.value = value;
    typed();
    run();
  }

  function compose() {
    stage.player.play(false);
    state("compose");
    typed();
    prompt.focus();
  }

  /** A new text of the same beginning has the next seed, unless the controls were moved. */
  function nextSeed(values) {
    const same = node.dataset.state === "done" && asked && JSON.stringify(asked.values) === JSON.stringify(values);
    if (same && asked.prompt === prompt.value) settings.set("seed", values.seed + values.n);
    return settings.values();
  }

  async function run() {
    const values = nextSeed(settings.values()), abort = new AbortController();
    asked = { kind: "write", prompt: prompt.value, values };
    const { n, seed, length } = values;
    const body = { model: "sfumato", prompt: asked.prompt, n, seed, max_tokens: length, ...decodingOf(values) };
    const stop = () => { abort.abort(); halted(); };
    const found = collector(asked.prompt, (index, trace, fresh) => changed(found.traces, index, fresh));
    stopped = stop;
    traces = [];
    chosen = 0;
    finished.textContent = "";
    state("busy");
    stage.text.replaceChildren(asked.prompt && h("span", { class: "locked" }, asked.prompt), " ",
      h("span", { class: "slot haze" }, h("span", { class: "word" }, "sfumato sono")));
    stage.player.bar.hidden = true;
    stage.note.textContent = "";
    const late = setTimeout(() => notice.queued(0, stop), 1200);
    try {
      await api.stream("/v1/completions", body, { signal: abort.signal,
        online: (line) => { clearTimeout(late); if (!traces.length) notice.clear(); found.line(line); },
        onqueued: (place) => { clearTimeout(late); notice.queued(place, stop); } });
      notice.clear();
      finished.textContent = `Written: ${text()}`;
      state("done");
    } catch (error) {
      halted();
      notice.failed(error, run);
    } finally {
      clearTimeout(late);
      stopped = null;
      go.textContent = node.dataset.state === "done" ? "Write again" : "Write";
      go.classList.remove("stop");
    }
  }

  function halted() {
    notice.clear();
    if (traces.some((one) => one?.end)) state("done");
    else state("compose"), typed();
  }

  function changed(all, index, fresh) {
    traces = all;
    if (fresh && index === chosen) stage.watch(traces[index], { run: true });
    else if (index === chosen) stage.grown();
    if (traces.length > 1) tabs();
  }

  function tabs() {
    strip.hidden = false;
    while (strip.children.length < traces.length) {
      const index = strip.children.length;
      strip.append(h("button", { onclick: () => choose(index) }, h("span", { dir: "auto" })));
    }
    while (strip.children.length > traces.length) strip.lastChild.remove();
    traces.forEach((trace, i) => {
      strip.children[i].firstChild.textContent = trace ? trace.end?.text ?? partial(trace) : "…";
      strip.children[i].setAttribute("aria-pressed", String(i === chosen));
    });
  }

  const partial = (trace) => trace.states.at(-1).map(({ piece }) => piece ?? " ·").join("").trim();

  function choose(index) {
    if (!traces[index]) return;
    chosen = index;
    stage.watch(traces[index], { from: 0, run: true });
    tabs();
  }

  function rank() {
    hand("rank", asked.prompt, traces.map((trace) => trace.end.text));
  }

  function key(event, { typing, chord }) {
    if (chord && event.key === "Enter") return stopped || run(), true;
    if (event.key === "Escape" && stopped) return stopped(), true;
    if (typing || chord || event.altKey || event.target.closest("button")) return false;
    if (/^[1-8]$/.test(event.key) && traces.length > 1) return choose(Number(event.key) - 1), true;
    return !stage.player.bar.hidden && event.target.type !== "range" && stage.player.key(event);
  }

  state("compose");
  store.on("model", (model) => share.of(model));
  store.on("takes", settings.only);
  return { node, key, enter: () => { if (node.dataset.state === "compose") typed(), prompt.focus(); },
    leave: () => stage.player.trace && stage.player.play(false),
    take: (value) => { prompt.value = value; compose(); } };
}
