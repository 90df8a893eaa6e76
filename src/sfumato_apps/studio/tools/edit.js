/** Edit: what is selected may change, everything else is locked. */

import { createNotice } from "../core/notice.js";
import { createSettings, decodingOf } from "../core/settings.js";
import { collector, createStage } from "../core/stage.js";
import { keep, recall } from "../core/store.js";
import { changes, createCards } from "../edit/cards.js";
import { diff } from "../edit/diff.js";
import { createHistory } from "../edit/history.js";
import { bracedOf, filled, intact, meant, partsOf, spansOf, withMark, without, wordsIn } from "../edit/marks.js";
import { createSurface } from "../edit/surface.js";
import { h } from "../play/dom.js";
import { createShare } from "../share/menu.js";

const EXAMPLE = "The Eagle is a purple coffee shop near the river. It has a low customer rating.";
const FIELDS = ["steps", "order", "temperature", "top_p", "seed", "n"];

/** The tool. */
export function createEdit({ api, store }) {
  const settings = createSettings("edit", FIELDS, { n: 3, temperature: 0.8 });
  const history = createHistory({ text: recall("edit", EXAMPLE), marks: [] });
  const stage = createStage(), notice = createNotice();
  const surface = createSurface({ typed, moved: refresh });
  const cards = createCards({ use, watch });
  let lock = false, stopped = null, results = [], traces = [], asked = null, first = history.state.text;

  const tool = (label, key, act, title) => h("button", { class: "quiet", title, onclick: act,
    onpointerdown: (event) => event.preventDefault() }, label, key && h("kbd", {}, key));
  const bar = {
    rewrite: tool("Rewrite", "R", () => mark("rewrite"), "Open the selection: it is written anew"),
    hole: tool("Hole", "H", () => mark("hole"), "A hole at the selection or the cursor"),
    remove: tool("Delete", "D", remove, "Take the selection out"),
    undo: tool("Undo", null, () => step("undo"), "Ctrl Z"),
    redo: tool("Redo", null, () => step("redo"), "Ctrl ⇧ Z"),
    changes: tool("Changes", null, compare, "What has changed since it was typed"),
  };
  const tools = h("div", { class: "bar", role: "toolbar", "aria-label": "Selection" }, Object.values(bar));
  const lockText = h("span", { id: "lock" });
  const unlock = h("button", { class: "link", onclick: type });
  const lockIcon = h("span", { class: "lockicon", "aria-hidden": "true" });
  const status = h("p", { class: "lockline" }, lockIcon, lockText, unlock);
  const open = h("ul", { class: "opened", "aria-label": "Open places" });
  const compared = h("p", { class: "text compared", dir: "auto", hidden: true });
  const go = h("button", { class: "primary", onclick: () => (stopped ? stopped() : run()) });
  const back = h("button", { class: "quiet", onclick: close }, "Back to the text");
  const share = createShare({ trace: () => stage.player.trace, run: () => asked });
  const told = h("p", { class: "unseen", "aria-live": "polite" });
  const paper = h("div", { class: "paper" }, surface.node, compared, stage.text, stage.note);
  const node = h("div", { class: "tool edit" },
    h("section", { "aria-label": "Text" }, h("h1", { class: "unseen" }, "Edit"), tools, paper, status, open,
      notice.node, h("div", { class: "row" }, go, back, h("span", { class: "space" }), share.node), cards.node, told),
    h("aside", { "aria-label": "How to write" }, settings.node), stage.player.bar);

  function refresh() {
    const { text, marks } = history.state, [from, to] = surface.selection();
    const any = marks.length > 0, words = wordsIn(text);
    const openWords = marks.reduce((sum, { start, stop }) => sum + wordsIn(text.slice(start, stop)), 0);
    for (const [name, off] of Object.entries({ undo: !history.canUndo, redo: !history.canRedo,
      rewrite: !text, hole: !text, remove: from === to, changes: first === text || !first }))
      bar[name].disabled = off;
    lockText.textContent = lock ? `${words - openWords} of ${words} words are locked.`
      : "Select words, then open them: the rest will be locked.";
    unlock.textContent = lock ? (any ? "Close all and type" : "Type") : text ? "Lock the text" : "";
    status.classList.toggle("on", lock);
    const { n } = settings.values(), ways = n > 1 ? `Write ${n} ways` : "Write";
    if (!stopped) go.textContent = any ? ways : "Find what does not fit";
    go.disabled = !text.trim() || (latent() && !any); // finding needs a model that edits
  }

  function show() {
    const { text, marks } = history.state;
    if (marks.length) lock = true;
    surface.show(history.state, lock);
    open.replaceChildren(...marks.map((mark) => opened(text, mark)));
    compared.hidden = true;
    surface.node.hidden = false;
    bar.changes.setAttribute("aria-pressed", "false");
    keep("edit", text);
    refresh();
  }

  function opened(text, mark) {
    const shut = h("button", { class: "shut-it", "aria-label": "Close this place", onclick: () =>
      change({ text, marks: history.state.marks.filter((one) => one !== mark) }) }, "×");
    const words = mark.start === mark.stop ? "an insertion" : `“${text.slice(mark.start, mark.stop)}”`;
    if (mark.kind === "rewrite") return h("li", {}, h("b", {}, "rewrite"), h("span", { class: "quote" }, words), shut);
    const sized = () => {
      const most = Math.max(1, Math.min(64, Math.round(slots.valueAsNumber))) || null;
      const marks = history.state.marks.map((one) => (one === mark ? { ...mark, slots: most } : one));
      change({ text, marks });
    };
    const slots = h("input", { type: "number", min: 1, max: 64, placeholder: "any", value: mark.slots ?? "",
      "aria-label": "Tokens at most; empty for any length", onchange: sized });
    return h("li", {}, h("b", {}, "hole"), h("span", { class: "quote" }, words), slots, h("small", {}, "tokens"), shut);
  }

  function typed(text) {
    first = text;
    history.push({ text, marks: [] }, { typing: true });
    show();
  }

  function change(state) {
    if (node.dataset.state !== "text") close();
    history.push(state);
    show();
  }

  function mark(kind) {
    const { text, marks } = history.state, place = meant(text, ...surface.selection(), kind);
    surface.field.focus();
    if (!place) return;
    lock = true;
    const [start, stop] = place, slots = kind === "hole" ? 6 : null;
    change({ text, marks: withMark(marks, { start, stop, kind, slots }) });
    told.textContent = `${kind}: ${text.slice(...place) || "an insertion"}`;
    surface.field.setSelectionRange(place[1], place[1]);
    refresh();
  }

  function remove() {
    const { text } = history.state, place = meant(text, ...surface.selection(), "rewrite");
    if (!place) return;
    change({ text: without(text, ...place), marks: [] });
    surface.field.focus();
    surface.field.setSelectionRange(place[0], place[0]);
    refresh();
  }

  function step(which) {
    if (node.dataset.state !== "text") close();
    history[which]();
    show();
  }

  function type() {
    const { text, marks } = history.state;
    lock = !lock;
    if (marks.length) history.push({ text, marks: [] });
    show();
    surface.field.focus();
  }

  function compare() {
    const on = compared.hidden;
    compared.hidden = !on;
    surface.node.hidden = on;
    bar.changes.setAttribute("aria-pressed", String(on));
    compared.replaceChildren(...changes(diff(first, history.state.text)));
  }

  function state(name) {
    const text = name === "text";
    node.dataset.state = name;
    for (const part of [surface.node, open, status]) part.hidden = !text;
    for (const part of [stage.text, stage.note, stage.player.bar]) part.hidden = text;
    for (const part of [back, share.node]) part.hidden = name !== "done";
    compared.hidden = true;
    go.textContent = name === "busy" ? "Stop" : "Write again";
    go.classList.toggle("stop", name === "busy");
    if (text) show();
  }

  /** Back from the alternatives to the text. */
  function close() {
    if (stage.player.trace) stage.player.play(false);
    cards.clear();
    notice.clear();
    state("text");
  }

  function request({ text, marks }, values) {
    const { n, seed } = values, common = { model: "sfumato", n, seed, ...decodingOf(values) };
    if (!marks.length) return ["/v1/edit", { ...common, text, spans: null }];
    if (filling(marks)) return ["/v1/infill", { ...common, parts: partsOf(text, marks) }];
    return ["/v1/edit", { ...common, text, spans: spansOf(text, marks) }];
  }

  /** Latent models fill and do not edit: what is to be rewritten is a hole for them. */
  const latent = () => store.get("kind") === "latent";
  const filling = (marks) => marks.length > 0 && (latent() || marks.some(({ kind }) => kind === "hole"));

  function runOf({ text, marks }, values) {
    if (filling(marks)) return { kind: "fill", text: bracedOf(text, marks), values };
    return { kind: "edit", text, spans: marks.length ? spansOf(text, marks) : null, values };
  }

  async function run() {
    if (node.dataset.state === "done") settings.set("seed", settings.values().seed + settings.values().n);
    const source = history.state, values = settings.values(), abort = new AbortController();
    const [path, body] = request(source, values);
    const found = collector(source.text, (index, trace, fresh) => grown(source, index, trace, fresh));
    const halt = () => { abort.abort(); close(); };
    asked = runOf(source, values);
    stopped = halt;
    results = [];
    traces = found.traces;
    cards.clear();
    state("busy");
    stage.player.bar.hidden = true;
    stage.text.replaceChildren(...marked(source).flat());
    const late = setTimeout(() => notice.queued(0, halt), 1200);
    try {
      const done = await api.stream(path, body, { signal: abort.signal,
        online: (line) => { clearTimeout(late); if (!traces.length) notice.clear(); found.line(line); },
        onqueued: (place) => { clearTimeout(late); notice.queued(place, halt); } });
      results = done.choices;
      notice.clear();
      state("done");
      told.textContent = `${results.length} alternatives are there.`;
    } catch (error) {
      close();
      notice.failed(error, run);
    } finally {
      clearTimeout(late);
      stopped = null;
      refresh();
      if (node.dataset.state === "done") go.textContent = "Write again";
      go.classList.remove("stop");
    }
  }

  const boxed = (piece) => [piece.match(/^\s*/)[0], piece.trim() && h("span", { class: "locked" }, piece.trim()),
    piece.trim() && piece.match(/\s*$/)[0]];
  const marked = ({ text, marks }) => (marks.length ? partsOf(text, marks).map(({ text: piece }) =>
    (piece === undefined ? h("span", { class: "slot haze" }, h("span", { class: "word" }, "sono varum"))
      : boxed(piece))) : boxed(text));

  function grown({ text, marks }, index, trace, fresh) {
    cards.grown(index, trace, fresh);
    if (fresh && index === 0) watch(0);
    else if (stage.player.trace === trace) stage.grown();
    if (!trace.end) return;
    const unharmed = marks.length === 0 || intact(text, marks, trace.end.text);
    cards.finished(index, segmentsOf(text, marks, trace), unharmed);
  }

  /** The changes as the new text spells them; the two may differ in a space. */
  function spelled(text, marks, trace) {
    const found = segmentsOf(text, marks, trace);
    const whole = found.filter(({ kind }) => kind !== "removed").map((one) => one.text).join("");
    return whole === trace.end.text ? found : diff(text, trace.end.text);
  }

  const segmentsOf = (text, marks, trace) =>
    (marks.length ? filled(text, marks, trace) : null) ?? diff(text, trace.end.text);

  function watch(index) {
    if (!traces[index]) return;
    stage.watch(traces[index], { run: true });
    stage.player.bar.hidden = false;
    cards.watched(index);
  }

  function use(index) {
    const { text, marks } = history.state, after = traces[index].end.text;
    lock = true;
    const fresh = diff(text, after).some(({ kind }) => kind !== "kept") ? spelled(text, marks, traces[index]) : [];
    history.push({ text: after, marks: [], fresh });
    close();
    surface.field.focus();
    told.textContent = "The text is replaced. Undo brings the old one back.";
  }

  function key(event, { chord }) {
    const inText = event.target === surface.field, other = event.target.closest("input, select, dialog") && !inText;
    if (chord && event.key === "Enter") return go.disabled || stopped || run(), true;
    if (event.key === "Escape") return escape();
    if (chord && !other && event.key.toLowerCase() === "z") return step(event.shiftKey ? "redo" : "undo"), true;
    if (chord || event.altKey || other || (inText && !lock)) return false;
    const act = { r: () => mark("rewrite"), h: () => mark("hole"), d: remove }[event.key.toLowerCase()];
    if (act && node.dataset.state === "text") return act(), true;
    if (node.dataset.state !== "done" || event.target.closest("button")) return false;
    if (/^[1-8]$/.test(event.key) && Number(event.key) <= cards.size) return watch(Number(event.key) - 1), true;
    return event.target.type !== "range" && stage.player.key(event);
  }

  function escape() {
    if (stopped) stopped();
    else if (node.dataset.state === "done") close();
    else if (lock) type();
    else return false;
    return true;
  }

  state("text");
  store.on("model", (model) => share.of(model));
  store.on("takes", settings.only);
  store.on("kind", refresh);
  return { node, key, enter: () => surface.fit(), leave: () => stage.player.trace && stage.player.play(false),
    take: (text) => { first = text; lock = false; history.push({ text, marks: [] }); close(); } };
}
