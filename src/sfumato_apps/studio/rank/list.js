/** Candidates in their order: dragged, or moved by keys. */

import { calm, h } from "../play/dom.js";
import { dropped, moved, ranks, tiedOr } from "./order.js";

/**
 * A list of candidates.
 * @param {function(Item[], string)} changed is told the new order, and what happened in words
 */
export function createList(changed) {
  const node = h("ol", { class: "ranking", "aria-label": "Candidates, the best first" });
  let items = [], given = "", rows = new Map();

  /** Shows an order; `live` gives the element in which a candidate is being written. */
  function show(next, { focus = null, live = () => null, prompt = "" } = {}) {
    const before = new Map([...rows].map(([id, row]) => [id, row.getBoundingClientRect().top]));
    const place = ranks(next), shared = (i) => place.filter((one) => one === place[i]).length > 1;
    items = next;
    given = prompt;
    rows = new Map(items.map((item, i) =>
      [item.id, row(item, i, `${shared(i) ? "=" : ""}${place[i]}`, live(item.id))]));
    node.replaceChildren(...rows.values());
    if (focus !== null) rows.get(focus)?.focus();
    if (!calm()) for (const [id, one] of rows) if (before.has(id)) glide(one, before.get(id));
  }

  function glide(one, from) {
    const by = from - one.getBoundingClientRect().top;
    if (by && !one.classList.contains("lifted"))
      one.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 180, easing: "ease-out" });
  }

  function row(item, i, place, live) {
    const grip = h("button", { class: "grip", tabindex: -1, "aria-hidden": "true",
      onpointerdown: (event) => drag(event, item.id) });
    const same = "As good as the one above";
    const tie = h("button", { class: "tie", "aria-pressed": String(item.tied), hidden: i === 0, tabindex: -1,
      title: same, "aria-label": same, onclick: () => put(tiedOr(items, i), item.id) }, "=");
    const drop = h("button", { class: "shut-it", tabindex: -1, "aria-label": "Take out",
      onclick: () => changed(dropped(items, i), "taken out") }, "×");
    const before = given && h("span", { class: "given" }, given);
    const text = live ?? h("p", { class: "mini", dir: "auto" }, before, item.text);
    const name = `Place ${place.replace("=", "shared ")}: ${item.text || "being written"}`;
    const kind = item.tied ? "candidate tied" : "candidate";
    return h("li", { class: kind, tabindex: 0, "aria-label": name, data: { id: item.id },
      onkeydown: (event) => keyed(event, item.id) }, tie, grip, h("span", { class: "place" }, place), text, drop);
  }

  const at = (id) => items.findIndex((item) => item.id === id);

  function put(next, id) {
    if (next === items) return;
    const place = ranks(next)[next.findIndex((item) => item.id === id)];
    changed(next, `place ${place} of ${next.length}`);
    rows.get(id)?.focus();
  }

  function keyed(event, id) {
    if (event.target !== event.currentTarget) return;
    const i = at(id), by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by && event.shiftKey) put(moved(items, i, i + by), id);
    else if (by) rows.get(items[i + by]?.id)?.focus();
    else if (event.key === "=") put(tiedOr(items, i), id);
    else if (event.key === "Delete") changed(dropped(items, i), "taken out");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** While the pointer is down, the candidate stands where the pointer is. */
  function drag(event, id) {
    event.preventDefault();
    const follow = (move) => {
      const others = [...rows].filter(([other]) => other !== id);
      const above = others.filter(([, one]) => {
        const { top, height } = one.getBoundingClientRect();
        return move.clientY > top + height / 2;
      }).length;
      if (above !== at(id)) show(moved(items, at(id), above));
      rows.get(id).classList.add("lifted");
    };
    const leave = () => {
      removeEventListener("pointermove", follow);
      removeEventListener("pointercancel", leave);
      changed(items, `place ${ranks(items)[at(id)]} of ${items.length}`);
    };
    rows.get(id).classList.add("lifted");
    addEventListener("pointermove", follow);
    addEventListener("pointerup", leave, { once: true });
    addEventListener("pointercancel", leave, { once: true });
  }

  return { node, show };
}
