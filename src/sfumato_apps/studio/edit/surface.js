/**
 * The text of Edit: a text area that one reads through. Under it stands the same text with its marks,
 * letter over letter, so that selecting, the cursor and the keyboard are the browser's own.
 */

import { h } from "../play/dom.js";
import { pieces } from "./marks.js";

/**
 * A surface.
 * @param {{typed: function(string), moved: function()}} on
 * @returns {{node: HTMLElement, field: HTMLTextAreaElement, show: function, selection: function}}
 */
export function createSurface({ typed, moved }) {
  let locked = false, held = "";
  const under = h("div", { class: "text under", "aria-hidden": "true", dir: "auto" });
  const field = h("textarea", { class: "text over", rows: 1, dir: "auto", spellcheck: "false", id: "source",
    "aria-label": "The text to edit", "aria-describedby": "lock", maxlength: 20000,
    placeholder: "Paste or type a text. Then select what may change." });
  const node = h("div", { class: "surface" }, under, field);

  field.addEventListener("beforeinput", (event) => {
    if (locked || event.inputType.startsWith("history")) event.preventDefault();
  });
  field.addEventListener("input", () => {
    if (locked) field.value = held;
    else typed(field.value);
  });
  for (const kind of ["select", "keyup", "pointerup"]) field.addEventListener(kind, moved);

  /** Shows a state; what is not open is locked if anything is, or if asked for. */
  function show({ text, marks, fresh = [] }, lock) {
    locked = lock;
    held = text;
    const { selectionStart, selectionEnd } = field;
    if (field.value !== text) {
      field.value = text;
      field.setSelectionRange(selectionStart, selectionEnd);
    }
    field.setAttribute("aria-readonly", String(lock));
    field.inputMode = lock ? "none" : "text";
    node.classList.toggle("locks", lock);
    under.replaceChildren(...(marks.length || !fresh.length ? marked(text, marks, lock) : written(fresh)), "\u200b");
    fit();
  }

  function fit() {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
  }

  new ResizeObserver(fit).observe(node);
  return { node, field, show, fit, selection: () => [field.selectionStart, field.selectionEnd] };
}

function marked(text, marks, lock) {
  return pieces(text, marks).map(({ text: piece, mark }) => {
    if (!mark) return lock ? h("span", { class: "shut" }, piece) : piece;
    if (mark.start === mark.stop) return h("span", { class: "open gap" });
    return h("span", { class: `open ${mark.kind}` }, piece);
  });
}

function written(segments) {
  return segments.filter(({ kind }) => kind !== "removed")
    .map(({ kind, text }) => h("span", { class: kind === "written" ? "shut new" : "shut" }, text));
}
