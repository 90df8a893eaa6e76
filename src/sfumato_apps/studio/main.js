/** Starts the studio: the frame around the tools, the theme, the token, the keys. */

import { createApi } from "./core/api.js";
import { askToken, createHelp } from "./core/dialogs.js";
import { createStore, keep, recall } from "./core/store.js";
import { watchServer } from "./core/presence.js";
import { h } from "./play/dom.js";
import { createEdit } from "./tools/edit.js";
import { createRank } from "./tools/rank.js";
import { createRuns } from "./tools/runs.js";
import { createWrite } from "./tools/write.js";

const TOOLS = { write: createWrite, edit: createEdit, rank: createRank, runs: createRuns };
const NAMES = { write: "Write", edit: "Edit", rank: "Rank", runs: "Runs" };
const THEMES = { system: "As the system", light: "Light", dark: "Dark" };
const TOKEN = "sfumato.token";

const store = createStore({ theme: recall("theme", "system"), model: null, kind: "tokens", takes: null,
  gone: false });
const api = createApi({ token: () => sessionStorage.getItem(TOKEN), refused: newToken,
  lost: () => store.set("gone", true) });
const stage = document.getElementById("stage"), made = {};
let current = null;

function tokenFromAddress() {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem(TOKEN, decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname);
}

async function newToken() {
  const token = await askToken(sessionStorage.getItem(TOKEN) !== null);
  if (token) sessionStorage.setItem(TOKEN, token);
  return Boolean(token);
}

/** Hands something from one tool to another and goes there. */
function hand(tool, ...what) {
  location.hash = tool;
  show(tool).take(...what);
}

function show(name) {
  made[name] ??= TOOLS[name]({ api, store, hand });
  if (current === made[name]) return current;
  current?.leave?.();
  current = made[name];
  stage.replaceChildren(current.node);
  for (const tab of document.querySelectorAll(".tabs a"))
    if (tab.hash === `#${name}`) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  document.title = `${NAMES[name]} · sfumato studio`;
  current.enter?.();
  return current;
}

function route() {
  const name = location.hash.slice(1);
  if (name === "stage") return stage.focus();
  show(name in TOOLS ? name : "write");
}

function frame() {
  const tabs = Object.entries(NAMES).map(([name, label]) => h("a", { href: `#${name}` }, label));
  document.querySelector(".tabs").append(...tabs);
  const help = createHelp();
  const theme = h("button", { class: "round theme", onclick: nextTheme });
  const ask = h("button", { class: "round", "aria-label": "Keys and help",
    onclick: help.open }, "?");
  const model = h("span", { class: "model" });
  document.querySelector(".corner").append(model, theme, ask);
  document.body.append(help.node);
  store.on("theme", (value) => {
    document.documentElement.dataset.theme = value;
    theme.setAttribute("aria-label", `Colours: ${THEMES[value]}`);
    theme.title = theme.getAttribute("aria-label");
    keep("theme", value);
  });
  store.on("model", (value) => { model.textContent = value ?? ""; });
  return help;
}

function nextTheme() {
  const names = Object.keys(THEMES);
  store.set("theme", names[(names.indexOf(store.get("theme")) + 1) % names.length]);
}

/** Keys that hold in every tool; the others are the tool's. */
function keys(help) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("textarea, input:not([type=range]), select, dialog");
    const chord = event.ctrlKey || event.metaKey;
    if (!typing && !chord && !event.altKey && event.key === "?") help.open();
    else if (event.altKey && !chord && /^Digit[1-4]$/.test(event.code))
      location.hash = Object.keys(NAMES)[Number(event.code.at(-1)) - 1];
    else if (!current.key?.(event, { typing: Boolean(typing), chord })) return;
    event.preventDefault();
  });
}

tokenFromAddress();
keys(frame());
addEventListener("hashchange", route);
route();
watchServer({ api, store, node: document.getElementById("gone") });
