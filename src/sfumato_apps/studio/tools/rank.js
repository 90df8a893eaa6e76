/** Rank: candidates of a prompt in the order of their worth, texts or images; or blind, two ways to write. */

import { createNotice } from "../core/notice.js";
import { createSettings, decodingOf } from "../core/settings.js";
import { collector } from "../core/stage.js";
import { keep, recall } from "../core/store.js";
import { createCanvas } from "../play/canvas.js";
import { h } from "../play/dom.js";
import { createBlind } from "../rank/blind.js";
import { createKept } from "../rank/kept.js";
import { createList } from "../rank/list.js";
import { ordered, ranks } from "../rank/order.js";
import { createPictures } from "../rank/pictures.js";

const FIELDS = ["n", "temperature", "top_p", "steps", "block", "length", "seed"];
const identity = () => `c${Math.random().toString(36).slice(2, 10)}`;

/** The tool. */
export function createRank({ api, store: known }) {
  const settings = createSettings("rank", FIELDS, { n: 4, temperature: 0.9 });
  const notice = createNotice(), list = createList(changed);
  const others = { images: createPictures({ api }), blind: createBlind({ api, known }) };
  const kept = createKept({ api, again, failed: (error) => notice.failed(error, kept.load) });
  let draft = recall("draft", { prompt: "", items: [] }), stopped = null, canvases = new Map();

  const prompt = h("textarea", { class: "text prompt ask", rows: 1, dir: "auto", id: "ask", "aria-label": "Prompt",
    placeholder: "A beginning, or nothing", value: draft.prompt, maxlength: 4000,
    oninput: () => { grow(); hold({ ...draft, prompt: prompt.value }); } });
  const go = h("button", { class: "quiet", onclick: () => (stopped ? stopped() : run()) });
  const own = h("button", { class: "quiet", onclick: add }, "Add a text");
  const save = h("button", { class: "primary", onclick: store }, "Keep this order");
  const over = h("button", { class: "link", onclick: () => { show([]); prompt.focus(); } }, "Start over");
  const empty = h("p", { class: "empty" }, "Let the model write a few candidates, or add texts of your own. ",
    "Then bring them into order: drag them, or use ", h("kbd", {}, "⇧ ↑"), " ", h("kbd", {}, "⇧ ↓"), " and ",
    h("kbd", {}, "="), " for a tie.");
  const told = h("p", { class: "unseen", role: "status" });
  const modes = h("div", { class: "modes", role: "group", "aria-label": "Way of ranking" },
    [["order", "In order"], ["images", "Images"], ["blind", "Blind, two by two"]].map(([name, label]) =>
      h("button", { class: "quiet", data: { mode: name }, onclick: () => mode(name) }, label)));
  const one = h("div", {}, prompt, h("div", { class: "row" }, go, own, over), notice.node, empty, list.node,
    h("div", { class: "row keep" }, save), told);
  const aside = h("aside", { "aria-label": "How to write" });
  const node = h("div", { class: "tool rank" },
    h("section", { "aria-label": "Candidates" }, h("h1", { class: "unseen" }, "Rank"), modes, one,
      others.images.node, others.blind.node), aside);

  function mode(name) {
    keep("mode", name);
    node.dataset.mode = name;
    for (const button of modes.children) button.setAttribute("aria-pressed", String(button.dataset.mode === name));
    one.hidden = name !== "order";
    for (const [mine, other] of Object.entries(others)) other.node.hidden = mine !== name;
    aside.replaceChildren(...(name === "order" ? [settings.node, kept.node] : [others[name].aside]));
    if (name === "order") kept.load(), grow();
    else others[name].load();
  }

  function grow() {
    prompt.style.height = "auto";
    prompt.style.height = `${prompt.scrollHeight}px`;
  }

  /** The draft is kept in the browser until it is saved. */
  function hold(next) {
    draft = next;
    keep("draft", { ...draft, items: draft.items.filter(({ text }) => text) });
    const { items } = draft, whole = items.every(({ text }) => text);
    empty.hidden = items.length > 0;
    over.hidden = !items.length || Boolean(stopped);
    prompt.readOnly = items.length > 0; // candidates go on from it
    save.parentNode.hidden = items.length < 2;
    save.disabled = !whole || !ordered(items);
    save.title = save.disabled ? "Two places at least" : "Ctrl ↵";
    go.textContent = stopped ? "Stop" : items.length ? "Write more" : "Write candidates";
    go.className = items.length || stopped ? "quiet" : "primary";
  }

  function show(items, focus) {
    const written = new Set(items.filter(({ text }) => text).map(({ id }) => id));
    const live = (id) => (written.has(id) ? null : canvases.get(id)?.line);
    list.show(items, { focus, prompt: prompt.value, live });
    hold({ ...draft, items });
  }

  function changed(items, what) {
    show(items);
    told.textContent = what;
  }

  function add() {
    const field = h("textarea", { rows: 4, class: "code", id: "own", required: true, dir: "auto" });
    const label = `A candidate of your own${prompt.value && ": what follows the prompt"}`;
    const form = h("form", { method: "dialog", class: "inside", onsubmit: () => {
      const text = field.value.trim();
      if (text) show([...draft.items, item(prompt.value && !/\s$/.test(prompt.value) ? ` ${text}` : text)]);
    } }, h("label", { for: "own" }, label), field,
      h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Add"),
        h("button", { type: "button", class: "quiet", onclick: () => sheet.close() }, "Cancel")));
    const sheet = h("dialog", { class: "sheet small", onclose: () => sheet.remove() }, form);
    document.body.append(sheet);
    sheet.showModal();
  }

  const item = (text, id = identity()) => ({ id, text, tied: false });

  async function run() {
    const values = settings.values(), abort = new AbortController(), ids = Array.from({ length: values.n }, identity);
    const { n, seed, length } = values;
    const body = { model: "sfumato", prompt: prompt.value, n, seed, max_tokens: length, ...decodingOf(values) };
    const found = collector(prompt.value, (index, trace, fresh) => written(ids[index], trace, fresh));
    const stop = () => { abort.abort(); notice.clear(); };
    stopped = stop;
    hold(draft);
    try {
      await api.stream("/v1/completions", body, { signal: abort.signal,
        online: (line) => { notice.clear(); found.line(line); }, onqueued: (place) => notice.queued(place, stop) });
      settings.set("seed", seed + n);
    } catch (error) {
      notice.failed(error, run);
    } finally {
      stopped = null;
      show(draft.items.filter(({ text }) => text));
      told.textContent = `${draft.items.length} candidates.`;
    }
  }

  function written(id, trace, fresh) {
    if (fresh) {
      const line = h("p", { class: "mini", dir: "auto", "aria-hidden": "true" });
      canvases.set(id, { line, canvas: createCanvas(line) });
      canvases.get(id).canvas.lay(trace);
      show([...draft.items, { id, text: "", tied: false }]);
    }
    canvases.get(id).canvas.paint(trace.steps.length);
    if (!trace.end) return;
    show(draft.items.map((one) => (one.id === id ? { ...one, text: after(prompt.value, trace.end.text) } : one)));
  }

  /** What follows the prompt: alignment reads prompt and completion apart. */
  const after = (asked, text) => (text.startsWith(asked) ? text.slice(asked.length) : text);

  async function store() {
    const { items } = draft, completions = items.map(({ text }) => text);
    const record = { prompt: prompt.value, completions, ranks: ranks(items) };
    save.disabled = true;
    try {
      await api.post("/v1/preferences", record);
      show([]);
      told.textContent = "Kept.";
      await kept.load();
    } catch (error) {
      hold(draft);
      notice.failed(error, store);
    }
  }

  function again({ prompt: asked, completions, ranks: places }) {
    const order = completions.map((text, i) => ({ ...item(text), place: places[i] })).sort((a, b) => a.place - b.place);
    prompt.value = asked;
    draft = { ...draft, prompt: asked };
    grow();
    show(order.map(({ id, text, place }, i) => ({ id, text, tied: i > 0 && order[i - 1].place === place })));
  }

  function key(event, { typing, chord }) {
    const other = others[node.dataset.mode];
    if (other) return other.key(event, { typing, chord });
    if (chord && event.key === "Enter") {
      if (!save.parentNode.hidden && !save.disabled) store();
      else if (!stopped) run();
      return true;
    }
    if (event.key === "Escape" && stopped) return stopped(), true;
    if (typing || chord || event.altKey) return false;
    const first = list.node.querySelector("li");
    if (event.key !== "ArrowDown" || !first || event.target.closest("button, a, li")) return false;
    return first.focus(), true;
  }

  known.on("takes", settings.only);
  show(draft.items);
  const enter = () => mode([recall("mode", "order")].find((name) => name in others) ?? "order");
  return { node, key, enter, take: (asked, texts) => {
    prompt.value = asked;
    draft = { ...draft, prompt: asked };
    mode("order");
    show(texts.map((text) => item(after(asked, text))));
  } };
}
