/** A trace as an animated picture: each moment drawn on a canvas element, then encoded. */

import { coming } from "../play/trace.js";
import { encodeGif } from "./gif.js";

const WIDTH = 720, MARGIN = 44, SIZE = 30, LINE = 48, MOMENTS = 40, HOLD = 260;

/**
 * The film of a trace.
 * @param {Trace} trace finished
 * @param {function(number)} [told] of the share that is done
 * @returns {Promise<Uint8Array>} a GIF
 */
export async function filmOf(trace, told = () => {}) {
  const look = lookOf(document.documentElement), steps = momentsOf(trace);
  const rows = laidOut(trace, look);
  const height = 2 * MARGIN + rows * LINE;
  const [pen, mist] = [0, 1].map(() => Object.assign(document.createElement("canvas"), { width: WIDTH, height })
    .getContext("2d", { willReadFrequently: true }));
  const frames = [];
  for (const [i, step] of steps.entries()) {
    drawn(pen, mist, trace, step, look);
    const { data } = pen.getImageData(0, 0, WIDTH, height);
    frames.push({ pixels: data, delay: i === steps.length - 1 ? HOLD : i ? 14 : 60 });
    told((i + 1) / steps.length);
    await new Promise((resume) => setTimeout(resume));
  }
  return encodeGif({ width: WIDTH, height, frames });
}

/** The colours of the page as it looks now. */
function lookOf(root) {
  const probe = document.createElement("i"), look = {};
  root.append(probe);
  for (const name of ["paper", "ink", "unsure", "haze", "given", "given-wash"]) {
    probe.style.color = `var(--${name})`;
    look[name] = getComputedStyle(probe).color;
  }
  probe.style.fontFamily = "var(--serif)";
  look.font = `${SIZE}px ${getComputedStyle(probe).fontFamily}`;
  probe.remove();
  return look;
}

/** The steps that are shown: all, or as many evenly spread ones as a film holds. */
function momentsOf(trace) {
  const last = trace.steps.length, count = Math.min(last, MOMENTS);
  return Array.from({ length: count + 1 }, (_, i) => Math.round((i * last) / Math.max(count, 1)));
}

/** Words of a moment: haze has the width of what will stand there. */
function wordsOf(trace, step) {
  const words = [];
  trace.states[step].forEach(({ piece, sure }, place) => {
    const text = piece ?? coming(trace, place, step);
    const kind = piece === null ? "haze" : trace.head.tokens[place].locked ? "given" : "ink";
    for (const part of text.split(/(?=\s)|(?<=\s)/)) {
      const follows = words.length && !/^\s/.test(part) && !/\s$/.test(words.at(-1).at(-1).text);
      if (follows) words.at(-1).push({ text: part, kind, sure });
      else if (part) words.push([{ text: part, kind, sure }]);
    }
  });
  return words;
}

/** Calls `put` with each part and its place; gives the number of lines. */
function set(pen, words, put) {
  let x = 0, row = 0;
  for (const word of words) {
    const wide = word.reduce((sum, { text }) => sum + pen.measureText(text).width, 0);
    const space = /^\s+$/.test(word[0].text);
    if ((!space && x && x + wide > WIDTH - 2 * MARGIN) || word[0].text.includes("\n")) x = 0, row += 1;
    if (space && !x) continue;
    for (const part of word) {
      put(part, MARGIN + x, MARGIN + row * LINE + LINE * 0.68, pen.measureText(part.text).width);
      x += pen.measureText(part.text).width;
    }
  }
  return row + 1;
}

function laidOut(trace, look) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = look.font;
  const rows = trace.states.map((_, step) => set(pen, wordsOf(trace, step), () => {}));
  return Math.max(...rows);
}

/** Draws a moment; all haze is blurred at once, which is what takes time. */
function drawn(pen, mist, trace, step, look) {
  const { width, height } = pen.canvas;
  pen.fillStyle = look.paper;
  pen.fillRect(0, 0, width, height);
  mist.clearRect(0, 0, width, height);
  mist.fillStyle = look.haze;
  pen.font = mist.font = look.font;
  set(pen, wordsOf(trace, step), ({ text, kind, sure }, x, y, wide) => {
    if (kind === "haze") return mist.fillText(text, x, y);
    if (kind === "given") {
      const from = Math.round(x), to = Math.round(x + wide);
      pen.fillStyle = look["given-wash"];
      pen.fillRect(from, y - SIZE * 0.86, to - from, SIZE * 1.16);
    }
    pen.fillStyle = kind === "ink" ? mixed(look, sure) : look.given;
    pen.fillText(text, x, y);
  });
  pen.filter = "blur(5px)";
  pen.drawImage(mist.canvas, 0, 0);
  pen.filter = "none";
}

/** Ink as warm as the model was unsure. */
function mixed(look, sure) {
  const share = sure * sure, numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const [warm, dark] = [numbers(look.unsure), numbers(look.ink)];
  return `rgb(${warm.slice(0, 3).map((value, i) => Math.round(value + (dark[i] - value) * share)).join(" ")})`;
}
