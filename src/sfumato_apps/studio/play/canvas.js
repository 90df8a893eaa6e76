/** A text on its way out of noise: haze, ink as warm as the model was unsure, and what was given. */

import { h } from "./dom.js";
import { coming } from "./trace.js";

// The shape of haze whose word is not known yet; only its blurred outline is seen.
const HAZE = [" own", " mora", "ne", " varum", " os", " nemesa", " um", "rao", " neva", " sono"];

/** Squared, because most confidences are high and their differences should show. */
export const ink = (sure) => `${Math.round(100 * sure * sure)}%`;

/**
 * A canvas in an element.
 * @param {HTMLElement} line where the text stands
 * @returns {{lay: function(Trace), paint: function(number), cellOf: function(Node): ?Object}}
 */
export function createCanvas(line) {
  let trace = null, slots = [], shown = 0;

  // Neighbouring given tokens share one box; the spaces around them stay outside it.
  function lay(next) {
    trace = next;
    slots = [];
    line.replaceChildren();
    let given = "", opened = false;
    const close = () => {
      const inside = given.trim();
      const [lead, tail] = inside ? [given.match(/^\s*/)[0], given.match(/\s*$/)[0]] : [given, ""];
      line.append(lead);
      if (inside) line.append(h("span", { class: "locked" }, inside), tail);
      opened ||= inside !== "";
      given = "";
    };
    trace.head.tokens.forEach((token, place) => {
      if (token.locked) given += trace.states[0][place].piece ?? "";
      else {
        if (given) close();
        slots.push({ place, opened, ...slotOf(place) });
      }
    });
    if (given) close();
  }

  function slotOf(place) {
    const gap = h("span"), word = h("span", { class: "word" });
    const slot = h("span", {}, gap, word);
    slot.style.setProperty("--when", `${-(place * 0.73) % 5.6}s`);
    line.append(slot);
    return { slot, gap, word };
  }

  function paint(step) {
    shown = step;
    const cells = trace.states[step], at = step ? trace.steps[step - 1].step : -1;
    let begun = false; // the space of the first word is not shown
    for (const part of slots) {
      const { piece, sure, at: when } = cells[part.place];
      const text = piece ?? coming(trace, part.place, step) ?? HAZE[(part.place * 7) % HAZE.length];
      const lead = text.match(/^\s*/)[0].length;
      const space = begun || part.opened ? text.slice(0, lead) : "";
      begun ||= text !== "";
      if (part.gap.textContent !== space) part.gap.textContent = space;
      if (part.word.textContent !== text.slice(lead)) part.word.textContent = text.slice(lead);
      part.slot.className = kind(piece, text, when === at);
      part.slot.style.setProperty("--sure", ink(sure));
    }
  }

  /** What stands under a pointer: {piece, sure, at}, or null. */
  function cellOf(node) {
    const part = slots.find(({ slot }) => slot.contains(node));
    const cell = part && trace.states[shown][part.place];
    return cell && cell.piece ? cell : null;
  }

  return { lay, paint, cellOf };
}

function kind(piece, text, fresh) {
  if (text === "") return piece === null ? "void" : "void gone";
  return piece === null ? "slot haze" : `slot ink${fresh ? " fresh" : ""}`;
}

/** A text with its haze as dots, for those who listen. */
export function spoken(cells) {
  const pieces = cells.map(({ piece }) => (piece === null ? "…" : piece));
  return pieces.join("").replace(/…(\s*…)*/g, " … ").trim();
}
