/** Server-sent events from the body of a response: what EventSource does, for POST. */

/**
 * The events of a stream, comments included.
 * @param {ReadableStream<Uint8Array>} body
 * @yields {{event: string, data: string} | {comment: string}}
 */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? "\n\n" : value.replaceAll("\r", "");
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      yield* blocks.filter(Boolean).map(read);
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function read(block) {
  const found = { event: "message", data: [] };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at === 0) return { comment: line.slice(1).trim() };
    const value = line.slice(at + 1).replace(/^ /, "");
    if (line.startsWith("event:")) found.event = value;
    if (line.startsWith("data:")) found.data.push(value);
  }
  return { event: found.event, data: found.data.join("\n") };
}
