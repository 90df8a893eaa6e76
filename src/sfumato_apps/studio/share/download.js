/** Files for the reader, made in the page. */

import { h } from "../play/dom.js";

/** Offers a file for download. */
export function download(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = h("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A short name of a file from a text: letters and digits of any script. */
export function fileName(text, ending) {
  const words = text.trim().toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["text"];
  return `${words.slice(0, 5).join("-").slice(0, 40)}.${ending}`;
}

/** Copies a text; where the browser forbids it, the text is shown to be copied by hand. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
