/**
 * An order with ties. Pure: every function gives a new list.
 *
 * @typedef {{id: string, text: string, tied: boolean}} Item  tied: as good as the one above
 */

/** The list with the item at `from` standing at `to`, better than what follows, tied with nothing. */
export function moved(items, from, to) {
  if (to < 0 || to >= items.length || from === to) return items;
  const rest = dropped(items, from);
  return rest.toSpliced(to, 0, { ...items[from], tied: false }).map(first);
}

/** The list with the item tied to the one above it, or no longer. */
export function tiedOr(items, at) {
  if (at < 1) return items;
  return items.map((item, i) => (i === at ? { ...item, tied: !item.tied } : item));
}

/** The list without an item; who was tied to it is tied to the one above it, if it was. */
export function dropped(items, at) {
  const { tied } = items[at];
  const rest = items.map((item, i) => (i === at + 1 ? { ...item, tied: item.tied && tied } : item));
  return rest.toSpliced(at, 1).map(first);
}

/** Places from 1, the best; who is tied shares a place, and no place is left out. */
export function ranks(items) {
  let place = 0;
  return items.map(({ tied }, i) => (place += Number(i === 0 || !tied)));
}

/** Whether there is an order to learn from: at least two places. */
export const ordered = (items) => new Set(ranks(items)).size > 1;

const first = (item, i) => (i === 0 ? { ...item, tied: false } : item);
