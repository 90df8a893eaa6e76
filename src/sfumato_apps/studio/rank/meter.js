/** How often A won, with its interval, as a number and on a line. */

import { h, s } from "../play/dom.js";

const WIDTH = 520, PAD = 8;

/** A meter. */
export function createMeter() {
  const node = h("figure", { class: "meter", hidden: true });
  const at = (share) => PAD + share * (WIDTH - 2 * PAD);
  const percent = (share) => `${Math.round(100 * share)} %`;

  /** Shows {n, ties, win_rate, low, high}; nothing before the first vote. */
  function show({ n, ties, win_rate: rate, low, high }) {
    node.hidden = !n;
    if (!n) return;
    const sure = low > 0.5 ? "A is better." : high < 0.5 ? "B is better." : "No difference is certain yet.";
    const line = (from, to, kind) => s("line", { x1: at(from), x2: at(to), y1: 20, y2: 20, class: kind });
    const tick = (share, label) => [s("line", { x1: at(share), x2: at(share), y1: 12, y2: 28, class: "axis" }),
      s("text", { x: at(share), y: 44, "text-anchor": share ? (share === 1 ? "end" : "middle") : "start" }, label)];
    const picture = s("svg", { viewBox: `0 0 ${WIDTH} 48`, "aria-hidden": "true" }, line(0, 1, "axis"),
      ...tick(0, "B always"), ...tick(0.5, "even"), ...tick(1, "A always"), line(low, high, "range"),
      s("circle", { cx: at(rate), cy: 20, r: 6, class: "rate" }));
    const votes = `${n} vote${n === 1 ? "" : "s"}${ties ? `, ${ties} as good, which count half` : ""}`;
    node.replaceChildren(h("p", { class: "rate" }, h("b", {}, percent(rate)), " for A"), picture,
      h("figcaption", {}, `95 % interval ${percent(low)} to ${percent(high)} · ${votes}. ${sure}`));
  }

  return { node, show };
}
