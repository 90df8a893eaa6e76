/**
 * GIF89a from frames of pixels: one palette for all, LZW, loops for ever.
 *
 *   header ─ palette ─ loop ─ (delay ─ image of LZW codes)… ─ trailer
 */

const COLOURS = 256, BITS = 8, CLEAR = 256, END = 257, FULL = 4096;

/**
 * Encodes an animation.
 * @param {{width: number, height: number, frames: {pixels: Uint8ClampedArray, delay: number}[]}} film
 *   pixels are RGBA; delay is in hundredths of a second
 * @returns {Uint8Array} the file
 */
export function encodeGif({ width, height, frames }) {
  const palette = paletteOf(frames), out = [];
  const word = (value) => out.push(value & 255, (value >> 8) & 255);
  out.push(...bytes("GIF89a"));
  word(width), word(height);
  out.push(0xf0 | (BITS - 1), 0, 0, ...palette.flat());
  out.push(0x21, 0xff, 11, ...bytes("NETSCAPE2.0"), 3, 1, 0, 0, 0);
  const nearest = new Map();
  for (const { pixels, delay } of frames) {
    out.push(0x21, 0xf9, 4, 4);
    word(delay);
    out.push(0, 0, 0x2c);
    word(0), word(0), word(width), word(height);
    out.push(0, BITS);
    for (const block of blocks(lzw(indexed(pixels, palette, nearest)))) {
      out.push(block.length);
      for (const byte of block) out.push(byte);
    }
    out.push(0);
  }
  out.push(0x3b);
  return Uint8Array.from(out);
}

const bytes = (text) => [...text].map((letter) => letter.charCodeAt(0));
const keyOf = (pixels, i) => ((pixels[i] & 0xf8) << 8) | ((pixels[i + 1] & 0xf8) << 3) | (pixels[i + 2] >> 3);

/** The colours met most often, five bits a channel, each as the mean of what fell into it. */
function paletteOf(frames) {
  const found = new Map();
  for (const { pixels } of frames) {
    for (let i = 0; i < pixels.length; i += 4) {
      const key = keyOf(pixels, i);
      let sum = found.get(key);
      if (!sum) found.set(key, (sum = [0, 0, 0, 0]));
      for (let c = 0; c < 3; c++) sum[c] += pixels[i + c];
      sum[3] += 1;
    }
  }
  const often = [...found.values()].sort((a, b) => b[3] - a[3]).slice(0, COLOURS);
  const colours = often.map(([r, g, b, n]) => [r, g, b].map((value) => Math.round(value / n)));
  while (colours.length < COLOURS) colours.push([0, 0, 0]);
  return colours;
}

/** Each pixel as the number of the nearest colour; `nearest` remembers answers. */
function indexed(pixels, palette, nearest) {
  const found = new Uint8Array(pixels.length / 4);
  for (let i = 0; i < pixels.length; i += 4) {
    const key = keyOf(pixels, i);
    let best = nearest.get(key);
    if (best === undefined) {
      const away = palette.map((colour) =>
        colour.reduce((sum, value, c) => sum + (value - pixels[i + c]) ** 2, 0));
      best = away.indexOf(Math.min(...away));
      nearest.set(key, best);
    }
    found[i / 4] = best;
  }
  return found;
}

/** Variable-width LZW as GIF wants it: codes grow to 12 bits, then the table is cleared. */
function lzw(indices) {
  const out = [];
  let held = 0, bits = 0, size = BITS + 1, next = END + 1, table = new Map(), prefix = indices[0];
  const put = (code) => {
    held |= code << bits;
    for (bits += size; bits >= 8; bits -= 8, held >>>= 8) out.push(held & 255);
  };
  put(CLEAR);
  for (let i = 1; i < indices.length; i++) {
    const key = (prefix << 8) | indices[i], known = table.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    put(prefix);
    if (next < FULL) {
      table.set(key, next++);
      if (next > 1 << size && size < 12) size += 1;
    } else {
      put(CLEAR);
      [size, next, table] = [BITS + 1, END + 1, new Map()];
    }
    prefix = indices[i];
  }
  put(prefix);
  put(END);
  if (bits) out.push(held & 255);
  return out;
}

/** Pieces of at most 255 bytes. */
function* blocks(codes) {
  for (let i = 0; i < codes.length; i += 255) yield codes.slice(i, i + 255);
}
