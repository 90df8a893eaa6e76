/** The one small store: values with listeners; some are kept in the browser. */

const KEPT = "sfumato.";

/** A value that was kept under a name, or the other one. */
export function recall(name, other) {
  try {
    return JSON.parse(localStorage.getItem(KEPT + name)) ?? other;
  } catch {
    return other;
  }
}

/** Keeps a value under a name; a browser that keeps nothing is no error. */
export function keep(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(KEPT + name);
    else localStorage.setItem(KEPT + name, JSON.stringify(value));
  } catch {
    // private windows and full disks
  }
}

/**
 * A store.
 * @param {Object<string, any>} values at the start
 */
export function createStore(values) {
  const heard = new Map();
  return {
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      for (const listener of heard.get(name) ?? []) listener(value);
    },
    on(name, listener) {
      heard.set(name, [...(heard.get(name) ?? []), listener]);
      listener(values[name]);
    },
  };
}
