/** A frontier as points with their intervals, and the same as a table. */

import { h, s } from "../play/dom.js";
import { WIDE, frame, short } from "./frame.js";
import { frontierOf, staircase } from "./result.js";

const HIGH = 300, LETTER = 7, LINE = 13, LONGEST = 22; // units of the picture; letters of a name

/** What a result of `sfumato frontier` shows. */
export function frontier(result) {
  const { title, xLabel, yLabel, models } = frontierOf(result);
  if (!models.length) return [h("p", { class: "quietly" }, "No model in it has both numbers.")];
  return [figure(title, xLabel, yLabel, models), table(xLabel, yLabel, models)];
}

function figure(title, xLabel, yLabel, models) {
  const xs = models.flatMap(({ x, xSpan }) => [x, ...xSpan]), ys = models.flatMap(({ y, ySpan }) => [y, ...ySpan]);
  const { x, y, foot, parts } = frame(xs, ys, { high: HIGH, room: 0.06, xLabel, yLabel });
  const line = (a, b, c, d, kind) => s("line", { x1: a, y1: b, x2: c, y2: d, class: kind });
  const spans = models.flatMap(({ x: a, y: b, xSpan, ySpan, colour }) => [
    line(x(xSpan[0]), y(b), x(xSpan[1]), y(b), `span c${colour}`),
    line(x(a), y(ySpan[0]), x(a), y(ySpan[1]), `span c${colour}`)]);
  const corners = staircase(models).map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
  const dots = models.map(({ x: a, y: b, colour, front }) =>
    s("circle", { cx: x(a), cy: y(b), r: 5, class: `dot c${colour}${front ? "" : " beaten"}` }));
  const names = labels(models.map((one) => ({ name: one.name, left: x(one.x), top: y(one.y),
    wide: one.xSpan.map(x), high: one.ySpan.map(y).reverse() })), foot);
  const said = spoken(title, xLabel, yLabel, models);
  const picture = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": said }, ...parts,
    s("polyline", { points: corners, class: "border" }), ...spans, ...dots, ...names);
  return h("figure", { class: "chart two" }, h("figcaption", {}, title),
    h("p", { class: "reading" }, groups(models), " Filled: nobody is better in both. Lines: 95 % intervals."), picture);
}

/** Names beside their points, where they meet no other. */
function labels(points, foot) {
  const taken = points.flatMap(({ left, top, wide, high }) => [[left - 6, top - 6, left + 6, top + 6],
    [wide[0], top - 1, wide[1], top + 1], [left - 1, high[0], left + 1, high[1]]]);
  const meets = ([a, b, c, d]) => taken.some(([e, f, g, i]) => a < g && e < c && b < i && f < d);
  return points.map(({ name, left, top }) => {
    const text = name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name, wide = text.length * LETTER;
    const places = [-6, 16, -6 - LINE, 16 + LINE, -6 - 2 * LINE, 16 + 2 * LINE].flatMap((by) =>
      [left + 9, left - 9 - wide].map((from) => [from, top + by - LINE + 3, from + wide, top + by + 3]));
    const inside = places.filter(([a, b, c, d]) => a > 0 && c < WIDE && b > 0 && d < foot + 2);
    const box = inside.find((one) => !meets(one)) ?? inside[0] ?? places[0];
    taken.push(box);
    return s("text", { x: box[0], y: box[3] - 3, class: "name" }, s("title", {}, name), text);
  });
}

/** Which colour is which group, where that says anything. */
function groups(models) {
  const known = new Map(models.map(({ group, colour }) => [group, colour]));
  if (known.size === models.length || known.size < 2) return [];
  return [...known].map(([group, colour]) => h("span", { class: `c${colour}` }, group));
}

function spoken(title, xLabel, yLabel, models) {
  const front = models.filter((one) => one.front);
  const told = front.map(({ name, x, y }) => `${name} with ${xLabel} ${short(x)} and ${yLabel} ${short(y)}`);
  return `${title}: ${front.length} of ${models.length} on the frontier: ${told.join("; ")}`;
}

function table(xLabel, yLabel, models) {
  const between = (value, [low, high]) => [h("b", {}, short(value)), low < high && ` ${short(low)} … ${short(high)}`];
  const columns = [["Texts", ({ n }) => n], [xLabel, ({ x, xSpan }) => between(x, xSpan)],
    [yLabel, ({ y, ySpan }) => between(y, ySpan)],
    ["On the frontier", ({ front, chance }) => `${front ? "yes" : "no"}, in ${percent(chance)} of draws`],
    ["KL, nats a text", ({ kl }) => kl],
    ["Perplexity", ({ perplexity }) => perplexity], ["Loops", ({ loops }) => loops]];
  const told = (cell) => (typeof cell === "number" ? short(cell) : cell ?? "–");
  const used = columns.filter(([, of]) => models.some((one) => of(one) !== undefined && of(one) !== null));
  return figures(["Model", ...used.map(([name]) => name)],
    models.map((one) => [one.name, ...used.map(([, of]) => told(of(one)))]), "The same in numbers");
}

const percent = (share) => (typeof share === "number" ? `${Math.round(100 * share)} %` : "–");

/** A table that may be wider than the page. */
export function figures(head, rows, name) {
  return h("div", { class: "figures", tabindex: 0, role: "region", "aria-label": name }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", {}, rows.map(([first, ...rest]) =>
      h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", {}, cell)))))));
}
