/**
 * GIF89a from frames of pixels: one palette for all, each image only what changed, LZW, for ever.
 *
 *   header ─ palette ─ loop ─ (delay ─ place ─ LZW codes)… ─ trailer
 */

const COLOURS = 256, BITS = 8, CLEAR = 256, END = 257, FULL = 4096, LOOKED_AT = 12;

/**
 * Encodes an animation.
 * @param {{width: number, height: number, frames: {pixels: Uint8ClampedArray, delay: number}[]}} film
 *   pixels are RGBA; delay is in hundredths of a second
 * @returns {Uint8Array} the file
 */
export function encodeGif({ width, height, frames }) {
  const palette = paletteOf(frames), nearest = new Int16Array(1 << 16).fill(-1), out = [];
  const word = (value) => out.push(value & 255, (value >> 8) & 255);
  out.push(...bytes("GIF89a"));
  word(width), word(height);
  out.push(0xf0 | (BITS - 1), 0, 0, ...palette.flat());
  out.push(0x21, 0xff, 11, ...bytes("NETSCAPE2.0"), 3, 1, 0, 0, 0);
  let before = null;
  for (const { pixels, delay } of frames) {
    const now = indexed(pixels, palette, nearest), box = changed(before, now, width, height);
    out.push(0x21, 0xf9, 4, 4);
    word(delay);
    out.push(0, 0, 0x2c);
    for (const value of box) word(value);
    out.push(0, BITS);
    const codes = lzw(cut(now, width, box));
    for (let i = 0; i < codes.length; i += 255) {
      out.push(Math.min(255, codes.length - i));
      for (let j = i; j < Math.min(i + 255, codes.length); j++) out.push(codes[j]);
    }
    out.push(0);
    before = now;
  }
  out.push(0x3b);
  return Uint8Array.from(out);
}

const bytes = (text) => [...text].map((letter) => letter.charCodeAt(0));
const keyOf = (pixels, i) => ((pixels[i] & 0xf8) << 8) | ((pixels[i + 1] & 0xf8) << 3) | (pixels[i + 2] >> 3);

/** The colours met most often, five bits a channel, each as the mean of what fell into it. */
function paletteOf(frames) {
  const sums = new Float64Array(4 << 16), every = Math.ceil(frames.length / LOOKED_AT);
  frames.forEach(({ pixels }, at) => {
    if (at % every && at !== frames.length - 1) return;
    for (let i = 0; i < pixels.length; i += 4) {
      const key = 4 * keyOf(pixels, i);
      for (let c = 0; c < 3; c++) sums[key + c] += pixels[i + c];
      sums[key + 3] += 1;
    }
  });
  const met = Array.from({ length: 1 << 16 }, (_, key) => 4 * key).filter((key) => sums[key + 3]);
  const often = met.sort((a, b) => sums[b + 3] - sums[a + 3]).slice(0, COLOURS);
  const colours = often.map((key) => [0, 1, 2].map((c) => Math.round(sums[key + c] / sums[key + 3])));
  while (colours.length < COLOURS) colours.push([0, 0, 0]);
  return colours;
}

/** Each pixel as the number of the nearest colour; `nearest` remembers answers. */
function indexed(pixels, palette, nearest) {
  const found = new Uint8Array(pixels.length / 4);
  for (let i = 0; i < pixels.length; i += 4) {
    const key = keyOf(pixels, i);
    if (nearest[key] < 0) {
      const away = palette.map((colour) =>
        colour.reduce((sum, value, c) => sum + (value - pixels[i + c]) ** 2, 0));
      nearest[key] = away.indexOf(Math.min(...away));
    }
    found[i >> 2] = nearest[key];
  }
  return found;
}

/** Left, top, width and height of what differs from the frame before; one pixel if nothing does. */
function changed(before, now, width, height) {
  if (!before) return [0, 0, width, height];
  let left = width, top = height, right = -1, bottom = -1;
  for (let i = 0; i < now.length; i++) {
    if (now[i] === before[i]) continue;
    const x = i % width, y = (i - x) / width;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    bottom = y;
  }
  return right < 0 ? [0, 0, 1, 1] : [left, top, right - left + 1, bottom - top + 1];
}

function cut(now, width, [left, top, wide, high]) {
  const found = new Uint8Array(wide * high);
  for (let y = 0; y < high; y++) {
    const from = (top + y) * width + left;
    found.set(now.subarray(from, from + wide), y * wide);
  }
  return found;
}

/** Variable-width LZW as GIF wants it: codes grow to 12 bits, then the table is cleared. */
function lzw(indices) {
  const out = [], table = new Uint16Array(FULL << 8); // prefix and next colour → code, 0 if none
  let held = 0, bits = 0, size = BITS + 1, next = END + 1, prefix = indices[0];
  const put = (code) => {
    held |= code << bits;
    for (bits += size; bits >= 8; bits -= 8, held >>>= 8) out.push(held & 255);
  };
  put(CLEAR);
  for (let i = 1; i < indices.length; i++) {
    const key = (prefix << 8) | indices[i];
    if (table[key]) {
      prefix = table[key];
      continue;
    }
    put(prefix);
    if (next < FULL) {
      table[key] = next++;
      if (next > 1 << size && size < 12) size += 1;
    } else {
      put(CLEAR);
      table.fill(0);
      [size, next] = [BITS + 1, END + 1];
    }
    prefix = indices[i];
  }
  put(prefix);
  put(END);
  if (bits) out.push(held & 255);
  return out;
}
