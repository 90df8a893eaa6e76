/** The help sheet and the question for a token. */

import { h } from "../play/dom.js";

const KEYS = [
  ["Everywhere", [
    ["Alt 1 … 4", "Write, Edit, Rank, Runs"],
    ["Ctrl ↵", "write, rewrite, save"],
    ["?", "this sheet"],
  ]],
  ["Playing", [
    ["Space", "play and pause"],
    ["← →", "one step back, one step on"],
    ["Home End", "the haze, the finished text"],
    ["1 … 8", "another of the texts"],
  ]],
  ["Edit", [
    ["R", "open the selection for rewriting"],
    ["D", "delete the selection"],
    ["H", "put a hole at the selection or the cursor"],
    ["Esc", "close what is open; then type again"],
    ["Ctrl Z, Ctrl ⇧ Z", "undo, redo"],
  ]],
  ["Rank", [
    ["↑ ↓", "the next candidate"],
    ["⇧ ↑, ⇧ ↓", "move it up or down"],
    ["=", "as good as the one above, or not"],
    ["↵", "images: as large as the page"],
    ["← → ↓", "blind: left, right, as good"],
  ]],
];

/** The sheet of keys; `open` shows it. */
export function createHelp() {
  const close = () => node.close();
  const node = h("dialog", { class: "sheet", "aria-labelledby": "help-name", onclick: (event) => {
    if (event.target === node) close();
  } },
  h("div", { class: "inside" },
    h("h2", { id: "help-name", tabindex: -1, autofocus: true }, "Reading and keys"),
    h("p", { class: "lede" }, "Text begins as ",
      h("span", { class: "slot haze" }, h("span", { class: "word" }, "haze")),
      ". A word appears when the model commits to it; the warmer its ink, the ",
      h("span", { class: "unsure" }, "less sure"), " the model was. What was ",
      h("span", { class: "locked" }, "given"), " is locked and never changes."),
    h("div", { class: "keys" }, KEYS.map(([title, rows]) =>
      h("section", {}, h("h3", {}, title), h("dl", {}, rows.map(([keys, what]) =>
        h("div", {}, h("dt", {}, keys.split(", ").flatMap((chord, i) => [i ? " " : null, h("kbd", {}, chord)])),
          h("dd", {}, what))))))),
    h("button", { class: "quiet", onclick: close }, "Close")));
  return { node, open: () => node.showModal() };
}

/**
 * Asks for the server's token.
 * @param {boolean} wrong whether one was tried
 * @returns {Promise<?string>} null where the reader has none
 */
export function askToken(wrong) {
  const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = h("form", { method: "dialog", class: "inside" },
    h("h2", { id: "token-name" }, wrong ? "That token is not this server’s" : "This server needs a token"),
    h("p", { class: "lede" }, "It was printed when the server was started, or stands in the file that ",
      h("code", {}, "--token-file"), " names. This tab keeps it until it is closed."),
    h("label", { for: "token" }, "Token"), field,
    h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Go on")));
  const node = h("dialog", { class: "sheet small", "aria-labelledby": "token-name" }, form);
  document.body.append(node);
  node.showModal();
  return new Promise((resolve) => {
    node.addEventListener("close", () => {
      node.remove();
      resolve(field.value.trim() || null);
    });
  });
}
