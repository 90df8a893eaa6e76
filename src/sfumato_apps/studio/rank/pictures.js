/** Images in order: sets of them from files of the reader, which stay in the browser. */

import { createNotice } from "../core/notice.js";
import { h } from "../play/dom.js";
import { createKept } from "./kept.js";
import { createList } from "./list.js";
import { ordered, ranks } from "./order.js";
import { inOrder, keyOf, placeFor, placeOf, setOfRecord, setsOf } from "./sets.js";

const PATH = "/v1/preferences", KIND = "kind=images", USUAL = "candidates.jsonl";
const isPicture = ({ type }) => type.startsWith("image/") && type !== "image/svg+xml";
const isRows = ({ name }) => /\.(jsonl|ndjson)$/i.test(name);

/** The mode: `node` for the page, `aside` for what is kept. */
export function createPictures({ api }) {
  const notice = createNotice(), list = createList(changed), files = new Map(), figures = new Map();
  const kept = createKept({ api, again, kind: "images", failed: (error) => notice.failed(error, kept.load) });
  let sets = [], at = 0, items = [], broken = new Set(), own = false, saving = false;

  const caption = h("textarea", { class: "text prompt ask", rows: 1, dir: "auto", id: "caption",
    maxlength: 4000, "aria-label": "What the images should show", placeholder: "What should they show?",
    oninput: grow });
  const pick = (label, props) => {
    const field = h("input", { type: "file", multiple: true, class: "unseen", tabindex: -1, "aria-label": label,
      ...props, onchange: () => { take([...field.files]); field.value = ""; } });
    return [h("button", { class: "quiet", onclick: () => field.click() }, label), field];
  };
  const choose = pick("Choose files", { accept: ".jsonl,.ndjson,image/*", id: "pictures" });
  const folder = pick("A folder", { webkitdirectory: true, id: "folder" });
  const over = h("button", { class: "link", onclick: () => { forget(); load([]); } }, "Start over");
  const place = h("span", { class: "count", role: "status" });
  const empty = h("p", { class: "empty" }, "Drop images here, or a ", h("code", {}, "candidates.jsonl"),
    " with the images that it names, as ", h("code", {}, "sfumato candidates image"),
    " writes them. They stay in this browser: the server keeps their names only.");
  const lacking = h("p", { class: "missing", role: "status" });
  const save = h("button", { class: "primary", onclick: store }, "Keep this order");
  const skip = h("button", { class: "quiet", onclick: () => go(at + 1) }, "Skip");
  const told = h("p", { class: "unseen", role: "status" });
  const sheet = h("dialog", { class: "sheet large", "aria-label": "Image", onclick: () => sheet.close() });
  const keeping = h("div", { class: "row keep" }, save, skip);
  const node = h("div", { class: "pictures" }, caption, h("div", { class: "row" }, choose, folder, place, over),
    notice.node, empty, lacking, list.node, keeping, told, sheet);
  const here = (event) => node.isConnected && !node.hidden && event.dataTransfer?.types.includes("Files");

  // Anywhere on the page: a browser would open a file that is dropped beside the list.
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      if (!here(event)) return;
      event.preventDefault();
      node.classList.toggle("drop", kind === "dragover");
      if (kind === "drop") take([...event.dataTransfer.files]);
    });

  /** Files of the reader: rows, images, or both. */
  async function take(found) {
    notice.clear();
    const pictures = found.filter(isPicture);
    for (const file of pictures) hold(placeOf(file), file);
    try {
      const given = found.filter(isRows), usual = given.filter(({ name }) => name === USUAL);
      const rows = given.length > 1 && usual.length ? usual : given; // exported rankings may lie beside it
      if (rows.length > 1) throw new Error(`Expected one file of rows, got ${rows.map(placeOf).join(", ")}.`);
      if (rows.length) await load(setsOf(await rows[0].text()), await known());
      else if (!pictures.length) notice.say("No image is among these files.");
      else if (own || at >= sets.length) loose(pictures.map(placeOf));
      else show(items);
    } catch (error) {
      notice.failed(error, () => take(found));
    }
  }

  function hold(name, file) {
    release(name);
    files.set(name, URL.createObjectURL(file));
    figures.clear();
    broken.clear();
  }

  function release(name) {
    if (files.has(name)) URL.revokeObjectURL(files.get(name));
    files.delete(name);
  }

  /** Images without rows are one set, of a caption that is typed. */
  function loose(names) {
    const fresh = [...new Set(names)].filter((name) => !items.some(({ text }) => text === name));
    const next = [...items, ...fresh.map((name) => ({ id: name, text: name, tied: false }))];
    sets = [{ prompt: caption.value, paths: next.map(({ text }) => text), ranks: null }];
    own = true;
    at = 0;
    show(next);
  }

  /** Sets that were ranked before. */
  async function known() {
    const lines = (await api.text(`${PATH}/export?${KIND}`)).split("\n").filter(Boolean);
    return new Set(lines.map((line) => keyOf(setOfRecord(JSON.parse(line)))));
  }

  async function load(found, done = new Set()) {
    own = false;
    sets = found.filter((one) => !done.has(keyOf(one)));
    const before = found.length - sets.length;
    if (before) notice.say(`${before} of ${found.length} sets are ranked already and left out.`);
    go(0);
  }

  function go(to) {
    at = to;
    figures.clear();
    broken.clear();
    const set = sets[at];
    caption.value = set?.prompt ?? "";
    grow();
    show(set ? inOrder(set).map(({ path, tied }, i) => ({ id: `${i} ${path}`, text: path, tied })) : []);
    if (!set && sets.length) told.textContent = "That was the last set.";
  }

  function forget() {
    for (const name of [...files.keys()]) release(name);
    figures.clear();
    broken.clear();
  }

  function show(next) {
    items = next;
    list.show(items, { live: pictureOf });
    refresh();
  }

  function changed(next, what) {
    const out = items.filter(({ id }) => !next.some((one) => one.id === id));
    if (own) for (const { text } of out) release(text);
    for (const { id } of out) broken.delete(id);
    show(next);
    told.textContent = what;
  }

  function refresh() {
    const missing = items.filter(({ text }) => placeFor(text, [...files.keys()]) === null);
    const set = at < sets.length;
    empty.hidden = items.length > 0;
    over.hidden = !sets.length && !files.size;
    caption.readOnly = set && !own;
    caption.hidden = !set;
    keeping.hidden = items.length < 2;
    skip.hidden = own || at + 1 >= sets.length;
    place.textContent = !sets.length || own ? "" : set ? `${at + 1} of ${sets.length}` : "That was the last set.";
    save.disabled = saving || missing.length > 0 || broken.size > 0 || !ordered(items);
    save.title = save.disabled ? "Needs all images, and two places at least" : "Ctrl ↵";
    lacking.hidden = !missing.length;
    lacking.textContent = `${missing.length} of ${items.length} images are not here yet: choose them, or their folder.`;
  }

  /** The image of an item; the same element as long as it is the same image. */
  function pictureOf(id) {
    const item = items.find((one) => one.id === id), held = placeFor(item.text, [...files.keys()]);
    if (held === null) return h("p", { class: "missing" }, item.text);
    if (!figures.has(id)) {
      const image = h("img", { src: files.get(held), alt: item.text, draggable: "false", onerror: () => {
        if (!figures.get(id)?.contains(image)) return; // another set is there by now
        broken.add(id);
        figures.set(id, h("p", { class: "missing" }, `${item.text} cannot be shown.`));
        show(items);
      } });
      const open = h("button", { class: "enlarge", tabindex: -1, "aria-label": `Enlarge ${item.text}`,
        onclick: () => enlarge(id) }, image);
      figures.set(id, h("figure", { class: "picture" }, open, h("figcaption", {}, item.text)));
    }
    return figures.get(id);
  }

  function enlarge(id) {
    const { text } = items.find((one) => one.id === id), held = placeFor(text, [...files.keys()]);
    if (held === null || broken.has(id)) return;
    sheet.replaceChildren(h("img", { src: files.get(held), alt: text }), h("p", {}, text));
    sheet.showModal();
  }

  async function store() {
    const completions = items.map(({ text }) => ({ path: text }));
    const record = { prompt: caption.value, completions, ranks: ranks(items) };
    saving = true;
    refresh();
    try {
      await api.post(PATH, record);
      saving = false;
      if (own) forget(), sets = [];
      go(own ? 0 : at + 1);
      own = false;
      told.textContent = "Kept.";
      await kept.load();
    } catch (error) {
      notice.failed(error, store);
    } finally {
      saving = false;
      refresh();
    }
  }

  function again(record) {
    own = false;
    sets = [setOfRecord(record), ...sets.slice(at)];
    go(0);
  }

  function grow() {
    caption.style.height = "auto";
    caption.style.height = `${caption.scrollHeight}px`;
  }

  function key(event, { typing, chord }) {
    if (chord && event.key === "Enter") {
      if (!keeping.hidden && !save.disabled) store();
      return true;
    }
    if (typing || chord || event.altKey) return false;
    const row = event.target.closest?.("li.candidate");
    if (event.key === "Enter" && row === event.target) return enlarge(row.dataset.id), true;
    const first = list.node.querySelector("li");
    if (event.key !== "ArrowDown" || !first || event.target.closest("button, a, li")) return false;
    return first.focus(), true;
  }

  show([]);
  return { node, aside: kept.node, key, load: kept.load };
}
