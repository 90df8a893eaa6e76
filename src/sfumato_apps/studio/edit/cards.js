/** Alternatives side by side: each as it emerges, then as what it changes. */

import { createCanvas } from "../play/canvas.js";
import { h } from "../play/dom.js";
import { shortened } from "./diff.js";

const TAGS = { kept: "span", removed: "del", written: "ins" };

/** A text with its changes, struck out and underlined. */
export function changes(segments) {
  return segments.map(({ kind, text }) => h(TAGS[kind], {}, text));
}

/**
 * A row of cards.
 * @param {{use: function(number), watch: function(number)}} on what a card's buttons do
 */
export function createCards({ use, watch }) {
  const node = h("ol", { class: "cards", hidden: true, "aria-label": "Alternatives" });
  let cards = [];

  function clear() {
    cards = [];
    node.replaceChildren();
    node.hidden = true;
  }

  /** An alternative has another line. */
  function grown(index, trace, fresh) {
    node.hidden = false;
    while (cards.length <= index) add(cards.length);
    const card = cards[index];
    if (fresh) card.canvas.lay(trace);
    card.canvas.paint(trace.steps.length);
  }

  function add(index) {
    const text = h("p", { class: "mini", dir: "auto" }), canvas = createCanvas(text);
    const about = h("p", { class: "about" }, "being written …");
    const take = h("button", { class: "quiet", disabled: true, onclick: () => use(index) }, "Use this");
    const see = h("button", { class: "link", onclick: () => watch(index) }, "Watch");
    const card = h("li", { class: "card" }, h("h3", {}, `${index + 1}`), text, about,
      h("div", { class: "actions" }, take, see));
    node.append(card);
    cards.push({ card, text, canvas, about, take });
  }

  /** An alternative is finished: what it changes, and that nothing else did. */
  function finished(index, segments, unharmed) {
    const { text, about, take } = cards[index];
    const same = segments.every(({ kind }) => kind === "kept");
    text.replaceChildren(...changes(shortened(segments)));
    const kept = unharmed ? "locked text unchanged" : "a space of the locked text moved";
    about.textContent = same ? "nothing changed" : kept;
    about.classList.toggle("sound", unharmed && !same);
    take.removeAttribute("disabled");
  }

  /** Which card is watched. */
  function watched(index) {
    cards.forEach(({ card }, i) => card.classList.toggle("watched", i === index));
  }

  return { node, clear, grown, finished, watched, get size() { return cards.length; } };
}
