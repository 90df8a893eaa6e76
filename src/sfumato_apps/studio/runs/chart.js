/** Curves over steps, or over anything else, as an SVG of our own. */

import { h, s } from "../play/dom.js";
import { LEFT, RIGHT, WIDE, frame, short } from "./frame.js";

/**
 * A figure with the curves of several runs.
 * @param {string} title
 * @param {{name: string, colour: number, points: number[][]}[]} lines colour: 0 … 3, a class of the style
 *   sheet; points [x, value] or [x, value, error], whose error is drawn on both sides
 * @param {{axis?: string, named?: boolean}} [look] what x is; whether that is written beside it
 */
export function chart(title, lines, { axis = "step", named = false } = {}) {
  const xs = lines.flatMap(({ points }) => points.map(([at]) => at));
  const ys = lines.flatMap(({ points }) => points.flatMap(([, value, error = 0]) => [value - error, value + error]));
  const { x, y, x0, x1, top, foot, high, parts } = frame(xs, ys, named ? { xLabel: axis, high: 226, room: 0.02 } : {});
  const errors = lines.flatMap(({ points, colour }) => points.filter(([, , error]) => error).map(([a, b, error]) =>
    s("line", { x1: x(a), x2: x(a), y1: y(b - error), y2: y(b + error), class: `span c${colour}` })));
  const curves = lines.map(({ points, colour }) => {
    const path = points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    return s("path", { d: path, class: `curve c${colour}` });
  });
  const ends = lines.flatMap(({ points, colour }) => (named ? points : points.slice(-1)).map(([a, b]) =>
    s("circle", { cx: x(a), cy: y(b), r: 3, class: `c${colour}` })));
  const cursor = s("line", { y1: top, y2: foot, class: "cursor", visibility: "hidden" });
  const picture = s("svg", { viewBox: `0 0 ${WIDE} ${high}`, role: "img", "aria-label": spoken(title, lines, axis) },
    ...parts, ...errors, ...curves, ...ends, cursor);
  const told = h("p", { class: "reading" }, reading(lines, x1, axis));
  follow(picture, told, cursor, { lines, x, x0, x1, axis });
  return h("figure", { class: "chart" }, h("figcaption", {}, title), told, picture);
}

/** The pointer's step, and what the curves are there. */
function follow(picture, told, cursor, { lines, x, x0, x1, axis }) {
  picture.addEventListener("pointermove", (event) => {
    const { left, width } = picture.getBoundingClientRect();
    const share = ((event.clientX - left) / width * WIDE - LEFT) / (WIDE - LEFT - RIGHT);
    const at = x0 + Math.max(0, Math.min(1, share)) * (x1 - x0);
    cursor.setAttribute("visibility", "visible");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(at));
    told.replaceChildren(...reading(lines, at, axis));
  });
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    told.replaceChildren(...reading(lines, x1, axis));
  });
}

/** For each run the last value up to a step. */
function reading(lines, at, axis) {
  return lines.map(({ name, colour, points }) => {
    const [step, value, error] = points.findLast(([x]) => x <= at) ?? points[0];
    return h("span", { class: `c${colour}`, title: name }, h("b", {}, short(value)),
      `${error ? ` ± ${short(error)}` : ""} at ${axis} ${step}`);
  });
}

function spoken(title, lines, axis) {
  const ends = lines.map(({ name, points }) =>
    `${name} from ${short(points[0][1])} to ${short(points.at(-1)[1])} at ${axis} ${points.at(-1)[0]}`);
  return `${title}: ${ends.join("; ")}`;
}
