/** Elements made by hand: text enters a page as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes, listeners and children.
 * @param {string} tag
 * @param {Object<string, any>} [props] `class`, `data` (an object), `on…` listeners, attributes;
 *   false, null and undefined leave an attribute out.
 * @param {...(Node|string|null|Array)} children strings become text nodes
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  if (tag === "button") node.type = "button"; // what sends a form says so
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name !== "value") node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  if (props.value !== undefined) node.value = props.value;
  return node;
}

/** An SVG element with attributes. */
export function s(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const SHAPES = {
  play: "M7 4.5v15L20 12z",
  pause: "M6.5 5h4v14h-4zM13.5 5h4v14h-4z",
  back: "M7 5h2.2v14H7zM19 5v14L9.8 12z",
  next: "M14.8 5H17v14h-2.2zM5 5l9.2 7L5 19z",
};

/** One of the filled shapes above, as a picture without a name. */
export function shape(name) {
  return s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: SHAPES[name] }));
}

/** Whether the reader asked for less motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
