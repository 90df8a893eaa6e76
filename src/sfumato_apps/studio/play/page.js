/** A page that plays one or several traces: the glue around canvas and player. */

import { createCanvas } from "./canvas.js";
import { calm, h } from "./dom.js";
import { createPlayer } from "./player.js";
import { facts, grow, opened } from "./trace.js";

const texts = JSON.parse(document.getElementById("data").textContent).map(({ title, lines }) => ({
  title,
  trace: lines.slice(1).reduce(grow, opened(lines[0], lines.at(-1).text)),
}));
const part = (id) => document.getElementById(id);
const canvas = createCanvas(part("text"));
const player = createPlayer(canvas, { onended: following, rest: 2600 });
const rail = part("index").parentNode;
let current = 0;

const tell = () => { part("note").textContent = facts(texts[current].trace); };

// Whoever asked for calm sees the finished text first and plays it by hand.
function begin(which) {
  current = which;
  const { title, trace } = texts[current];
  part("name").textContent = title;
  part("final").textContent = `Final text: ${trace.end.text}`;
  [...part("index").children].forEach((item, i) =>
    item.firstChild.setAttribute("aria-current", String(i === current)));
  const tab = part("index").children[current];
  rail.scrollLeft = tab.offsetLeft - (rail.clientWidth - tab.offsetWidth) / 2;
  player.open(trace, { from: calm() ? Infinity : 0, run: !calm() });
  tell();
}

function following() {
  if (current + 1 < texts.length) begin(current + 1);
}

texts.forEach(({ title }, i) => part("index").append(
  h("li", {}, h("button", { onclick: () => begin(i) }, title))));
rail.hidden = texts.length < 2;
part("playback").append(player.bar);
part("text").addEventListener("pointerover", (event) => {
  const cell = canvas.cellOf(event.target);
  if (!cell) return;
  const sure = Math.round(cell.sure * 100);
  part("note").textContent = `“${cell.piece.trim()}” · step ${cell.at} · ${sure} % sure`;
});
part("text").addEventListener("pointerleave", tell);
document.addEventListener("keydown", (event) => {
  const on = event.target.tagName;
  if (["SELECT", "INPUT"].includes(on) || (on === "BUTTON" && event.key === " ")) return;
  if (player.key(event)) event.preventDefault();
});
begin(0);
