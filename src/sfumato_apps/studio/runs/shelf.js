/** The results beside the runs: which there are, which are shown, and how each looks. */

import { keep, recall } from "../core/store.js";
import { h } from "../play/dom.js";
import { chart } from "./chart.js";
import { short } from "./frame.js";
import { titleOf } from "./journal.js";
import { rowsOf, sweepOf } from "./result.js";
import { figures, frontier } from "./scatter.js";

const FRONTIER = "sfumato-frontier/1", PLAIN = new Set(["frontier.json", "report.json"]);
const keyOf = ({ run, file }) => `${run ?? ""}/${file}`;
const nameOf = ({ run, file }) => (run === null || run === undefined ? file : PLAIN.has(file) ? run : `${run}/${file}`);

/** Results: `list` for the side, `node` for the page; `look` asks the server and says whether there are any. */
export function createShelf({ api }) {
  const list = h("div", { class: "runs", role: "group", "aria-label": "Results" });
  const side = h("div", { class: "shelf", hidden: true }, h("h2", {}, "Results"), list);
  const node = h("div", { class: "results" });
  let found = null, picked = recall("results", null), held = new Map();

  async function look() {
    const { data } = await api.get("/v1/results");
    const same = JSON.stringify(data) === JSON.stringify(found);
    found = data;
    side.hidden = !data.length;
    if (!same) {
      if (!shown().length) picked = data.slice(0, 1).map(keyOf);
      boxes();
    }
    await read();
    return data.length > 0;
  }

  const shown = () => found.filter((one) => picked?.includes(keyOf(one)));

  /** Reads what is shown and has changed since it was read. */
  async function read() {
    const late = shown().filter((one) => held.get(keyOf(one))?.changed !== one.changed);
    for (const one of late) {
      const within = one.run === null ? "" : `?${new URLSearchParams({ run: one.run })}`;
      try {
        const content = await api.get(`/v1/results/${encodeURIComponent(one.file)}${within}`);
        held.set(keyOf(one), { changed: one.changed, content });
      } catch (error) {
        if (!error.status) throw error;
        held.set(keyOf(one), { changed: one.changed, wrong: error.message });
      }
    }
    if (late.length || node.children.length !== shown().length) draw();
  }

  function boxes() {
    list.replaceChildren(...found.map((one) => {
      const on = picked.includes(keyOf(one));
      const box = h("input", { type: "checkbox", onchange: () => pick(keyOf(one)) });
      box.checked = on;
      return h("label", { class: on ? "run c3" : "run" }, box, h("span", {}, nameOf(one)));
    }));
  }

  function pick(key) {
    picked = picked.includes(key) ? picked.filter((one) => one !== key) : [...picked, key];
    keep("results", picked);
    boxes();
    draw();
    read().catch(() => {}); // the next look says what is wrong
  }

  function draw() {
    node.replaceChildren(...shown().filter((one) => held.has(keyOf(one))).map((one) => {
      const { content, wrong } = held.get(keyOf(one));
      const parts = wrong ? [h("p", { class: "quietly" }, wrong)] : of(one, content);
      return h("section", { class: "result", "aria-label": nameOf(one) }, h("h3", {}, h("b", {}, nameOf(one)),
        content?.note ? ` · ${content.note}` : null), h("div", { class: "charts" }, parts));
    }));
  }

  return { side, node, look };
}

function of({ format }, content) {
  if (format === FRONTIER) return frontier(content);
  const sweep = sweepOf(content);
  if (sweep?.curves.size) return [...sweep.curves].map(([name, points]) =>
    chart(titleOf(name), [{ name: titleOf(name), colour: 0, points }], { axis: sweep.axis, named: true }));
  const { labels, rows } = rowsOf(content);
  const told = (cell) => (typeof cell?.value === "number"
    ? [h("b", {}, short(cell.value)), typeof cell.error === "number" && ` ± ${short(cell.error)}`] : "–");
  return [figures(["", ...labels], rows.map(({ name, cells }) => [titleOf(name), ...cells.map(told)]),
    String(content.title ?? "Report"))];
}
