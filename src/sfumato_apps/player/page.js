"use strict";
// Plays traces of a denoising. Text from the model enters the page as textContent only.
(() => {
  const texts = JSON.parse(document.getElementById("data").textContent);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const el = (id) => document.getElementById(id);
  const HOLD = 2600; // ms at the end of a text before the next one begins
  let current = 0, step = 0, playing = false, timer = 0, speed = 1, slots = [], frames = [];

  const make = (tag, kind, text) => {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // Squared, because most confidences are high and their differences should show.
  const ink = (sure) => `${Math.round(100 * sure * sure)}%`;

  // What each slot holds after each step: {piece, sure, at}; piece null is haze.
  function unfold(text) {
    const states = [text.tokens.map((token) => ({ piece: token.piece, sure: token.sure, at: 0 }))];
    for (const event of text.steps) {
      const now = states[states.length - 1].slice();
      for (const place of event.remask) now[place] = { piece: null, sure: 0, at: event.step };
      for (const [place, piece, sure] of event.set) now[place] = { piece, sure, at: event.step };
      states.push(now);
    }
    return states;
  }

  // The piece that a slot of haze will hold next: it gives the haze its width.
  function coming(place, from) {
    for (let i = from; i < frames.length; i++) {
      if (frames[i][place].piece !== null) return frames[i][place].piece;
    }
    return "";
  }

  // Neighbouring given tokens share one box; the spaces around them stay outside it.
  function lay(text) {
    const line = el("text");
    line.replaceChildren();
    slots = [];
    let given = "", opened = false;
    const close = () => {
      const inside = given.trim();
      const [lead, tail] = inside ? given.split(inside) : [given, ""];
      line.append(lead);
      if (inside) line.append(make("span", "locked", inside), tail);
      opened ||= inside !== "";
      given = "";
    };
    text.tokens.forEach((token, place) => {
      if (token.locked) given += token.piece ?? "";
      else {
        if (given) close();
        const slot = line.appendChild(make("span"));
        const gap = slot.appendChild(make("span", "", ""));
        const word = slot.appendChild(make("span", "word", ""));
        slot.style.setProperty("--when", `${-(place * 0.73) % 5.6}s`);
        slots.push({ slot, gap, word, place, opened });
      }
    });
    if (given) close();
  }

  function paint() {
    const text = texts[current], states = frames[step], at = step ? text.steps[step - 1].step : -1;
    let begun = false; // the space of the first word is not shown
    for (const part of slots) {
      const { piece, sure, at: when } = states[part.place];
      const shown = piece === null ? coming(part.place, step) : piece;
      const lead = shown.match(/^\s*/)[0].length, space = begun || part.opened ? shown.slice(0, lead) : "";
      begun ||= shown !== "";
      if (part.gap.textContent !== space) part.gap.textContent = space;
      if (part.word.textContent !== shown.slice(lead)) part.word.textContent = shown.slice(lead);
      part.slot.className = shown === "" ? (piece === null ? "void" : "void gone")
        : piece === null ? "slot haze" : `slot ink${when === at ? " fresh" : ""}`;
      part.slot.style.setProperty("--sure", ink(sure));
    }
    const done = slots.filter((part) => states[part.place].piece !== null).length;
    const last = text.steps.length ? text.steps[text.steps.length - 1].step : 0;
    const unit = last === text.passes ? "pass" : "step";
    const settled = slots.some((part) => text.tokens[part.place].piece === null)
      ? `\n${done} of ${slots.length} settled` : "";
    el("count").textContent = `${unit} ${Math.max(at, 0)} of ${last}${settled}`;
    el("seek").value = step;
    el("seek").setAttribute("aria-valuetext", el("count").textContent.replace("\n", ", "));
    const bars = el("wave").children, share = step / Math.max(text.steps.length, 1);
    for (let i = 0; i < bars.length; i++)
      bars[i].classList.toggle("past", (i + 0.5) / bars.length < share);
  }

  // One bar a step (or a few): its height is how many tokens were committed, its ink how surely.
  function draw(text) {
    const wave = el("wave"), count = Math.min(text.steps.length, 96);
    const cells = Array.from({ length: count }, () => []);
    text.steps.forEach((event, i) =>
      cells[Math.floor((i * count) / text.steps.length)].push(...event.set.map((item) => item[2])));
    const most = Math.max(4, ...cells.map((cell) => cell.length));
    wave.replaceChildren(...cells.map((cell) => {
      const bar = make("i"), mean = cell.reduce((a, b) => a + b, 0) / Math.max(cell.length, 1);
      bar.style.height = `${(100 * Math.sqrt(cell.length / most)).toFixed(1)}%`;
      bar.style.setProperty("--sure", ink(mean));
      return bar;
    }));
  }

  function facts(text) {
    const written = frames[frames.length - 1].filter(
      (state, i) => !text.tokens[i].locked && state.piece).length;
    const again = text.steps.reduce((sum, event) => sum + event.remask.length, 0);
    const parts = [`${text.passes} forward passes`, `${written} tokens written`];
    if (text.passes) parts.push(`${(written / text.passes).toFixed(1)} a pass`);
    if (again) parts.push(`${again} taken back`);
    return [...parts, `seed ${text.seed}`].join(" · ");
  }

  function open(which, from) {
    current = which;
    const text = texts[current];
    frames = unfold(text);
    el("name").textContent = text.title;
    el("final").textContent = `Final text: ${text.text}`;
    el("note").textContent = facts(text);
    el("seek").max = text.steps.length;
    [...el("index").children].forEach((item, i) =>
      item.firstChild.setAttribute("aria-current", String(i === current)));
    const tab = el("index").children[current], rail = el("index").parentNode;
    rail.scrollLeft = tab.offsetLeft - (rail.clientWidth - tab.offsetWidth) / 2;
    lay(text);
    draw(text);
    go(from);
  }

  function go(to) {
    step = Math.max(0, Math.min(to, texts[current].steps.length));
    paint();
  }

  function say() {
    const pieces = frames[step].map((state) => (state.piece === null ? "…" : state.piece));
    const seen = pieces.join("").replace(/…(\s*…)*/g, " … ");
    el("status").textContent = `${el("count").textContent.replace("\n", ", ")}. ${seen}`;
  }

  function pace() {
    const base = Math.max(55, Math.min(420, 8000 / Math.max(texts[current].steps.length, 1)));
    return base / speed;
  }

  function tick() {
    const last = texts[current].steps.length;
    if (step < last) {
      go(step + 1);
      timer = setTimeout(tick, step < last ? pace() : HOLD / speed);
    } else if (current + 1 < texts.length) {
      open(current + 1, 0);
      timer = setTimeout(tick, 900 / speed);
    } else {
      play(false);
    }
  }

  function play(on) {
    clearTimeout(timer);
    playing = on;
    el("play").classList.toggle("on", on);
    el("play").setAttribute("aria-label", on ? "Pause" : "Play");
    if (!on) return say();
    if (step >= texts[current].steps.length) go(0);
    timer = setTimeout(tick, step ? pace() : 900 / speed);
  }

  function move(to) {
    play(false);
    go(to);
    say();
  }

  // Whoever asked for calm sees the finished text first and plays it by hand.
  function begin(which) {
    open(which, calm ? Infinity : 0);
    play(!calm);
  }

  texts.forEach((text, i) => {
    const item = el("index").appendChild(make("li"));
    const button = item.appendChild(make("button", "", text.title));
    button.type = "button";
    button.addEventListener("click", () => begin(i));
  });
  el("index").parentNode.hidden = texts.length < 2;
  el("play").addEventListener("click", () => play(!playing));
  el("back").addEventListener("click", () => move(step - 1));
  el("next").addEventListener("click", () => move(step + 1));
  el("seek").addEventListener("input", (event) => move(Number(event.target.value)));
  el("speed").addEventListener("change", (event) => { speed = Number(event.target.value); });
  el("text").addEventListener("pointerover", (event) => {
    const part = slots.find((one) => one.slot.contains(event.target));
    if (!part || frames[step][part.place].piece === null) return;
    const { piece, sure, at } = frames[step][part.place];
    el("note").textContent = `“${piece.trim()}” · step ${at} · ${Math.round(sure * 100)} % sure`;
  });
  el("text").addEventListener("pointerleave", () => { el("note").textContent = facts(texts[current]); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target.id || event.target.tagName;
    const steps = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 0, End: Infinity };
    if (event.key === " " && !["BUTTON", "SELECT"].includes(event.target.tagName)) play(!playing);
    else if (event.key in steps && !["seek", "speed"].includes(on)) move(steps[event.key]);
    else return;
    event.preventDefault();
  });

  begin(0);
})();
