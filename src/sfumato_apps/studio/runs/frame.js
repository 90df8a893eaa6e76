/** The frame of a figure: ticks, rules, names of the axes, and where a value lies in it. */

import { s } from "../play/dom.js";

export const WIDE = 460, LEFT = 42, RIGHT = 12;

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
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/**
 * A frame around values.
 * @param {number[]} xs
 * @param {number[]} ys
 * @param {{high?: number, room?: number, xLabel?: string, yLabel?: string}} [look] room: left free at both
 *   ends of x, as a share of it
 * @returns {{x: function, y: function, x0: number, x1: number, top: number, foot: number, high: number, parts: Node[]}}
 */
export function frame(xs, ys, { high = 210, room = 0, xLabel = "", yLabel = "" } = {}) {
  const top = yLabel ? 28 : 12, foot = high - (xLabel ? 42 : 26);
  const span = (values, share) => {
    const [low, most] = [Math.min(...values), Math.max(...values)];
    const more = (most - low || Math.abs(most) || 1) * share;
    return [low - more, most + more];
  };
  const [x0, x1] = span(xs, room), [y0, y1] = span(ys, 0.06);
  const x = (value) => LEFT + ((value - x0) / (x1 - x0 || 1)) * (WIDE - LEFT - RIGHT);
  const y = (value) => foot - ((value - y0) / (y1 - y0)) * (foot - top);
  const rules = ticks(y0, y1).flatMap((value) => [
    s("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value), class: "rule" }),
    s("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, short(value))]);
  const steps = ticks(x0, x1, 6).map((value) =>
    s("text", { x: x(value), y: foot + 20, "text-anchor": "middle" }, short(value)));
  const name = (text, where) => (text ? [s("text", { class: "axis", ...where }, text)] : []);
  const names = [...name(xLabel && `${xLabel} →`, { x: WIDE - RIGHT, y: high - 5, "text-anchor": "end" }),
    ...name(yLabel && `↑ ${yLabel}`, { x: 2, y: 12 })];
  return { x, y, x0, x1, top, foot, high, parts: [...rules, ...steps, ...names] };
}
