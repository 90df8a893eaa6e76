/** The menu that takes a text along: as a page, a film, a trace, a command, a program. */

import { h } from "../play/dom.js";
import { toLines } from "../play/trace.js";
import { commandOf, pythonOf } from "./command.js";
import { copied, download, fileName } from "./download.js";
import { filmOf } from "./film.js";
import { pageOf } from "./page.js";

const named = (text) => (text.length <= 36 ? text : `${text.slice(0, 36).replace(/\s\S*$/, "")} …`);
const SHIPPED = "sfumato";

/**
 * A menu over the text that is shown.
 * @param {{trace: function(): ?Trace, run: function(): Object}} what
 *   the finished trace, and the run that wrote it as `commandOf` takes it
 */
export function createShare({ trace, run }) {
  let model = null;
  const said = h("span", { class: "said", role: "status" });
  const list = h("div", { class: "items", role: "menu" });
  const box = h("details", {}, h("summary", { class: "quiet" }, "Take along"), list);
  const node = h("div", { class: "menu" }, box, said);
  const name = (ending) => fileName(trace().end.text, ending);
  const asked = () => ({ ...run(), model });

  const page = async () => download(name("html"),
    await pageOf("sfumato", [{ title: named(trace().end.text), trace: trace() }]), "text/html");
  const film = async (told) => download(name("gif"), await filmOf(trace(), told), "image/gif");
  const lines = () => download(name("jsonl"), toLines(trace()), "application/x-ndjson");
  const copy = (text) => async () => { if (!(await copied(text()))) byHand(text()); else say("Copied"); };
  const items = [
    ["Page that plays it", ".html", page],
    ["Film", ".gif", film],
    ["Trace", ".jsonl", lines],
    null,
    ["Copy the text", "", copy(() => trace().end.text)],
    ["Copy the command", "sfumato …", copy(() => commandOf(asked()))],
    ["Copy as Python", "import …", copy(() => pythonOf(asked()))],
  ];
  list.append(...items.map((item) => (item ? entry(...item) : h("hr"))));

  function entry(label, kind, act) {
    const about = h("small", {}, kind);
    const button = h("button", { role: "menuitem" }, h("span", {}, label), about);
    const told = (share) => { about.textContent = `${Math.round(100 * share)} %`; };
    button.addEventListener("click", async () => {
      button.setAttribute("aria-busy", "true");
      try {
        await act(told);
      } finally {
        button.removeAttribute("aria-busy");
        about.textContent = kind;
        box.open = false;
      }
    });
    return button;
  }

  function say(text) {
    said.textContent = text;
    setTimeout(() => { said.textContent = ""; }, 1800);
  }

  function byHand(text) {
    const field = h("textarea", { class: "code", readonly: true, rows: 8, value: text, "aria-label": "To copy" });
    const form = h("form", { method: "dialog", class: "inside" }, h("h2", {}, "Copy by hand"), field,
      h("button", { type: "submit", class: "quiet" }, "Close"));
    const sheet = h("dialog", { class: "sheet", onclose: () => sheet.remove() }, form);
    document.body.append(sheet);
    sheet.showModal();
    field.select();
  }

  box.addEventListener("toggle", () => { if (box.open) list.querySelector("button").focus(); });
  node.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + buttons.length }[event.key];
    if (event.key === "Escape" && box.open) box.open = false, box.firstChild.focus();
    else if (to !== undefined && box.open) buttons[to % buttons.length].focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  node.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !node.contains(event.relatedTarget)) box.open = false;
  });
  document.addEventListener("pointerdown", (event) => { if (!node.contains(event.target)) box.open = false; });
  return { node, of: (value) => { model = value && value !== SHIPPED ? value : null; } };
}
