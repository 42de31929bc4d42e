// Drawing: maps in the photo's own pixels, the colour bar, boxes and their names.

const [FRAME_X, FRAME_Y, FRAME_RIGHT, FRAME_BOTTOM] = page.photo.frame;
const FRAME_WIDTH = FRAME_RIGHT - FRAME_X;
const FRAME_HEIGHT = FRAME_BOTTOM - FRAME_Y;
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

// A raster of the photo, and the pixels of each token in it: those whose centre lies in the token's box.
function makeRaster(longest) {
  const scale = longest / Math.max(FRAME_WIDTH, FRAME_HEIGHT);
  const width = Math.max(1, Math.round(FRAME_WIDTH * scale));
  const height = Math.max(1, Math.round(FRAME_HEIGHT * scale));
  const spans = new Int32Array(4 * TOKENS);
  for (let place = 0; place < 4 * TOKENS; place++) {
    const [start, side, pixels] = place % 2 ? [FRAME_Y, FRAME_HEIGHT, height] : [FRAME_X, FRAME_WIDTH, width];
    const pixel = Math.ceil(((tokens.boxes[place] - start) * pixels) / side - 0.5);
    spans[place] = Math.min(pixels, Math.max(0, pixel));
  }
  return { width, height, spans, total: new Float32Array(width * height), views: new Uint8Array(width * height) };
}

// Each pixel gets the value of its token, the mean over views where there are several; nothing where there is none.
function paint(canvas, raster, values, { view, table, low, high }) {
  const { width, height, spans, total, views } = raster;
  total.fill(0);
  views.fill(0);
  for (let token = 0; token < TOKENS; token++) {
    if (!isShown(token, view)) continue;
    const right = spans[4 * token + 2];
    for (let y = spans[4 * token + 1]; y < spans[4 * token + 3]; y++) {
      for (let at = y * width + spans[4 * token], end = y * width + right; at < end; at++) {
        total[at] += values[token];
        views[at] += 1;
      }
    }
  }
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let at = 0; at < total.length; at++) {
    const share = (total[at] / views[at] - low) / (high - low);
    if (Number.isNaN(share)) continue; // not seen, or undefined: left transparent
    const colour = 3 * Math.min(255, Math.max(0, Math.floor(256 * share)));
    for (let channel = 0; channel < 3; channel++) image.data[4 * at + channel] = table[colour + channel];
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function scaleOf(state, head) {
  const high = scaleTop(state, head);
  const isDifference = state.run === DIFFERENCE;
  return { view: state.view, table: colours[isDifference ? "difference" : "run"], low: isDifference ? -high : 0, high };
}

const SCALES = { own: "each map on its own scale", layer: "one scale for this layer's maps", all: "one scale for all layers" };

function drawBar(state) {
  const { low, high, table } = scaleOf(state, state.head);
  const canvas = document.getElementById("bar");
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  for (let at = 0; at < 256; at++) image.data.set([...table.subarray(3 * at, 3 * at + 3), 255], 4 * at);
  context.putImageData(image, 0, 0);
  const ticks = document.getElementById("ticks");
  ticks.replaceChildren();
  for (let step = 0; step <= 4; step++) {
    ticks.append(tick((25 * step), percent(low + ((high - low) * step) / 4), "tick"));
  }
  const even = evenOf(state.norm, "token", state.layer, state.head);
  if (low === 0 && even < high) ticks.append(tick((100 * even) / high, "even", "tick even"));
  const what = state.run === DIFFERENCE ? "after − before, " : "";
  const alike = runs.size > 1 && runs.has(state.run) ? ", before and after alike" : "";
  const seen = { all: "; each pixel: the mean over the views that show it" }[state.view] || `; ${NAMES.view[state.view]} alone`;
  const views = page.views.length > 1 ? seen : "";
  const { label, name: norm } = normalisations.get(state.norm);
  const name = `${what}${label} (${norm}); ${SCALES[state.scale]}${alike}${views}`;
  document.getElementById("bar-name").textContent = name;
  canvas.setAttribute("aria-label", `Colour bar from ${percent(low)} to ${percent(high)}: ${name}`);
}

function tick(place, text, kind) {
  const made = element("span", { class: kind }, text);
  made.style.left = `${place}%`;
  return made;
}

function drawMap(state, raster) {
  const values = layerMaps(state.run, state.norm, state.layer)[state.head];
  paint(document.getElementById("map"), raster, values, scaleOf(state, state.head));
  return values;
}

function rectangle([x0, y0, x1, y1], kind) {
  return shape("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: kind });
}

// What the model did not see, the boxes, the sinks where they are taken out, and the token that is pointed at.
function drawMarks(state, token) {
  const marks = document.getElementById("marks");
  marks.setAttribute("viewBox", `${FRAME_X} ${FRAME_Y} ${FRAME_WIDTH} ${FRAME_HEIGHT}`);
  const [left, top, right, bottom] = page.photo.seen;
  const unseen = [
    [FRAME_X, FRAME_Y, FRAME_RIGHT, top],
    [FRAME_X, bottom, FRAME_RIGHT, FRAME_BOTTOM],
    [FRAME_X, top, left, bottom],
    [right, top, FRAME_RIGHT, bottom],
  ].filter(([x0, y0, x1, y1]) => x1 > x0 && y1 > y0);
  marks.replaceChildren(hatch(), ...unseen.map((corners) => rectangle(corners, "unseen")));
  if (state.norm === "no-sinks") {
    for (let sink = 0; sink < TOKENS; sink++) {
      if (isShown(sink, state.view) && isSink(state.layer, state.head, sink)) marks.append(...cross(boxOf(sink)));
    }
  }
  for (const box of page.boxes) marks.append(rectangle(box.xyxy, "under"), rectangle(box.xyxy, `box ${box.role}`));
  if (token !== null) marks.append(rectangle(boxOf(token), "under"), rectangle(boxOf(token), "token"));
}

function hatch() {
  const side = Math.max(FRAME_WIDTH, FRAME_HEIGHT) / 45;
  const line = shape("path", { d: `M0 ${side}L${side} 0`, class: "hatch" });
  line.style.strokeWidth = side / 6;
  return shape("defs", {}, shape("pattern", { id: "hatch", width: side, height: side, patternUnits: "userSpaceOnUse" }, line));
}

function cross([x0, y0, x1, y1]) {
  const path = `M${x0} ${y0}L${x1} ${y1}M${x0} ${y1}L${x1} ${y0}`;
  return [rectangle([x0, y0, x1, y1], "sink"), shape("path", { d: path, class: "sink" })];
}

// Each box's name at the first of its corners where it stays on the photo and hides no other name.
function drawNames() {
  const names = document.getElementById("names");
  names.replaceChildren();
  const stage = names.getBoundingClientRect();
  const taken = [];
  for (const box of page.boxes) {
    const name = element("span", { class: "name" }, box.role ? `${box.label} (${box.role})` : box.label);
    names.append(name);
    const { width, height } = name.getBoundingClientRect();
    const across = (x) => ((x - FRAME_X) / FRAME_WIDTH) * stage.width;
    const down = (y) => ((y - FRAME_Y) / FRAME_HEIGHT) * stage.height;
    const [x0, y0, x1, y1] = [across(box.xyxy[0]), down(box.xyxy[1]), across(box.xyxy[2]), down(box.xyxy[3])];
    const places = [x0, x1 - width].flatMap((x) => [y0 - height, y1, y0, y1 - height].map((y) => [x, y]));
    const free = places.find(
      ([x, y]) =>
        x >= 0 && y >= 0 && x + width <= stage.width && y + height <= stage.height &&
        !taken.some(([a, b, w, h]) => x < a + w && a < x + width && y < b + h && b < y + height),
    );
    const [x, y] = free || [Math.min(Math.max(0, x0), Math.max(0, stage.width - width)), Math.max(0, y0)];
    name.style.left = `${x}px`;
    name.style.top = `${y}px`;
    taken.push([x, y, width, height]);
  }
}
