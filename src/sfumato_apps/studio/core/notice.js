/** What a tool says about its requests: waiting, queued, refused, failed; and trying again. */

import { h } from "../play/dom.js";

/**
 * A notice that is hidden while there is nothing to say.
 * @returns {{node: HTMLElement, queued: function, failed: function, say: function, clear: function}}
 */
export function createNotice() {
  const node = h("div", { class: "notice", role: "status", hidden: true });
  let timer = 0;

  function put(kind, text, ...actions) {
    clearInterval(timer);
    node.className = `notice ${kind}`;
    node.replaceChildren(h("p", {}, text), h("div", { class: "actions" }, actions));
    node.hidden = false;
  }

  function clear() {
    clearInterval(timer);
    node.hidden = true;
    node.replaceChildren();
  }

  const button = (label, onclick) =>
    h("button", { class: "quiet", onclick: () => { clear(); onclick(); } }, label);

  function queued(place, stop) {
    const before = place === 1 ? "One request is" : `${place} requests are`;
    const text = place ? `Queued. ${before} before this one.` : "Waiting for the model …";
    put("waiting", text, button("Cancel", stop));
  }

  /** A failure with its way out; a full queue is tried again by itself. */
  function failed(error, retry) {
    if (error.name === "AbortError") return clear();
    if (error.status === 429) return full(error.retryAfter ?? 3, retry);
    const gone = error.status === 0;
    const help = gone ? " Is `sfumato serve` still running? What you wrote is still here." : "";
    put("failed", `${error.message}${help}`, button("Try again", retry), button("Dismiss", () => {}));
  }

  function full(seconds, retry) {
    let left = seconds;
    const text = () => `The server is busy. Trying again in ${left} s.`;
    put("waiting", text(), button("Now", retry), button("Cancel", () => {}));
    timer = setInterval(() => {
      left -= 1;
      node.firstChild.textContent = text();
      if (left > 0) return;
      clear();
      retry();
    }, 1000);
  }

  const say = (text) => put("said", text, button("Dismiss", () => {}));
  return { node, queued, failed, say, clear };
}
