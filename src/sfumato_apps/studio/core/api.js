/** The server: requests, streams, and what goes wrong with them. */

import { events } from "./sse.js";

/** Something that a request ran into. `status` 0: the server did not answer. */
export class ApiError extends Error {
  constructor(message, { status = 0, param = null, code = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, param, code, retryAfter });
  }
}

/**
 * A client.
 * @param {{token: function(): ?string, refused: function(): Promise<boolean>, lost: function()}} access
 *   token gives the bearer token, if there is one; refused asks for another and says whether one came;
 *   lost is told that nobody answered
 */
export function createApi({ token, refused, lost }) {
  async function send(path, { body, signal, again = true } = {}) {
    const headers = {}, held = token();
    if (held) headers.Authorization = `Bearer ${held}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const method = body === undefined ? "GET" : "POST";
    let response;
    try {
      response = await fetch(path, { method, headers, signal, body: JSON.stringify(body) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      lost();
      throw new ApiError("The server does not answer.");
    }
    if (response.status === 401 && again && (await refused()))
      return send(path, { body, signal, again: false });
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  async function stream(path, body, { signal, onqueued = () => {}, online = () => {} } = {}) {
    const asked = { ...body, stream: true, diffusing: "events" };
    const response = await send(path, { body: asked, signal });
    let result = null;
    try {
      for await (const one of events(response.body)) {
        const place = "comment" in one ? queuedIn(one.comment) : null;
        if (place !== null) onqueued(place);
        else if (one.event === "denoise") online(JSON.parse(one.data));
        else if (one.event === "done") result = JSON.parse(one.data);
        else if (one.event === "error") throw fromBody(JSON.parse(one.data), { status: 500 });
      }
    } catch (error) {
      if (error instanceof ApiError || error.name === "AbortError") throw error;
      throw new ApiError("The connection broke before the text was finished.");
    }
    if (!result) throw new ApiError("The connection ended before the text was finished.");
    return result;
  }

  return {
    get: async (path, options) => (await send(path, options)).json(),
    text: async (path, options) => (await send(path, options)).text(),
    post: async (path, body, options) => (await send(path, { ...options, body })).json(),
    stream,
  };
}

async function errorOf(response) {
  const wait = Number(response.headers.get("Retry-After")) || null;
  const about = { status: response.status, retryAfter: wait };
  try {
    return fromBody(await response.json(), about);
  } catch {
    return new ApiError(`The server answered ${response.status}.`, about);
  }
}

function fromBody(body, about) {
  const { message, param, code } = body.error;
  return new ApiError(String(message), { ...about, param, code });
}

/** The place in the queue from a comment such as "queued 3"; null from any other. */
function queuedIn(comment) {
  const found = /^queued (\d+)/.exec(comment);
  return found ? Number(found[1]) : null;
}
