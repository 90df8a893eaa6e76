/** Whether the server is there, and the model that it serves. */

import { h } from "../play/dom.js";

const EVERY = 4000; // ms between two looks while the server is gone

/** Names the model, and says it when the server goes away and comes back. */
export async function watchServer({ api, store, node }) {
  let gone = false;

  async function look() {
    try {
      if (gone) await api.get("/healthz");
      if (gone || store.get("model") === null) {
        const { data } = await api.get("/v1/models");
        store.set("model", data[0]?.id ?? "");
      }
      gone = false;
    } catch (error) {
      gone = error.status === 0;
    }
    node.hidden = !gone;
    if (gone) setTimeout(look, EVERY);
  }

  node.append(h("p", {}, "The server is gone. Start it with ", h("code", {}, "sfumato serve"),
    ": the studio goes on by itself, and what you wrote is still here."));
  addEventListener("offline-server", () => { if (!gone) gone = true, node.hidden = false, look(); });
  await look();
}
