/**
 * Places of a text that are open; everything else is locked. Pure functions.
 *
 * @typedef {{start: number, stop: number, kind: "rewrite"|"hole", slots: ?number}} Mark
 *   start and stop count UTF-16 units, as the browser does; slots: tokens of a hole at most
 */

const WORD = /[\p{L}\p{N}\p{M}_'’-]+/gu;

/** What a selection means: without the white space at its ends; a bare cursor in a word is the word. */
export function meant(text, start, stop, kind) {
  if (start === stop && kind !== "hole") {
    for (const found of text.matchAll(WORD))
      if (found.index <= start && start <= found.index + found[0].length)
        return [found.index, found.index + found[0].length];
    return null;
  }
  const inside = text.slice(start, stop), trimmed = inside.trim();
  if (!trimmed) return kind === "hole" ? [start, stop] : null;
  const lead = inside.length - inside.trimStart().length;
  return [start + lead, start + lead + trimmed.length];
}

/** The marks with one more; it takes the place of those that it meets. */
export function withMark(marks, mark) {
  const apart = marks.filter((one) => one.stop < mark.start || mark.stop < one.start
    || (one.start !== one.stop && mark.start !== mark.stop && (one.stop === mark.start || mark.stop === one.start)));
  return [...apart, mark].sort((a, b) => a.start - b.start);
}

/** The text in pieces, each with the mark that it is or null where it is locked. */
export function pieces(text, marks) {
  const found = [];
  let at = 0;
  for (const mark of marks) {
    if (mark.start > at) found.push({ text: text.slice(at, mark.start), mark: null });
    found.push({ text: text.slice(mark.start, mark.stop), mark });
    at = mark.stop;
  }
  if (at < text.length) found.push({ text: text.slice(at), mark: null });
  return found;
}

/** A text without a span; one of two spaces that would meet goes along. */
export function without(text, start, stop) {
  const before = text.slice(0, start), after = text.slice(stop);
  const doubled = /(^|\s)$/.test(before) && /^[ \t]/.test(after);
  const hanging = / $/.test(before) && /^([.,;:!?…]|$|\n)/.test(after);
  if (hanging) return before.slice(0, -1) + after;
  return before + (doubled ? after.slice(1) : after);
}

/** Marks as spans in Unicode code points, as the server counts. */
export function spansOf(text, marks) {
  const points = (units) => [...text.slice(0, units)].length;
  return marks.map(({ start, stop }) => [points(start), points(stop)]);
}

/** The text as parts of an infill; a hole between two words has a space before it. */
export function partsOf(text, marks) {
  const parts = [];
  pieces(text, marks).forEach(({ text: piece, mark }) => {
    if (mark) parts.push({ hole: mark.kind === "hole" ? mark.slots : 2 * wordsIn(piece) + 2 });
    else parts.push({ text: piece });
  });
  return parts.map((part, i) => {
    const inserted = part.text !== undefined && parts[i + 1]?.hole !== undefined && /[\p{L}\p{N}]$/u.test(part.text);
    return inserted ? { text: `${part.text} ` } : part;
  });
}

/** The text with its holes in braces, as `sfumato fill` reads it. */
export function bracedOf(text, marks) {
  const doubled = (piece) => piece.replaceAll("{", "{{").replaceAll("}", "}}");
  return partsOf(text, marks).map((part) =>
    (part.text === undefined ? `{${part.hole ?? ""}}` : doubled(part.text))).join("");
}

/**
 * What a finished trace wrote into the marks, as segments like those of a diff; null where the trace
 * does not spell its text.
 */
export function filled(text, marks, { head, states, end }) {
  const runs = [];
  head.tokens.forEach(({ locked }, i) => {
    const piece = states.at(-1)[i].piece ?? "";
    if (locked) return;
    if (i && !head.tokens[i - 1].locked) runs.push(runs.pop() + piece);
    else runs.push(piece);
  });
  const segments = pieces(text, marks).flatMap(({ text: piece, mark }) => {
    if (!mark) return [{ kind: "kept", text: piece }];
    const word = (runs.shift() ?? "").trim(), room = mark.start === mark.stop && word ? " " : "";
    return [{ kind: "removed", text: piece }, { kind: "written", text: room + word }];
  }).filter(({ text: piece }) => piece);
  const bare = (words) => words.replace(/\s/g, "");
  const spelt = segments.filter(({ kind }) => kind !== "removed").map((one) => one.text).join("");
  return bare(spelt) === bare(end.text) ? segments : null;
}

/** Whether what was locked stands in a result, in its order, letter by letter. */
export function intact(text, marks, result) {
  let at = 0;
  for (const { text: piece, mark } of pieces(text, marks)) {
    const locked = piece.trim();
    if (mark || !locked) continue;
    const found = result.indexOf(locked, at);
    if (found < 0) return false;
    at = found + locked.length;
  }
  return true;
}

/** How many words a text has. */
export const wordsIn = (text) => (text.match(WORD) ?? []).length;
