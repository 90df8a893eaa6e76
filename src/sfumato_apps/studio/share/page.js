/** A self-contained page that plays traces: `sfumato write --page` makes the same one. */

const SCRIPTS = ["dom.js", "trace.js", "canvas.js", "player.js", "page.js"];
const STYLES = ["../css/tokens.css", "../css/play.css", "page.css"];
const fetched = async (name) => (await fetch(new URL(`../play/${name}`, import.meta.url))).text();
const all = (names) => Promise.all(names.map(fetched));

/**
 * The source of the page.
 * @param {string} title its heading
 * @param {{title: string, trace: Trace}[]} texts finished traces
 * @returns {Promise<string>}
 */
export async function pageOf(title, texts) {
  const [template, styles, scripts] = [await fetched("page.html"), await all(STYLES), await all(SCRIPTS)];
  const nonce = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16)).join("");
  const lines = ({ head, steps, end }) => [head, ...steps, end];
  const parts = {
    policy: `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; `
      + "base-uri 'none'; form-action 'none'",
    nonce: ` nonce="${nonce}"`,
    title: escaped(title),
    style: styles.join("\n"),
    script: joined(scripts),
    plain: texts.map(({ trace }) => `<p>${escaped(trace.end.text)}</p>`).join(""),
    data: embedded(texts.map((one) => ({ title: one.title, lines: lines(one.trace) }))),
  };
  return template.replace(/\$(\w+)/g, (_, name) => parts[name]);
}

/** Modules as one: what they import from each other stands above them. */
export const joined = (sources) =>
  sources.join("\n").replace(/^import .*\n/gm, "").replace(/^export /gm, "");

const NAMES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" };
const escaped = (text) => text.replace(/[&<>"']/g, (letter) => NAMES[letter]);

/** JSON that cannot end the script element it stands in. */
const embedded = (data) => JSON.stringify(data).replace(/[&<>\u2028\u2029]/g,
  (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
