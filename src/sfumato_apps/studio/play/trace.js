/**
 * A trace: how a text emerged, one record a step. Pure functions over the lines of
 * `sfumato-trace/2`, which are the same in a file and in a live stream:
 *
 *   {"format": "sfumato-trace/2", "seed": 0, "mask": 4, "tokens": [{"id", "piece", "locked"}]}
 *   {"step": 1, "time": 0.98, "set": [[position, id, piece, confidence]], "remask": [position]}
 *   {"text": "…", "passes": 9}
 *
 * @typedef {{piece: ?string, sure: number, at: number, half?: boolean}} Cell  piece is null for haze, "" for
 *   nothing; half: a token that is a part of a letter which stands elsewhere, or is not complete
 * @typedef {{head: Object, steps: Object[], end: ?Object, states: Cell[][]}} Trace
 */

export const FORMAT = "sfumato-trace/2";
const HALF = "\ufffd";
const CONTROL = /^(\[\w+\]|<[^<>\s]+>)$/;

/**
 * The beginning of a trace.
 * @param {Object} head its first line
 * @param {string} given the text that was given: names of control tokens are shown if it has them
 * @returns {Trace}
 */
export function opened(head, given = "") {
  if (head.format !== FORMAT) throw new Error(`expected a trace of ${FORMAT}, got ${head.format}`);
  const named = (piece) => CONTROL.test(piece.trim()) && !given.includes(piece.trim());
  const shown = (piece) => (piece !== null && named(piece) ? "" : piece);
  const first = head.tokens.map(({ piece, locked }) =>
    (locked ? { piece: shown(piece), sure: 1, at: 0 } : cell(shown(piece), 0, 0)));
  return { head, steps: [], end: null, states: [first] };
}

/** A cell; a part of a letter that another token completes is shown as nothing. */
const cell = (piece, sure, at) => (piece === HALF ? { piece: "", half: true, sure, at } : { piece, sure, at });

/** The cells after a step. */
export function applied(cells, event) {
  const now = cells.slice();
  for (const place of event.remask) now[place] = cell(null, 0, event.step);
  for (const [place, , piece, sure] of event.set) now[place] = cell(piece, sure, event.step);
  return now;
}

/** Adds a line to a trace: a step, or its end. */
export function grow(trace, line) {
  if ("text" in line) trace.end = { text: line.text, passes: line.passes };
  else {
    trace.steps.push(line);
    trace.states.push(applied(trace.states.at(-1), line));
  }
  return trace;
}

/** Two steps as one: what was set later wins, what was taken back later is taken back. */
export function merged(one, two) {
  const set = new Map(one.set.map((item) => [item[0], item]));
  const remask = new Set(one.remask);
  for (const place of two.remask) set.delete(place), remask.add(place);
  for (const item of two.set) set.set(item[0], item), remask.delete(item[0]);
  const inOrder = (a, b) => a - b;
  return {
    step: two.step,
    time: two.time,
    set: [...set.values()].sort((a, b) => a[0] - b[0]),
    remask: [...remask].sort(inOrder),
  };
}

/** A trace from the text of a file. */
export function parsed(text, given) {
  const lines = text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  if (!lines.length || !("text" in lines.at(-1))) throw new Error("the trace has no end");
  const trace = opened(lines[0], given ?? lines.at(-1).text);
  return lines.slice(1).reduce(grow, trace);
}

/** The text of a file. */
export function toLines(trace) {
  return [trace.head, ...trace.steps, trace.end].map((line) => `${JSON.stringify(line)}\n`).join("");
}

/** The piece that a slot of haze will hold next; null while that is not known. */
export function coming(trace, place, from) {
  for (let i = from; i < trace.states.length; i++) {
    const { piece } = trace.states[i][place];
    if (piece !== null) return piece;
  }
  return trace.end ? "" : null;
}

/** How many slots were open at the start, and how many of them hold something after a step. */
export function progress(trace, step) {
  const open = trace.head.tokens.flatMap(({ piece }, i) => (piece === null ? [i] : []));
  return { open: open.length, done: open.filter((i) => trace.states[step][i].piece !== null).length };
}

/** What a finished run cost, in words. */
export function facts(trace) {
  if (!trace.end) return "";
  const last = trace.states.at(-1);
  const written = last.filter(({ piece, half }, i) => !trace.head.tokens[i].locked && (piece || half)).length;
  const again = trace.steps.reduce((sum, event) => sum + event.remask.length, 0);
  const { passes } = trace.end;
  const parts = [`${passes} forward ${passes === 1 ? "pass" : "passes"}`, `${written} tokens written`];
  if (passes) parts.push(`${(written / passes).toFixed(1)} a pass`);
  if (again) parts.push(`${again} taken back`);
  return [...parts, `seed ${trace.head.seed}`].join(" · ");
}
