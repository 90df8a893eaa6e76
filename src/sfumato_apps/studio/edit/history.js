/** Undo and redo over whole states. */

const PAUSE = 900, MOST = 200; // ms that end a stretch of typing; states kept

/**
 * A history.
 * @param {any} first the state at the start; states are never changed, only replaced
 */
export function createHistory(first, now = Date.now) {
  let states = [first], at = 0, typed = 0;
  return {
    get state() { return states[at]; },
    get canUndo() { return at > 0; },
    get canRedo() { return at < states.length - 1; },
    /** A new state; typing that goes on without a pause is one. */
    push(state, { typing = false } = {}) {
      const goesOn = typing && now() - typed < PAUSE && at > 0;
      states = [...states.slice(0, goesOn ? at : at + 1), state].slice(-MOST);
      at = states.length - 1;
      typed = typing ? now() : 0;
    },
    undo() { at = Math.max(0, at - 1); typed = 0; },
    redo() { at = Math.min(states.length - 1, at + 1); typed = 0; },
  };
}
