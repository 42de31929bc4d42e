// Numbers of the page: unpacking the maps, normalising them, and finding the token at a pixel.

const page = JSON.parse(document.getElementById("data").textContent);
const LAYERS = page.layers;
const HEADS = page.heads;
const MEAN = HEADS; // the head mean comes after the heads
const TOKENS = page.tokens.count;
const ALL_VIEWS = "all";
const DIFFERENCE = "difference";
const GAP = "\u00a0"; // keeps a number and its sign on one line
const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array };
const DIGITS = new Uint8Array(128);
for (let digit = 0; digit < 85; digit++) DIGITS[page.digits.charCodeAt(digit)] = digit;

const tokens = Object.fromEntries(
  ["boxes", "rows", "columns", "views", "positions"].map((name) => [name, readArray(page.tokens[name])]),
);
const sinks = { bits: readArray(page.sinks), rows: page.sinks.shape[0], stride: Math.ceil(TOKENS / 8) };
const normalisations = new Map(page.normalisations.map((each) => [each.name, readNormalisation(each)]));
const runs = new Map(page.runs.map((run) => [run.name, readRun(run)]));
const neutral = page.neutral && readMaps(page.neutral);
const colours = { run: readArray(page.colours.run), difference: readArray(page.colours.difference) };
const ATTENTION = "attention";
// Maps that are not raw attention: each is like one more run, in a normalisation of its own under the same key.
const further = new Map((page.further || []).map((each) => [furtherKey(each.name), readFurther(each)]));
const sources = new Map([...runs, ...further]);
for (const [key, { name, label }] of further) normalisations.set(key, { ...normalisations.get("image"), name, label });
const kinds = [...runs.keys(), ...(runs.size > 1 ? [DIFFERENCE] : [])];

// Base85: five digits make four bytes, the highest first; of the last group as many digits are left out as bytes.
function readArray(blob) {
  const groups = Math.ceil(blob.data.length / 5);
  const bytes = new DataView(new ArrayBuffer(4 * groups));
  for (let group = 0; group < groups; group++) {
    let number = 0;
    for (let at = 5 * group; at < 5 * group + 5; at++) {
      number = 85 * number + (at < blob.data.length ? DIGITS[blob.data.charCodeAt(at)] : 84);
    }
    bytes.setUint32(4 * group, number);
  }
  return new ARRAYS[blob.type](bytes.buffer.slice(0, Math.floor((4 * blob.data.length) / 5)));
}

function readMaps(source) {
  const read = (packed) => packed && {
    levels: readArray(packed.levels),
    top: readArray(packed.top),
    low: readArray(packed.low),
    steps: packed.steps,
    bound: packed.bound,
  };
  return { mean: read(source.mean), heads: read(source.heads), bare: read(source.bare) };
}

function readRun(run) {
  const each = (blobs) => Object.fromEntries(Object.entries(blobs).map(([name, blob]) => [name, readArray(blob)]));
  return {
    name: run.name,
    ...readMaps(run),
    totals: each(run.totals),
    shares: readArray(run.shares),
    cosine: each(run.cosine),
    mass: each(run.mass),
  };
}

function furtherKey(name) {
  return `map ${name}`;
}

function readFurther(each) {
  const key = furtherKey(each.name);
  const [total, cosine, mass] = [each.total, each.cosine, each.mass].map((blob) => ({ [key]: readArray(blob) }));
  return { name: each.name, label: each.label, ...readMaps(each), totals: total, cosine, mass };
}

function readNormalisation(each) {
  const even = Object.fromEntries(Object.entries(each.even).map(([key, blob]) => [key, readArray(blob)]));
  return { name: each.name, label: each.label, even };
}

// What evenly spread attention has: the value of a token, its cosine with the boxes, its mass in them.
function evenOf(norm, key, layer, head) {
  const values = normalisations.get(norm).even[key];
  return values.length === 1 ? values[0] : values[cell(layer, head)];
}

// Whether no-sinks takes a token out of a map; out of the head mean, whether it does so for every head.
function isSink(layer, head, token) {
  const row = sinks.rows === 1 ? 0 : sinks.rows === LAYERS ? layer : cell(layer, head);
  return ((sinks.bits[row * sinks.stride + (token >> 3)] >> (7 - (token & 7))) & 1) === 1;
}

function cell(layer, head) {
  return layer * (HEADS + 1) + head;
}

function shareOf(run, part, layer, head) {
  return run.shares[cell(layer, head) * page.parts.length + page.parts.indexOf(part)];
}

// The softmax weights of one map; see interp/page/packing.py for the scale. A bare head mean is that without sinks.
function weightsOf(source, layer, head, mean = source.mean) {
  const packed = head === MEAN ? mean : source.heads;
  const place = head === MEAN ? layer : layer * HEADS + head;
  const low = packed.low[place];
  const step = Math.log(packed.top[place] / low) / (packed.steps - 1);
  const values = new Float64Array(TOKENS);
  for (let token = 0, at = place * TOKENS; token < TOKENS; token++, at++) {
    const level = packed.levels[at];
    values[token] = level === 0 ? 0 : low * Math.exp(step * (level - 1));
  }
  return values;
}

function normalised(run, norm, layer, head) {
  const values = weightsOf(run, layer, head, norm === "no-sinks" ? run.bare : run.mean);
  if (norm === "keys") return values;
  const total = run.totals[norm][cell(layer, head)];
  if (!(total > 0)) return values.fill(NaN);
  const below = norm === "relative" ? weightsOf(neutral, layer, head) : null;
  for (let token = 0; token < TOKENS; token++) {
    values[token] = (below ? values[token] / below[token] : values[token]) / total;
    if (norm === "no-sinks" && isSink(layer, head, token)) values[token] = 0;
  }
  return values;
}

// How far a value may be from the captured one, as a fraction of itself.
function boundOf(norm, head) {
  const mean = norm === "no-sinks" ? "bare" : "mean";
  const of = (source) => source[head === MEAN ? mean : "heads"].bound;
  const own = Math.max(...[...runs.values()].map(of));
  if (norm !== "relative") return own;
  return (own + of(neutral)) / (1 - of(neutral));
}

// After minus before; 0 where the rounding of the two could have made the difference.
function difference(norm, layer, head) {
  const before = normalised(runs.get("before"), norm, layer, head);
  const after = normalised(runs.get("after"), norm, layer, head);
  const bound = boundOf(norm, head) / (1 - boundOf(norm, head));
  return before.map((value, token) => {
    const change = after[token] - value;
    return Math.abs(change) <= bound * (after[token] + value) ? 0 : change;
  });
}

function valuesOf(kind, norm, layer, head) {
  if (kind === DIFFERENCE) return difference(norm, layer, head);
  const source = sources.get(kind);
  if (head !== MEAN && !source.heads) return new Float64Array(TOKENS).fill(NaN); // a map without heads
  return normalised(source, norm, layer, head);
}

const kept = new Map();

// Every map of a layer, the head mean last; the layers looked at last are remembered.
function layerMaps(kind, norm, layer) {
  const key = `${kind} ${norm} ${layer}`;
  if (!kept.has(key)) {
    if (kept.size >= 12) kept.delete(kept.keys().next().value);
    kept.set(key, Array.from({ length: HEADS + 1 }, (_, head) => valuesOf(kind, norm, layer, head)));
  }
  return kept.get(key);
}

// The largest value without its sign; what is undefined counts as nothing.
function largest(values) {
  let top = 0;
  for (const value of values) if (Math.abs(value) > top) top = Math.abs(value);
  return top;
}

const tops = new Map();

// The largest value of each map of a layer, of both runs alike, so that before and after have one scale.
function layerTops(kind, norm, layer) {
  const group = runs.has(kind) ? [...runs.keys()] : [kind];
  const key = `${group} ${norm} ${layer}`;
  if (!tops.has(key)) {
    const maps = group.map((each) => layerMaps(each, norm, layer));
    tops.set(key, maps[0].map((_, head) => Math.max(...maps.map((own) => largest(own[head])))));
  }
  return tops.get(key);
}

// The upper end of the colour scale of one map.
function scaleTop(state, head) {
  const own = layerTops(state.run, state.norm, state.layer);
  let top = own[head];
  if (state.scale === "layer") top = Math.max(...own);
  if (state.scale === "all") {
    for (let layer = 0; layer < LAYERS; layer++) top = Math.max(top, ...layerTops(state.run, state.norm, layer));
  }
  return top || 1; // where all is zero or undefined, any scale shows it
}

function boxOf(token) {
  return Array.from(tokens.boxes.subarray(4 * token, 4 * token + 4));
}

function isShown(token, view) {
  return view === ALL_VIEWS || tokens.views[token] === Number(view);
}

// The tokens that saw a place of the photo, the finest first.
function tokensAt(x, y, view) {
  const found = [];
  for (let token = 0; token < TOKENS; token++) {
    const [x0, y0, x1, y1] = boxOf(token);
    if (isShown(token, view) && x0 <= x && x < x1 && y0 <= y && y < y1) found.push([(x1 - x0) * (y1 - y0), token]);
  }
  return found.sort((one, other) => one[0] - other[0]).map(([, token]) => token);
}

// Share of a token's own area that lies in a box.
function inside(token, [left, top, right, bottom]) {
  const [x0, y0, x1, y1] = boxOf(token);
  const width = Math.max(0, Math.min(x1, right) - Math.max(x0, left));
  const height = Math.max(0, Math.min(y1, bottom) - Math.max(y0, top));
  const area = (x1 - x0) * (y1 - y0);
  return area > 0 ? (width * height) / area : 0;
}

function percent(share) {
  if (!Number.isFinite(share)) return "undefined";
  const size = Math.abs(100 * share);
  if (size === 0) return `0${GAP}%`;
  if (size < 0.001) return `${(100 * share).toExponential(1)}${GAP}%`;
  return `${(100 * share).toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : size >= 0.09995 ? 3 : 4)}${GAP}%`;
}

function decimal(value) {
  return Number.isFinite(value) ? value.toFixed(2) : "undefined";
}

function times(ratio) {
  if (!Number.isFinite(ratio)) return "undefined";
  return `${ratio >= 100 ? ratio.toFixed(0) : ratio >= 0.1 || ratio === 0 ? ratio.toFixed(2) : ratio.toExponential(1)}${GAP}×`;
}
