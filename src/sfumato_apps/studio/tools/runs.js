/** Runs: what trainings wrote into their journals, while they go on; and what was measured of models. */

import { createNotice } from "../core/notice.js";
import { keep, recall } from "../core/store.js";
import { h } from "../play/dom.js";
import { chart } from "../runs/chart.js";
import { curvesOf, namesOf, samplesOf, titleOf } from "../runs/journal.js";
import { createShelf } from "../runs/shelf.js";

const EVERY = 3000, MOST = 4; // ms between two looks; runs side by side

/** The tool. */
export function createRuns({ api }) {
  const notice = createNotice(), journals = new Map(), shelf = createShelf({ api });
  const list = h("div", { class: "runs", role: "group", "aria-label": "Runs" });
  const charts = h("div", { class: "charts" }), samples = h("div", { class: "samples" });
  const empty = h("div", { class: "empty", hidden: true }, h("h2", {}, "No runs here yet"),
    h("p", {}, "A training that writes its folder where the server looks shows up by itself:"),
    h("p", {}, h("code", {}, "sfumato train --data stories.jsonl --out runs/stories --minutes 15")));
  const more = h("select", { "aria-label": "Another curve", onchange: () => { keep("curve", more.value); draw(); } });
  const node = h("div", { class: "tool see" },
    h("section", { "aria-label": "Curves and samples" },
      h("h1", { class: "unseen" }, "Runs"), notice.node, empty, charts, shelf.node, samples),
    h("aside", { "aria-label": "Which runs" }, h("div", { class: "trainings" },
      h("h2", {}, "Runs"), list, h("label", { class: "another" }, "Third curve", more)), shelf.side));
  let names = null, picked = recall("runs", []), timer = 0, here = false;

  async function look() {
    clearTimeout(timer);
    try {
      const { data } = await api.get("/v1/runs");
      const found = data.map(({ name }) => name);
      if (found.join("\n") !== names?.join("\n")) listed(found);
      const [results] = await Promise.all([shelf.look(), ...picked.map(read)]);
      blank(results);
      notice.clear();
    } catch (error) {
      notice.failed(error, look);
      if (error.status !== 0) return;
    }
    if (here) timer = setTimeout(look, document.hidden ? 4 * EVERY : EVERY);
  }

  async function read(name) {
    const held = journals.get(name) ?? [];
    const { data } = await api.get(`/v1/runs/${encodeURIComponent(name)}/journal?after=${held.length}`);
    if (!data.length && journals.has(name)) return;
    journals.set(name, [...held, ...data]);
    draw();
  }

  function listed(found) {
    names = found;
    picked = picked.filter((name) => names.includes(name));
    if (!picked.length) picked = names.slice(-2);
    boxes();
  }

  /** What is said where there is nothing to show. */
  function blank(results) {
    empty.hidden = names.length > 0 || results;
    list.parentNode.hidden = names.length === 0;
    node.classList.toggle("none", !empty.hidden);
  }

  function boxes() {
    list.replaceChildren(...names.map((name) => {
      const on = picked.includes(name), full = !on && picked.length >= MOST;
      const box = h("input", { type: "checkbox", disabled: full, onchange: () => pick(name) });
      box.checked = on;
      return h("label", { class: on ? `run c${picked.indexOf(name)}` : "run" }, box, h("span", {}, name));
    }));
  }

  function pick(name) {
    picked = picked.includes(name) ? picked.filter((one) => one !== name) : [...picked, name];
    keep("runs", picked);
    boxes();
    draw();
    look();
  }

  function draw() {
    const shown = picked.filter((name) => journals.has(name));
    const curves = shown.map((name) => curvesOf(journals.get(name))), all = namesOf(curves);
    const rest = all.slice(2), third = rest.includes(recall("curve", "")) ? recall("curve", "") : rest[0];
    if (more.children.length !== rest.length)
      more.replaceChildren(...rest.map((name) => h("option", { value: name }, titleOf(name))));
    more.value = third ?? "";
    more.parentNode.hidden = !rest.length;
    const lines = (name) => shown.map((run, i) =>
      ({ name: run, colour: picked.indexOf(run), points: curves[i].get(name) })).filter(({ points }) => points);
    const wanted = [...all.slice(0, 2), third].filter(Boolean);
    charts.replaceChildren(...wanted.map((name) => chart(titleOf(name), lines(name))));
    samples.replaceChildren(...shown.flatMap((run) => written(run, samplesOf(journals.get(run)))));
  }

  /** What a run wrote over time, each prompt a column of texts. */
  function written(run, found) {
    return [...found].map(([prompt, texts]) => h("section", { class: `written c${picked.indexOf(run)}` },
      h("h3", {}, h("b", {}, run), prompt ? ` after “${prompt}”` : " from noise, always the same seed"),
      h("ol", {}, texts.map(({ step, text }, i) => h("li", { class: i === texts.length - 1 ? "last" : null },
        h("span", { class: "when" }, `step ${step}`), h("p", { dir: "auto" }, text.trim()))))));
  }

  return { node, key: () => false, take() {},
    enter() { here = true; look(); }, leave() { here = false; clearTimeout(timer); } };
}
