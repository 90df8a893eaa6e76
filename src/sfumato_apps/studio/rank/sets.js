/**
 * Sets of images to rank: rows of a file, and the files that their paths name. Pure.
 *
 * @typedef {{prompt: string, paths: string[], ranks: ?number[]}} ImageSet
 */

const CAPTIONS = ["prompt", "caption", "text", "Prompt"];
const PICTURE = /\.(png|jpe?g|webp|gif|avif|bmp)$/i;

/**
 * The rows of a file of candidates or rankings, such as `sfumato candidates image` writes.
 * @param {string} text JSON lines
 * @returns {ImageSet[]} rows with fewer than two images are left out
 */
export function setsOf(text) {
  const lines = text.split("\n").map((line, i) => [line, i + 1]).filter(([line]) => line.trim());
  const sets = lines.map(([line, number]) => setOf(line, number)).filter(({ paths }) => paths.length > 1);
  if (!sets.length) throw new Error("No line of the file has two images.");
  return sets;
}

function setOf(line, number) {
  let row;
  try {
    row = JSON.parse(line);
  } catch {
    throw new Error(`Line ${number} is no JSON.`);
  }
  const found = row?.completions, paths = Array.isArray(found) ? found.map(pathOf) : [null];
  if (paths.includes(null))
    throw new Error(`Line ${number}: expected completions with the paths of images, as {"path": "images/1.png"}.`);
  const { ranks } = row, whole = Array.isArray(ranks) && ranks.length === paths.length && ranks.every(Number.isInteger);
  const named = CAPTIONS.map((name) => row[name]).find((value) => typeof value === "string");
  return { prompt: named ?? "", paths, ranks: whole ? ranks : null };
}

function pathOf(value) {
  if (value && typeof value.path === "string" && value.path) return value.path;
  return typeof value === "string" && PICTURE.test(value) ? value : null;
}

/** Where a file lies below the folder that was chosen; its name, if files were chosen. */
export function placeOf({ webkitRelativePath: path, name }) {
  return path ? path.slice(path.indexOf("/") + 1) : name;
}

/**
 * The file that a path of a row names: the one that lies there, else the only one with that name.
 * @param {string} path
 * @param {string[]} places of the files
 * @returns {?string} one of the places
 */
export function placeFor(path, places) {
  if (places.includes(path)) return path;
  const last = (one) => one.slice(one.lastIndexOf("/") + 1);
  const deeper = places.filter((place) => place.endsWith(`/${path}`) || path.endsWith(`/${place}`));
  if (deeper.length === 1) return deeper[0];
  const called = places.filter((place) => last(place) === last(path));
  return called.length === 1 ? called[0] : null;
}

/** What two rankings of the same images share, whatever their order. */
export const keyOf = ({ prompt, paths }) => JSON.stringify([prompt, [...paths].sort()]);

/** The set that a kept ranking is of. */
export const setOfRecord = ({ prompt, completions, ranks }) =>
  ({ prompt, paths: completions.map(({ path }) => path), ranks });

/** Paths in the order of their ranks, each with whether it is tied to the one before. */
export function inOrder({ paths, ranks }) {
  if (!ranks) return paths.map((path) => ({ path, tied: false }));
  const order = paths.map((path, i) => ({ path, rank: ranks[i] })).sort((a, b) => a.rank - b.rank);
  return order.map(({ path, rank }, i) => ({ path, tied: i > 0 && order[i - 1].rank === rank }));
}
