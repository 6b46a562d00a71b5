// The sizes of texts and nodes.

const FONT = '"Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif';
const TITLE = `13px ${FONT}`;
const SMALL = `11px ${FONT}`;

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

// The text beside an edge that stands for several: their names, or their number.
function markOf(edge) {
  const named = edge.label && edge.times === edge.label.split(", ").length;
  return named ? edge.label : edge.times > 1 ? `×${edge.times}` : "";
}

function textWidth(text, font) {
  ruler.font = font;
  return ruler.measureText(text).width;
}

// ---- subscripts -----------------------------------------------------------------------------------------------------

const SCRIPT = 0.75; // the size of a subscript
const PIECE = /(\p{L}[^\s_,{}]*)_(\{[^{}]*\}|[A-Za-z0-9]+)/gu;

// A text in pieces: [text, whether it is a subscript].
function pieces(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(PIECE)) {
    found.push([text.slice(at, match.index) + match[1], false], [match[2].replace(/[{}]/g, ""), true]);
    at = match.index + match[0].length;
  }
  found.push([text.slice(at), false]);
  return found.filter(([piece]) => piece);
}

// Single letters are slanted, as in formulas.
const scriptFont = (piece, low, size) =>
  `${!low && /^\p{L}\p{M}*$/u.test(piece) ? "italic " : ""}${size * (low ? SCRIPT : 1)}px ${FONT}`;

const scriptedWidth = (text, size) =>
  pieces(text).reduce((sum, [piece, low]) => sum + textWidth(piece, scriptFont(piece, low, size)), 0);

// Write a text with its middle at (x, y).
function drawScripted(c, text, x, y, size) {
  c.textAlign = "left";
  let at = x - scriptedWidth(text, size) / 2;
  for (const [piece, low] of pieces(text)) {
    c.font = scriptFont(piece, low, size);
    c.fillText(piece, at, y + (low ? size * 0.25 : 0));
    at += textWidth(piece, c.font);
  }
}
