/** Whether the server is there, and the model that it serves. */

import { h } from "../play/dom.js";

const EVERY = 3000; // ms between two looks while the server is gone

/** Names the model, and says it when the server goes away and when it is back. */
export function watchServer({ api, store, node }) {
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    try {
      const { data } = await api.get("/v1/models");
      const [{ id = "", kind = "tokens", takes = null } = {}] = data;
      for (const [name, value] of Object.entries({ model: id, kind, takes })) store.set(name, value);
      store.set("gone", false);
    } catch (error) {
      if (error.status) store.set("gone", false);
    }
  }

  node.append(h("p", {}, "The server is gone. Start it with ", h("code", {}, "sfumato serve"),
    ": the studio goes on by itself, and what you wrote is still here."));
  store.on("gone", (gone) => {
    node.hidden = !gone;
    clearTimeout(timer);
    if (gone) timer = setTimeout(look, EVERY);
  });
  look();
}
