import { h } from "../play/dom.js"; export function createRank() { return { node: h("div", {class: "tool"}, "rank"), take() {} }; }
