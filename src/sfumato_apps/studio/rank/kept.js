/** The rankings that the server keeps, and their way to `sfumato align`. */

import { h } from "../play/dom.js";
import { download } from "../share/download.js";

const KINDS = {
  texts: { file: "preferences.jsonl", use: "sfumato align --data preferences.jsonl --out better",
    how: "Then ", nothing: "from noise" },
  images: { file: "rankings.jsonl", use: "sfumato align image --pipeline mine --data rankings.jsonl --out better",
    how: "Put it where the names lead to the images from, then ", nothing: "no caption" },
};

/**
 * A list of kept rankings.
 * @param {{api: Object, again: function(Object), failed: function(Error), kind?: string}} on kind: texts or images
 */
export function createKept({ api, again, failed, kind = "texts" }) {
  const { file, use: command, how, nothing } = KINDS[kind];
  const count = h("p", { class: "tally" }), list = h("ul", { class: "kept" });
  const take = h("button", { class: "quiet", onclick: exported }, "Export .jsonl");
  const use = h("p", { class: "hint" }, how, h("code", {}, command));
  const node = h("section", { class: "keeping", "aria-label": "Kept rankings" }, h("h2", {}, "Kept"), count, list,
    h("div", { class: "actions" }, take), use);

  async function load() {
    try {
      const { data, total } = await api.get(`/v1/preferences?limit=50&kind=${kind}`);
      count.textContent = total ? `${total} ranking${total === 1 ? "" : "s"}, the newest first.`
        : "Nothing yet. What you save here is what a model can learn from.";
      for (const part of [take, use]) part.hidden = data.length === 0;
      list.replaceChildren(...data.map(entry));
    } catch (error) {
      failed(error);
    }
  }

  function entry(record) {
    const { ranks } = record, completions = record.completions.map((one) => one.path ?? one);
    const plain = typeof record.prompt === "string";
    const prompt = plain ? record.prompt : record.prompt.map(({ role, content }) => `${role}: ${content}`).join("\n");
    const best = completions[ranks.indexOf(Math.min(...ranks))];
    const order = completions.map((text, i) => ({ text, rank: ranks[i] })).sort((a, b) => a.rank - b.rank);
    const rows = order.map(({ text, rank }) => h("li", {}, h("b", {}, String(rank)), h("span", { dir: "auto" }, text)));
    return h("li", {}, h("details", {},
      h("summary", {}, h("span", { class: "asked", dir: "auto" }, prompt || nothing),
        h("span", { class: "best", dir: "auto" }, best)),
      h("ol", {}, rows),
      plain && h("button", { class: "link", onclick: () => again(record) }, "Rank it again")));
  }

  async function exported() {
    try {
      download(file, await api.text(`/v1/preferences/export?kind=${kind}`), "application/x-ndjson");
    } catch (error) {
      failed(error);
    }
  }

  return { node, load };
}
