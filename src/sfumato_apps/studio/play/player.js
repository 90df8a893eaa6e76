/** Plays a trace on a canvas: play, pause, step, scrub, at a speed; also while it still grows. */

import { ink, spoken } from "./canvas.js";
import { calm, h, shape } from "./dom.js";
import { progress } from "./trace.js";

const SPEEDS = [["0.5", "½ ×"], ["1", "1 ×"], ["2", "2 ×"], ["4", "4 ×"]];
const FIRST = 700, BARS = 96; // ms that the untouched haze is seen; bars of the wave at most

/**
 * A player of one trace at a time.
 * @param {{lay: function, paint: function}} canvas
 * @param {{onended?: function(), onmoved?: function(number), rest?: number}} [options]
 *   onended is called when playing reaches the end, after `rest` ms
 * @returns an object with `bar` (its controls), `open`, `grown`, `move`, `play`, `key`, `step`
 */
export function createPlayer(canvas, { onended = () => {}, onmoved = () => {}, rest = 0 } = {}) {
  let trace = null, step = 0, playing = false, waiting = false, timer = 0, speed = 1;
  const { bar, parts } = controls({
    toggle: () => play(!playing),
    to: (where) => move(where),
    speed: (value) => { speed = value; },
    at: () => step,
  });
  const last = () => trace.steps.length;

  function open(next, { from = 0, run = true } = {}) {
    clearTimeout(timer);
    trace = next;
    canvas.lay(trace);
    draw(parts.wave, trace);
    go(from);
    play(run);
  }

  /** The trace has more lines than before, or its end. */
  function grown() {
    draw(parts.wave, trace);
    if (waiting) play(true);
    else show();
  }

  function go(to) {
    step = Math.max(0, Math.min(to, last()));
    canvas.paint(step);
    show();
    onmoved(step);
  }

  function show() {
    const text = counted(trace, step);
    parts.count.textContent = text;
    parts.seek.max = last();
    parts.seek.value = step;
    parts.seek.setAttribute("aria-valuetext", text.replace("\n", ", "));
    const bars = parts.wave.children, share = step / Math.max(last(), 1);
    for (let i = 0; i < bars.length; i++)
      bars[i].classList.toggle("past", (i + 0.5) / bars.length < share);
  }

  const pace = () => Math.max(50, Math.min(420, 8000 / Math.max(last(), 1))) / speed;

  function tick() {
    if (step < last()) {
      go(calm() && !trace.end ? last() : step + 1);
      timer = setTimeout(tick, pace());
    } else if (trace.end) {
      timer = setTimeout(() => { play(false); onended(); }, rest / speed);
    } else waiting = true;
  }

  function play(on) {
    clearTimeout(timer);
    playing = on;
    waiting = false;
    parts.play.replaceChildren(shape(on ? "pause" : "play"));
    parts.play.setAttribute("aria-label", on ? "Pause" : "Play");
    if (!on) return say();
    if (trace.end && step >= last()) go(0);
    timer = setTimeout(tick, step ? pace() : FIRST / speed);
  }

  function move(to) {
    play(false);
    go(to);
    say();
  }

  function say() {
    const count = parts.count.textContent.replace("\n", ", ");
    parts.status.textContent = `${count}. ${spoken(trace.states[step])}`;
  }

  /** Space, arrows, Home and End; whether the key was one of them. */
  function key(event) {
    if (!trace || event.ctrlKey || event.metaKey || event.altKey) return false;
    const steps = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 0, End: Infinity };
    if (event.key === " ") play(!playing);
    else if (event.key in steps) move(steps[event.key]);
    else return false;
    return true;
  }

  return { bar, open, grown, move, play, key, get step() { return step; }, get trace() { return trace; } };
}

function counted(trace, step) {
  const at = step ? trace.steps[step - 1].step : 0, end = trace.steps.at(-1)?.step ?? 0;
  const unit = trace.end && end === trace.end.passes ? "pass" : "step";
  const { open, done } = progress(trace, step);
  return `${unit} ${at}${trace.end ? ` of ${end}` : ""}${open ? `\n${done} of ${open} settled` : ""}`;
}

/** One bar a step (or a few): its height is how many tokens were set, its ink how surely. */
function draw(wave, trace) {
  const count = Math.min(trace.steps.length, BARS);
  const cells = Array.from({ length: count }, () => []);
  trace.steps.forEach((event, i) =>
    cells[Math.floor((i * count) / trace.steps.length)].push(...event.set.map((item) => item[3])));
  const most = Math.max(4, ...cells.map((cell) => cell.length));
  wave.replaceChildren(...cells.map((cell) => {
    const column = h("i"), mean = cell.reduce((a, b) => a + b, 0) / Math.max(cell.length, 1);
    column.style.height = `${(100 * Math.sqrt(cell.length / most)).toFixed(1)}%`;
    column.style.setProperty("--sure", ink(mean));
    return column;
  }));
}

function controls({ toggle, to, speed, at }) {
  const button = (label, name, onclick) =>
    h("button", { "aria-label": label, onclick }, shape(name));
  const parts = {
    back: button("One step back", "back", () => to(at() - 1)),
    play: button("Play", "play", toggle),
    next: button("One step on", "next", () => to(at() + 1)),
    wave: h("div", { class: "wave", "aria-hidden": "true" }),
    seek: h("input", { class: "seek", type: "range", min: 0, value: 0, step: 1, "aria-label": "Step",
      oninput: (event) => to(Number(event.target.value)) }),
    count: h("p", { class: "count", "aria-hidden": "true" }),
    speed: h("select", { "aria-label": "Speed", onchange: (event) => speed(Number(event.target.value)) },
      SPEEDS.map(([value, label]) => h("option", { value, selected: value === "1" }, label))),
    status: h("p", { class: "unseen", role: "status" }),
  };
  parts.play.classList.add("main");
  const bar = h("div", { class: "player", role: "group", "aria-label": "Playback" },
    h("div", { class: "buttons" }, parts.back, parts.play, parts.next),
    h("div", { class: "time" }, parts.wave, parts.seek), parts.count, parts.speed, parts.status);
  return { bar, parts };
}
