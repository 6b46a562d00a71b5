// How large texts and nodes are.

const FONT = '"Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif';
const TITLE = `13px ${FONT}`;
const SMALL = `11px ${FONT}`;
const MOST_WIDE = 190;

const ruler = document.createElement("canvas").getContext("2d");

const shortTexts = new Map();

// A text that fits into a width, with an ellipsis if it must.
function shortened(text, font, width) {
  const key = `${Math.floor(width)} ${font} ${text}`;
  if (!shortTexts.has(key)) {
    if (shortTexts.size > 20000) shortTexts.clear();
    shortTexts.set(key, fitted(text, font, width));
  }
  return shortTexts.get(key);
}

function fitted(text, font, width) {
  ruler.font = font;
  if (ruler.measureText(text).width <= width) return text;
  const letters = Array.from(text);
  let [fits, most] = [0, letters.length];
  while (fits < most - 1) {
    const middle = (fits + most) >> 1;
    if (ruler.measureText(letters.slice(0, middle).join("") + "…").width <= width) fits = middle;
    else most = middle;
  }
  return letters.slice(0, fits).join("") + "…";
}

// What is written beside an edge that stands for several: their names, or their number.
function markOf(edge) {
  const named = edge.label && edge.times === edge.label.split(", ").length;
  return named ? readable(edge.label) : edge.times > 1 ? `×${edge.times}` : "";
}

function markWidth(edge) {
  ruler.font = `italic ${SMALL}`;
  return ruler.measureText(markOf(edge)).width;
}

// A bare operation that has a sign is a circle with it.
const signOf = (node) => (node.kind === "operation" && !node.label && !node.formula && PALETTE.signs[node.op]) || "";

// How large a node is: {w, h, circle}.
function sizeOf(node) {
  if (signOf(node)) return { w: 30, h: 30, circle: true };
  const title = shortened(nodeTitle(node), TITLE, MOST_WIDE - 24);
  const small = shortened(nodeSubtitle(node), SMALL, MOST_WIDE - 24);
  ruler.font = TITLE;
  const wide = ruler.measureText(title).width;
  ruler.font = SMALL;
  const marker = node.inner || node.members ? 22 : 0;
  if (node.kind === "parameter")
    return { w: Math.ceil(wide + 8 + ruler.measureText(small).width + 26), h: 25, circle: false };
  const least = node.kind === "input" ? 14 : 44;
  const w = Math.max(least, wide, ruler.measureText(small).width) + (node.kind === "input" ? 8 : 20) + marker;
  return { w: Math.ceil(w), h: small ? 38 : 28, circle: false };
}
