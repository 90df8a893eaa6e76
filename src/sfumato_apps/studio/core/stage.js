/** What Write and Edit share: a canvas with its player, the facts, and ways to take it along. */

import { createCanvas } from "../play/canvas.js";
import { h } from "../play/dom.js";
import { createPlayer } from "../play/player.js";
import { facts, grow, opened } from "../play/trace.js";

/**
 * A canvas, a player and a line of facts.
 * @returns {{text: HTMLElement, note: HTMLElement, player: Object, watch: function, grown: function}}
 */
export function createStage() {
  const text = h("p", { class: "text", dir: "auto", "aria-hidden": "true" });
  const note = h("p", { class: "facts" });
  const canvas = createCanvas(text);
  const player = createPlayer(canvas);
  player.bar.hidden = true;

  text.addEventListener("pointerover", (event) => {
    const cell = canvas.cellOf(event.target);
    if (!cell) return;
    const when = cell.at ? ` · step ${cell.at}` : "";
    note.textContent = `“${cell.piece.trim()}”${when} · ${Math.round(cell.sure * 100)} % sure`;
  });
  text.addEventListener("pointerleave", () => tell());

  function tell() {
    note.textContent = player.trace ? facts(player.trace) : "";
  }

  /** Plays a trace, finished or not. */
  function watch(trace, options) {
    player.bar.hidden = false;
    player.open(trace, options);
    tell();
  }

  function grown() {
    player.grown();
    tell();
  }

  return { text, note, player, watch, grown };
}

/**
 * Collects the lines of a live stream into one trace a text.
 * @param {string} given what was given to the model as text
 * @param {function(number, Trace, boolean)} changed is told the index, and whether it is new
 */
export function collector(given, changed) {
  const traces = [];
  return {
    traces,
    line({ index, ...record }) {
      const fresh = traces[index] === undefined;
      if (fresh) traces[index] = opened(record, given);
      else grow(traces[index], record);
      changed(index, traces[index], fresh);
    },
  };
}
