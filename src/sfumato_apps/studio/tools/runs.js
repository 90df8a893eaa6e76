import { h } from "../play/dom.js"; export function createRuns() { return { node: h("div", {class: "tool"}, "runs"), take() {} }; }
