/** What changed between two texts, word by word. Pure. */

const TOKEN = /\s+|[\p{L}\p{N}\p{M}_'’-]+|[^\s]/gu;
const MOST = 4_000_000; // cells of the table; beyond, the changed middle is one change

/**
 * The longest common subsequence of words as segments.
 * @returns {{kind: "kept"|"removed"|"written", text: string}[]}
 */
export function diff(before, after) {
  const a = before.match(TOKEN) ?? [], b = after.match(TOKEN) ?? [];
  let head = 0, tail = 0;
  while (head < Math.min(a.length, b.length) && a[head] === b[head]) head += 1;
  while (tail < Math.min(a.length, b.length) - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const middle = aligned(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const segments = [["kept", a.slice(0, head)], ...middle, ["kept", a.slice(a.length - tail)]];
  return joined(segments.map(([kind, words]) => ({ kind, text: words.join("") })));
}

function aligned(a, b) {
  if (a.length * b.length > MOST) return [["removed", a], ["written", b]];
  const wide = b.length + 1, best = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const [below, right] = [best[(i + 1) * wide + j], best[i * wide + j + 1]];
      best[i * wide + j] = a[i] === b[j] ? best[(i + 1) * wide + j + 1] + 1 : Math.max(below, right);
    }
  }
  const found = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) found.push(["kept", [a[i++]]]), j++;
    else if (j >= b.length || (i < a.length && best[(i + 1) * wide + j] >= best[i * wide + j + 1]))
      found.push(["removed", [a[i++]]]);
    else found.push(["written", [b[j++]]]);
  }
  return found;
}

/** Neighbours of a kind as one; a lone space between changes belongs to them. */
function joined(segments) {
  const runs = [];
  let removed = "", written = "";
  const close = () => {
    if (removed) runs.push({ kind: "removed", text: removed });
    if (written) runs.push({ kind: "written", text: written });
    removed = written = "";
  };
  const full = segments.filter(({ text }) => text);
  full.forEach(({ kind, text }, i) => {
    if (kind === "removed") removed += text;
    else if (kind === "written") written += text;
    else if (/^ $/.test(text) && (removed || written) && full[i + 1]?.kind !== "kept" && full[i + 1])
      removed += text, written += text;
    else {
      close();
      if (runs.at(-1)?.kind === "kept") runs.at(-1).text += text;
      else runs.push({ kind: "kept", text });
    }
  });
  close();
  return runs;
}

/** Long stretches that were kept, shortened to what stands around the changes. */
export function shortened(segments, around = 48) {
  return segments.map(({ kind, text }, i) => {
    const first = i === 0, last = i === segments.length - 1;
    if (kind !== "kept" || text.length <= 2.5 * around || segments.length === 1) return { kind, text };
    const lead = text.slice(0, around).replace(/\S*$/, ""), tail = text.slice(-around).replace(/^\S*/, "");
    return { kind, text: first ? `…${tail}` : last ? `${lead}…` : `${lead}…${tail}` };
  });
}
