// Maps that are not raw attention: choosing one, how the state is drawn under it, and what is said of it.

// Whether the map is one that is not raw attention.
function isFurther() {
  return state.map !== ATTENTION;
}

function hasHeads() {
  return !isFurther() || further.get(furtherKey(state.map)).heads !== null;
}

// The state as it is drawn: a map that is not raw attention stands for a run, and has one normalisation, its own.
function seen() {
  if (!isFurther()) return state;
  const key = furtherKey(state.map);
  return { ...state, run: key, norm: key, head: hasHeads() ? state.head : MEAN };
}

function sayFurther() {
  const heads = hasHeads() ? "" : " It has no heads: one map for each layer.";
  const others = runs.size > 1 ? "normalisation and run" : "the normalisation";
  const whose = `It is of the first token of the answer alone${runs.size > 1 ? ", in the untouched run" : ""}`;
  return `${state.map}: ${further.get(furtherKey(state.map)).label}. ${whose}; ${others} can be chosen for attention alone.${heads}`;
}

// Which map it is, and what of the other controls it does not follow.
function drawSource() {
  if (!further.size) return;
  document.getElementById("source").value = state.map;
  document.getElementById("source-said").textContent = isFurther() ? sayFurther() : "";
}

function makeSource() {
  if (!further.size) return;
  const source = document.getElementById("source");
  source.append(...CHOICES.map.map((option) => element("option", { value: option }, option)));
  source.addEventListener("change", () => change({ map: source.value }));
}
