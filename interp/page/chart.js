// The chart: share of attention on the image and agreement with the boxes by layer, the paper's layers, the cursor.

const CHART = { width: 640, height: 250, left: 46, right: 12, top: 12, bottom: 40 };
const LINES = [
  {
    key: "share",
    name: "attention on the image",
    write: percent,
    even: () => page.image_positions,
    evenName: "its share of the positions",
  },
  {
    key: "cosine",
    name: "cosine with the boxes",
    write: decimal,
    even: (state, layer) => evenOf(state.norm, "cosine", layer, state.head),
    evenName: "cosine of even attention",
  },
].filter((line) => line.key === "share" || page.boxes.length);

// The runs that are drawn; of a map that is not raw attention, its own agreement beside the untouched run's shares.
function chartRuns(state) {
  const own = further.get(state.run);
  return own ? [{ ...runs.get("before"), cosine: own.cosine, mass: own.mass }] : [...runs.values()];
}

// The lines that are drawn; a map without heads has no share of a head's attention beside it.
function chartLines(state) {
  const own = further.get(state.run);
  return own && !own.heads ? LINES.filter((line) => line.key !== "share") : LINES;
}

function lineValues(run, line, state) {
  const at = (layer) =>
    line.key === "share"
      ? shareOf(run, "image", layer, state.head)
      : run[line.key][state.norm][cell(layer, state.head)];
  return Array.from({ length: LAYERS }, (_, layer) => at(layer));
}

function evenValues(line, state) {
  return Array.from({ length: LAYERS }, (_, layer) => line.even(state, layer));
}

function chartX(layer) {
  return CHART.left + ((layer + 0.5) / LAYERS) * (CHART.width - CHART.left - CHART.right);
}

function layerAt(clientX) {
  const frame = document.getElementById("chart").getBoundingClientRect();
  const x = ((clientX - frame.left) / frame.width) * CHART.width;
  const share = (x - CHART.left) / (CHART.width - CHART.left - CHART.right);
  return Math.min(LAYERS - 1, Math.max(0, Math.floor(share * LAYERS)));
}

function drawChart(state, headName) {
  const chart = document.getElementById("chart");
  CHART.width = Math.max(300, Math.round(chart.getBoundingClientRect().width)); // so that its letters keep their size
  drawLegend(state);
  const drawn = chartRuns(state).flatMap((run) =>
    chartLines(state).map((line) => ({ run, line, values: lineValues(run, line, state), even: evenValues(line, state) })),
  );
  const every = drawn.flatMap(({ values, even }) => [...values, ...even]).filter(Number.isFinite);
  const high = [0.1, 0.25, 0.5, 1].find((end) => Math.max(...every) <= end) || Math.max(...every);
  const y = (value) => CHART.height - CHART.bottom - (value / high) * (CHART.height - CHART.top - CHART.bottom);
  chart.setAttribute("viewBox", `0 0 ${CHART.width} ${CHART.height}`);
  chart.replaceChildren(paperBand(), ...axes(y, high), ...evenLines(drawn, y));
  for (const { run, line, values } of drawn) chart.append(...curve(run, line, values, y));
  const x = chartX(state.layer);
  chart.append(shape("line", { x1: x, x2: x, y1: CHART.top, y2: CHART.height - CHART.bottom, class: "cursor" }));
  for (const { line, values } of drawn) {
    const value = values[state.layer];
    if (Number.isFinite(value)) chart.append(shape("circle", { cx: x, cy: y(value), r: 4.5, class: `dot ${line.key}` }));
  }
  const nothing = "no boxes were given to compare this map with";
  const said = drawn.map((each) => sayLine(each, state)).join("; ") || nothing;
  chart.setAttribute("aria-label", `By layer, ${headName}: ${said}.`);
  const here = drawn.map(({ run, line, values }) => `${nameLine(run, line)}: ${line.write(values[state.layer])}`);
  document.getElementById("chart-said").textContent = `Layer ${state.layer}, ${headName}: ${here.join("; ") || nothing}`;
}

function nameLine(run, line) {
  return runs.size > 1 ? `${line.name}, ${run.name}` : line.name;
}

function sayLine({ run, line, values }, state) {
  const known = values.map((value, layer) => [value, layer]).filter(([value]) => Number.isFinite(value));
  if (!known.length) return `${nameLine(run, line)}: undefined`;
  const [best, layer] = known.reduce((one, other) => (other[0] > one[0] ? other : one));
  return `${nameLine(run, line)}: ${line.write(values[state.layer])} here, highest ${line.write(best)} in layer ${layer}`;
}

function paperBand() {
  const layers = page.paper.layers;
  const half = (chartX(1) - chartX(0)) / 2;
  const x = chartX(layers[0]) - half;
  const width = chartX(layers[layers.length - 1]) + half - x;
  return shape("rect", { x, width, y: CHART.top, height: CHART.height - CHART.top - CHART.bottom, class: "paper" });
}

function axes(y, high) {
  const parts = [];
  for (let step = 0; step <= 4; step++) {
    const value = (high * step) / 4;
    parts.push(shape("line", { x1: CHART.left, x2: CHART.width - CHART.right, y1: y(value), y2: y(value), class: "grid" }));
    parts.push(shape("text", { x: CHART.left - 6, y: y(value) + 4, "text-anchor": "end" }, Number(value.toPrecision(2))));
  }
  const stride = [1, 2, 4, 5, 8, 10, 20].find((each) => LAYERS / each <= 13) || 50;
  for (let layer = 0; layer < LAYERS; layer += stride) {
    const place = { x: chartX(layer), y: CHART.height - CHART.bottom + 16, "text-anchor": "middle" };
    parts.push(shape("text", place, layer));
  }
  const middle = { x: (CHART.left + CHART.width - CHART.right) / 2, y: CHART.height - 6, "text-anchor": "middle" };
  parts.push(shape("text", middle, `layer (0-based, of ${LAYERS})`));
  return parts;
}

function evenLines(drawn, y) {
  const first = drawn.filter(({ run, even }) => run.name === "before" && even.every(Number.isFinite));
  return first.map(({ line, even }) => {
    const middle = even.map((value, layer) => `${chartX(layer)},${y(value)}`);
    const ends = [`${CHART.left},${y(even[0])}`, `${CHART.width - CHART.right},${y(even[LAYERS - 1])}`];
    return shape("polyline", { points: [ends[0], ...middle, ends[1]].join(" "), class: `even ${line.key}` });
  });
}

function curve(run, line, values, y) {
  const kind = `${line.key} ${run.name}`;
  const known = values.map((value, layer) => [layer, value]).filter(([, value]) => Number.isFinite(value));
  const points = known.map(([layer, value]) => `${chartX(layer)},${y(value)}`).join(" ");
  const dots = known.map(([layer, value]) => shape("circle", { cx: chartX(layer), cy: y(value), r: 2.4, class: `dot ${kind}` }));
  return [shape("polyline", { points, class: `curve ${kind}` }), ...dots];
}

function drawLegend(state) {
  const legend = document.getElementById("legend");
  legend.replaceChildren();
  const sample = (kind) => shape("svg", { viewBox: "0 0 26 10", class: "sample", "aria-hidden": "true" }, shape("line", { x1: 0, x2: 26, y1: 5, y2: 5, class: kind }));
  for (const line of chartLines(state)) {
    for (const run of chartRuns(state)) {
      legend.append(element("li", {}, sample(`curve ${line.key} ${run.name}`), nameLine(run, line)));
    }
    legend.append(element("li", {}, sample(`even ${line.key}`), line.evenName));
  }
  const band = shape("svg", { viewBox: "0 0 26 10", class: "sample", "aria-hidden": "true" }, shape("rect", { width: 26, height: 10, class: "paper" }));
  legend.append(element("li", {}, band, page.paper.name));
}
