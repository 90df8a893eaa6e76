/** The rankings that the server keeps, and their way to `sfumato align`. */

import { h } from "../play/dom.js";
import { download } from "../share/download.js";

/**
 * A list of kept rankings.
 * @param {{api: Object, again: function(Object), failed: function(Error)}} on
 */
export function createKept({ api, again, failed }) {
  const count = h("p", { class: "tally" }), list = h("ul", { class: "kept" });
  const take = h("button", { class: "quiet", onclick: exported }, "Export .jsonl");
  const use = h("p", { class: "hint" }, "Then ", h("code", {}, "sfumato align --data preferences.jsonl --out better"));
  const node = h("section", { class: "keeping", "aria-label": "Kept rankings" }, h("h2", {}, "Kept"), count, list,
    h("div", { class: "actions" }, take), use);

  async function load() {
    try {
      const { data, total } = await api.get("/v1/preferences?limit=50");
      count.textContent = total ? `${total} ranking${total === 1 ? "" : "s"}, the newest first.`
        : "Nothing yet. What you save here is what a model can learn from.";
      for (const part of [take, use]) part.hidden = data.length === 0;
      list.replaceChildren(...data.map(entry));
    } catch (error) {
      failed(error);
    }
  }

  function entry(record) {
    const { completions, ranks } = record, plain = typeof record.prompt === "string";
    const prompt = plain ? record.prompt : record.prompt.map(({ role, content }) => `${role}: ${content}`).join("\n");
    const best = completions[ranks.indexOf(Math.min(...ranks))];
    const order = completions.map((text, i) => ({ text, rank: ranks[i] })).sort((a, b) => a.rank - b.rank);
    const rows = order.map(({ text, rank }) => h("li", {}, h("b", {}, String(rank)), h("span", { dir: "auto" }, text)));
    return h("li", {}, h("details", {},
      h("summary", {}, h("span", { class: "asked", dir: "auto" }, prompt || "from noise"),
        h("span", { class: "best", dir: "auto" }, best)),
      h("ol", {}, rows),
      plain && h("button", { class: "link", onclick: () => again(record) }, "Rank it again")));
  }

  async function exported() {
    try {
      download("preferences.jsonl", await api.text("/v1/preferences/export"), "application/x-ndjson");
    } catch (error) {
      failed(error);
    }
  }

  return { node, load };
}
