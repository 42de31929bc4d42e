// The page: its state, which is also its link, the controls and keys that change it, and what is said of it.

const PAPER = page.paper.layers;
const CHOICES = {
  map: [ATTENTION, ...[...further.values()].map((each) => each.name)],
  norm: page.normalisations.map((each) => each.name),
  scale: Object.keys(SCALES),
  run: kinds,
  view: [ALL_VIEWS, ...page.views.map((view) => String(view.number))],
};
const NAMES = {
  scale: { own: "each map", layer: "this layer", all: "all layers" },
  view: { all: "mean of the views", ...Object.fromEntries(page.views.map((view) => [view.number, view.name])) },
  run: { difference: "after − before" },
};
const START = { map: ATTENTION, layer: PAPER[0], head: MEAN, norm: "image", scale: "own", run: "before", view: ALL_VIEWS, token: null };
const KEYS = {
  ArrowLeft: () => change({ layer: Math.max(0, state.layer - 1) }),
  ArrowRight: () => change({ layer: Math.min(LAYERS - 1, state.layer + 1) }),
  ArrowUp: () => (hasHeads() ? change({ head: previousHead(state.head) }) : notice(sayFurther())),
  ArrowDown: () => (hasHeads() ? change({ head: nextHead(state.head) }) : notice(sayFurther())),
  m: () => (further.size ? change({ map: next("map") }) : notice("This page has no maps but raw attention.")),
  n: () => (isFurther() ? notice(sayFurther()) : change({ norm: next("norm") })),
  b: () => (isFurther() ? notice(sayFurther()) : runs.size > 1 ? change({ run: next("run") }) : notice("There is one run only: give explore an intervention for a second.")),
  s: () => change({ scale: next("scale") }),
  v: () => (page.views.length > 1 ? change({ view: next("view") }) : notice("This model sees the photo in one view only.")),
  Escape: () => change(state.token === null ? { head: MEAN } : { token: null }),
};
const large = makeRaster(Math.max(480, Math.min(900, FRAME_WIDTH, FRAME_HEIGHT)));
const little = makeRaster(112);
const stage = document.getElementById("stage");
const slider = document.getElementById("layer");
const heads = document.getElementById("heads");
let state = START;
let pointed = null; // the token under the pointer
let writing = 0;

function previousHead(head) {
  return head === MEAN || head === 0 ? MEAN : head - 1;
}

function nextHead(head) {
  return head === MEAN ? 0 : Math.min(HEADS - 1, head + 1);
}

function next(name) {
  return CHOICES[name][(CHOICES[name].indexOf(state[name]) + 1) % CHOICES[name].length];
}

function nameHead(head) {
  if (!hasHeads()) return "no heads";
  return head === MEAN ? "head mean" : `head ${head}`;
}

function nameView(number) {
  return number === 0 ? `the ${NAMES.view[number]}` : NAMES.view[number];
}

function nameToken(token) {
  const where = page.views.length > 1 ? ` of ${nameView(tokens.views[token])}` : "";
  return `row ${tokens.rows[token]}, column ${tokens.columns[token]}${where}`;
}

function namePixels(token) {
  const [x0, y0, x1, y1] = boxOf(token).map((side) => Number(side.toFixed(1)));
  return `x ${x0} to ${x1}, y ${y0} to ${y1} pixels`;
}

function notice(text) {
  document.getElementById("notice").textContent = text;
}

function change(changes) {
  notice("");
  state = { ...state, ...changes };
  draw();
  writeLink();
}

// The link -------------------------------------------------------------------------------------------------------

function writeLink() {
  clearTimeout(writing);
  if (!["file:", "http:", "https:"].includes(location.protocol)) return; // a notebook's frame has no address of its own
  writing = setTimeout(() => {
    const shown = { ...state, head: state.head === MEAN ? "mean" : state.head };
    if (state.token === null) delete shown.token;
    if (page.views.length < 2) delete shown.view;
    if (!further.size) delete shown.map;
    history.replaceState(null, "", `#${new URLSearchParams(shown)}`);
  }, 250); // browsers refuse many changes in a short time
}

function readLink() {
  const refused = [];
  const whole = (text, count, what) => {
    if (/^\d+$/.test(text) && Number(text) < count) return Number(text);
    refused.push(`${what} ${text} does not exist: there are ${count}, counted from 0`);
    return undefined;
  };
  const read = {
    layer: (text) => whole(text, LAYERS, "layer"),
    head: (text) => (text === "mean" ? MEAN : whole(text, HEADS, "head")),
    token: (text) => whole(text, TOKENS, "token"),
  };
  for (const [name, options] of Object.entries(CHOICES)) {
    read[name] = (text) => {
      if (options.includes(text)) return text;
      refused.push(`${name} ${text} does not exist: there is ${options.join(", ")}`);
      return undefined;
    };
  }
  const found = { ...START };
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    const value = Object.hasOwn(read, name) ? read[name](text) : void refused.push(`it names ${name}, which is not known`);
    if (value !== undefined) found[name] = value;
  }
  state = found;
  notice(refused.length ? `Of the link, this was left out: ${refused.join("; ")}.` : "");
}

// What is shown --------------------------------------------------------------------------------------------------

function draw() {
  const now = seen();
  const values = drawMap(now, large);
  drawBar(now);
  drawToken();
  drawHeads();
  drawChart(now, nameHead(now.head));
  drawSource();
  slider.value = state.layer;
  const paper = PAPER.includes(state.layer) ? ", the paper's" : "";
  document.getElementById("layer-said").textContent = `${state.layer} (0 to ${LAYERS - 1})${paper}`;
  slider.setAttribute("aria-valuetext", `layer ${state.layer}${paper}`);
  const place = `Layer ${state.layer}, ${nameHead(now.head)}`;
  const title = isFurther() ? `${place}, ${state.map}` : `${place}, ${NAMES.run[state.run] || state.run}`;
  document.getElementById("map-title").textContent = isFurther() || runs.size > 1 ? title : place;
  document.getElementById("heads-title").textContent = hasHeads() ? `Heads of layer ${state.layer}` : `Layer ${state.layer}, which has no heads here`;
  for (const button of document.querySelectorAll("button[data-choice]")) {
    button.setAttribute("aria-pressed", String(state[button.dataset.choice] === button.value));
    button.disabled = isFurther() && ["norm", "run"].includes(button.dataset.choice);
  }
  const chosen = document.getElementById("view");
  if (chosen) chosen.value = state.view;
  const said = describe(values);
  document.getElementById("summary").textContent = said;
  document.getElementById("map").setAttribute("aria-label", `${title}. ${said}`);
  drawStrongest(values);
}

// The values of the tokens of the view that is shown.
function shown(values) {
  return values.filter((_, token) => isShown(token, state.view));
}

function describe(values) {
  const now = seen();
  const run = sources.get(now.run) || runs.get("before");
  const { label } = normalisations.get(now.norm);
  if (values.every(Number.isNaN)) {
    return `This map is undefined: ${isFurther() ? "it is 0 at every token." : `there is nothing to take the ${label} of.`}`;
  }
  const top = strongest(values, 1)[0];
  const even = evenOf(now.norm, "token", now.layer, now.head);
  const strong = `The strongest token, ${nameToken(top)}, has ${percent(values[top])}, ${times(values[top] / even)} even.`;
  const most = values[top] > 0 ? strong : `Every token has ${percent(0)}.`;
  if (isFurther()) return `${most}${describeBoxes(run)}`;
  if (state.run === DIFFERENCE) {
    const changed = shown(values).filter((value) => value !== 0).length;
    const where = state.view === ALL_VIEWS ? "" : ` of ${nameView(Number(state.view))}`;
    if (!changed) return `No weight${where} changed by more than the rounding of this page.`;
    return `${changed} of ${shown(values).length} tokens${where} changed; most of all ${nameToken(top)}, by ${percent(values[top])} (${state.norm}).`;
  }
  const parts = page.parts.map((part) => [part, shareOf(run, part, state.layer, state.head)]).filter(([, share]) => share >= 0.0005);
  parts.sort((one, other) => other[1] - one[1]);
  const where = parts.map(([part, share]) => `${part.replace("_", " ")} ${percent(share)}`).join(", ");
  return `This row looks at: ${where}. ${most}${describeBoxes(run)}`;
}

function describeBoxes(run) {
  if (!page.boxes.length) return " No boxes were given.";
  const { norm, layer, head } = seen();
  const mass = run.mass[norm][cell(layer, head)];
  if (!Number.isFinite(mass)) return " No box lies in what the model saw.";
  const even = (key) => evenOf(norm, key, layer, head);
  const cosine = run.cosine[norm][cell(layer, head)];
  const alike = `${isFurther() ? "an even map" : "even attention"}: ${percent(even("mass"))}, ${decimal(even("cosine"))}`;
  return ` In the boxes: ${percent(mass)} (${normalisations.get(norm).name}), cosine ${decimal(cosine)} (${alike}).`;
}

function strongest(values, count) {
  const order = Array.from(values.keys()).filter((token) => isShown(token, state.view) && Number.isFinite(values[token]));
  return order.sort((one, other) => Math.abs(values[other]) - Math.abs(values[one])).slice(0, count);
}

function drawStrongest(values) {
  const rows = strongest(values, 8).map((token) => {
    const pin = element("button", { type: "button", class: "link" }, nameToken(token));
    pin.addEventListener("click", () => change({ token }));
    const value = element("td", { "data-value": values[token] }, percent(values[token]));
    return element("tr", {}, element("td", {}, pin), element("td", {}, namePixels(token)), value, element("td", {}, sayInside(token)));
  });
  document.getElementById("strongest").replaceChildren(...rows);
}

function sayInside(token) {
  const shares = page.boxes.map((box) => [box.label, inside(token, box.xyxy)]).filter(([, share]) => share > 0);
  if (!page.boxes.length) return "no boxes were given";
  return shares.map(([label, share]) => `${percent(share)} in ${label}`).join(", ") || "outside the boxes";
}

// What one token has: the one that is pointed at, or else the one that is held.
function drawToken() {
  const token = pointed ?? state.token;
  drawMarks(seen(), token);
  const readout = document.getElementById("token");
  readout.classList.toggle("empty", token === null);
  document.getElementById("token-hint").hidden = token !== null;
  document.getElementById("token-table").hidden = token === null;
  if (token === null) return;
  const box = boxOf(token).join(" ");
  const place = `token ${token} of ${TOKENS}, position ${tokens.positions[token]} of ${page.length} in the prompt`;
  document.getElementById("token-name").textContent = `${nameToken(token)} (${place})`;
  const pixels = document.getElementById("token-box");
  pixels.textContent = namePixels(token);
  pixels.dataset.value = box;
  document.getElementById("token-inside").textContent = sayInside(token);
  document.getElementById("token-others").textContent = sayOthers(token);
  const compared = isFurther() ? [seen().run] : kinds;
  const head = compared.map((kind) => element("th", { scope: "col" }, compared.length > 1 ? NAMES.run[kind] || kind : "this map"));
  document.getElementById("token-runs").replaceChildren(element("th", { scope: "col" }, nameHead(seen().head)), ...head);
  document.getElementById("token-rows").replaceChildren(...tokenRows(token, compared));
}

// The tokens of other views that saw the middle of a token.
function sayOthers(token) {
  const [x0, y0, x1, y1] = boxOf(token);
  const others = tokensAt((x0 + x1) / 2, (y0 + y1) / 2, ALL_VIEWS).filter((other) => other !== token);
  const now = seen();
  const values = layerMaps(now.run, now.norm, now.layer)[now.head];
  const said = others.map((other) => `${nameToken(other)} (${percent(values[other])})`);
  return said.length ? `Its middle is also seen by ${said.join(", ")}.` : "";
}

function tokenRows(token, compared) {
  const { norm: own, layer, head } = seen();
  const valueIn = (kind, norm) => layerMaps(kind, norm, layer)[head][token];
  const row = (name, key, read, write) => {
    const cells = compared.map((kind) => element("td", { "data-value": read(kind), "data-key": `${key} ${kind}` }, write(read(kind))));
    return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
  };
  const rows = isFurther() ? [] : [
    row("share of the image's attention", "image", (kind) => valueIn(kind, "image"), percent),
    row("softmax weight", "keys", (kind) => valueIn(kind, "keys"), percent),
  ];
  const { label, name } = normalisations.get(own);
  const even = evenOf(own, "token", layer, head);
  if (!["image", "keys"].includes(own)) {
    const taken = own === "no-sinks" && isSink(layer, head, token);
    rows.push(row(label, name, (kind) => valueIn(kind, own), taken ? () => "taken out" : percent));
  }
  const ratio = (kind) => (kind === DIFFERENCE ? "" : valueIn(kind, own) / even);
  rows.push(row(isFurther() ? "over an even map" : `over even attention (${name})`, "times", ratio, (value) => (value === "" ? "" : times(value))));
  return rows;
}

function drawHeads() {
  const now = seen();
  const values = layerMaps(now.run, now.norm, now.layer);
  heads.childNodes.forEach((button, place) => {
    const head = place === 0 ? MEAN : place - 1;
    const chosen = head === now.head;
    button.setAttribute("aria-selected", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
    button.hidden = head !== MEAN && !hasHeads();
    if (button.hidden) return;
    paint(button.querySelector("canvas"), little, values[head], scaleOf(now, head));
    button.querySelector(".which").textContent = nameHead(head);
    const isUndefined = values[head].every(Number.isNaN);
    const most = percent(isUndefined ? NaN : largest(shown(values[head])));
    button.querySelector(".most").textContent = isUndefined ? most : `max ${now.run === DIFFERENCE ? "± " : ""}${most}`;
    const run = isFurther() ? runs.get("before") : runs.get(state.run) || runs.get("after");
    const share = percent(shareOf(run, "image", state.layer, head));
    const attention = hasHeads() ? `${share} of its attention on the image` : "one map for the layer";
    button.setAttribute("aria-label", `${nameHead(head)}: largest value ${most}, ${attention}`);
    button.title = `${nameHead(head)}: ${attention}`;
  });
}

// Controls -------------------------------------------------------------------------------------------------------

function makeChoice(name) {
  const group = document.getElementById(name);
  for (const option of CHOICES[name]) {
    const button = element("button", { type: "button", value: option, "data-choice": name }, (NAMES[name] || {})[option] || option);
    button.addEventListener("click", () => change({ [name]: option }));
    group.append(button);
  }
}

function makeControls() {
  slider.max = LAYERS - 1;
  slider.addEventListener("input", () => change({ layer: Number(slider.value) }));
  makeChoice("norm");
  makeChoice("scale");
  if (kinds.length > 1) makeChoice("run");
  else document.getElementById("run").parentElement.remove();
  makeSource();
  const views = document.getElementById("view");
  if (page.views.length > 1) {
    views.append(...CHOICES.view.map((option) => element("option", { value: option }, NAMES.view[option])));
    views.addEventListener("change", () => change({ view: views.value }));
  } else views.parentElement.remove();
  const opacity = document.getElementById("opacity");
  const fade = () => stage.style.setProperty("--map", opacity.value / 100);
  opacity.addEventListener("input", fade);
  fade();
}

function makeHeads() {
  for (let place = 0; place <= HEADS; place++) {
    const head = place === 0 ? MEAN : place - 1;
    const words = [element("span", { class: "which" }, nameHead(head)), element("span", { class: "most" })];
    const button = element("button", { type: "button", role: "option", class: "head" }, element("canvas", { "aria-hidden": "true" }), ...words);
    button.addEventListener("click", () => change({ head }));
    heads.append(button);
  }
}

function makeStage() {
  document.getElementById("photo").src = page.photo.source;
  stage.style.aspectRatio = `${FRAME_WIDTH} / ${FRAME_HEIGHT}`;
  stage.style.width = `min(100%, calc(60vh * ${FRAME_WIDTH / FRAME_HEIGHT}))`;
  heads.style.setProperty("--shape", `${FRAME_WIDTH} / ${FRAME_HEIGHT}`);
  stage.addEventListener("pointermove", (event) => point(tokenUnder(event)));
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("click", (event) => change({ token: tokenUnder(event) }));
  new ResizeObserver(drawNames).observe(stage);
}

function tokenUnder(event) {
  const frame = stage.getBoundingClientRect();
  const x = FRAME_X + ((event.clientX - frame.left) / frame.width) * FRAME_WIDTH;
  const y = FRAME_Y + ((event.clientY - frame.top) / frame.height) * FRAME_HEIGHT;
  return tokensAt(x, y, state.view)[0] ?? null;
}

function point(token) {
  if (token === pointed) return;
  pointed = token;
  drawToken();
}

function makeChart() {
  const chart = document.getElementById("chart");
  const follow = (event) => event.buttons === 1 && layerAt(event.clientX) !== state.layer && change({ layer: layerAt(event.clientX) });
  chart.addEventListener("pointerdown", follow);
  chart.addEventListener("pointermove", follow);
  new ResizeObserver(() => drawChart(seen(), nameHead(seen().head))).observe(chart);
}

function onKey(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, key)) return;
  const isArrow = key.startsWith("Arrow");
  if (event.target instanceof HTMLSelectElement && (isArrow || key.length === 1)) return; // these choose in it
  if (event.target.id === "opacity" && isArrow) return;
  event.preventDefault();
  const chose = heads.contains(document.activeElement);
  KEYS[key]();
  if (chose) heads.querySelector("[aria-selected=true]").focus();
}

makeControls();
makeHeads();
makeStage();
makeChart();
readLink();
draw();
drawNames();
window.addEventListener("keydown", onKey);
window.addEventListener("hashchange", () => {
  clearTimeout(writing);
  readLink();
  draw();
});
document.documentElement.dataset.ready = "true";
