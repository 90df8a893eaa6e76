/** Curves over steps, as an SVG of our own. */

import { h, s } from "../play/dom.js";

const WIDE = 460, HIGH = 210, LEFT = 42, RIGHT = 12, TOP = 12, FOOT = 26;

/** At most `most` round numbers that span a range. */
export function ticks(low, high, most = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((one) => one * power >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

/** A number as short as it can be read. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 10_000) return `${Number((value / 1000).toPrecision(3))}k`;
  if (size && size < 0.001) return value.toExponential(0).replace("e-", "e−");
  return String(Number(value.toPrecision(3)));
}

/**
 * A figure with the curves of several runs.
 * @param {string} title
 * @param {{name: string, colour: number, points: number[][]}[]} lines colour: 0 … 3, a class of the style sheet
 */
export function chart(title, lines) {
  const xs = lines.flatMap(({ points }) => points.map(([step]) => step));
  const ys = lines.flatMap(({ points }) => points.map(([, value]) => value));
  const span = (values, room) => {
    const [low, high] = [Math.min(...values), Math.max(...values)], more = (high - low || Math.abs(high) || 1) * room;
    return [low - more, high + more];
  };
  const [x0, x1] = span(xs, 0), [y0, y1] = span(ys, 0.06);
  const x = (value) => LEFT + ((value - x0) / (x1 - x0 || 1)) * (WIDE - LEFT - RIGHT);
  const y = (value) => HIGH - FOOT - ((value - y0) / (y1 - y0)) * (HIGH - FOOT - TOP);
  const rules = ticks(y0, y1).flatMap((value) => [
    s("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value), class: "rule" }),
    s("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, short(value))]);
  const steps = ticks(x0, x1, 6).map((value) =>
    s("text", { x: x(value), y: HIGH - 6, "text-anchor": "middle" }, short(value)));
  const curves = lines.map(({ points, colour }) => {
    const path = points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    return s("path", { d: path, class: `curve c${colour}` });
  });
  const ends = lines.map(({ points, colour }) =>
    s("circle", { cx: x(points.at(-1)[0]), cy: y(points.at(-1)[1]), r: 3, class: `c${colour}` }));
  const cursor = s("line", { y1: TOP, y2: HIGH - FOOT, class: "cursor", visibility: "hidden" });
  const picture = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": spoken(title, lines) },
    ...rules, ...steps, ...curves, ...ends, cursor);
  const told = h("p", { class: "reading" }, reading(lines, x1));
  follow(picture, told, cursor, { lines, x, x0, x1 });
  return h("figure", { class: "chart" }, h("figcaption", {}, title), told, picture);
}

/** The pointer's step, and what the curves are there. */
function follow(picture, told, cursor, { lines, x, x0, x1 }) {
  picture.addEventListener("pointermove", (event) => {
    const { left, width } = picture.getBoundingClientRect();
    const share = ((event.clientX - left) / width * WIDE - LEFT) / (WIDE - LEFT - RIGHT);
    const at = x0 + Math.max(0, Math.min(1, share)) * (x1 - x0);
    cursor.setAttribute("visibility", "visible");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(at));
    told.replaceChildren(...reading(lines, at));
  });
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    told.replaceChildren(...reading(lines, x1));
  });
}

/** For each run the last value up to a step. */
function reading(lines, at) {
  return lines.map(({ name, colour, points }) => {
    const [step, value] = points.findLast(([x]) => x <= at) ?? points[0];
    return h("span", { class: `c${colour}`, title: name }, h("b", {}, short(value)), ` at step ${step}`);
  });
}

function spoken(title, lines) {
  const ends = lines.map(({ name, points }) =>
    `${name} from ${short(points[0][1])} to ${short(points.at(-1)[1])} at step ${points.at(-1)[0]}`);
  return `${title}: ${ends.join("; ")}`;
}
