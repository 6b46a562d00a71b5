// The one visual language: shape = kind of thing, colour = one quantity. The scale of gradients and the colours of
// kinds come with the page, from the same palette as all other pictures.

const PALETTE = JSON.parse(document.getElementById("palette").textContent);
const INK = PALETTE.ink;
const RED = PALETTE.red;
const BLUE = PALETTE.blue;
const GREY = PALETTE.grey;
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const FORWARD = "#225577"; // what is being computed
const FOUND = "#AA3377"; // what was searched for

// A colour as the page is, light or dark.
const themed = (colour) => (DARK.matches && PALETTE.dark[colour.toUpperCase()]) || colour;

const parts = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
const mixed = (a, b, share) => {
  const [from, to] = [parts(a), parts(b)];
  return (
    "#" +
    from
      .map((c, i) =>
        Math.round(c + share * (to[i] - c))
          .toString(16)
          .padStart(2, "0"),
      )
      .join("")
  );
};

function inkOn(colour) {
  const [red, green, blue] = parts(colour);
  return 0.299 * red + 0.587 * green + 0.114 * blue < 120 ? "#FEFEFE" : "#222222"; // as in the static picture
}

// Norms of gradients ("grad") or changes of values ("change") from the smallest to the largest, on a log scale.
class Scale {
  constructor(norms, quantity) {
    this.quantity = quantity;
    const logs = norms.filter((norm) => norm > 0).map(Math.log10);
    this.known = logs.length > 0 || quantity === "change";
    this.high = logs.length ? Math.ceil(Math.max(...logs)) : 0;
    this.low = logs.length ? Math.max(Math.floor(Math.min(...logs)), this.high - PALETTE.decades) : -1;
    if (this.low === this.high) this.low--;
  }

  colour(norm) {
    if (norm === null) return null;
    if (!Number.isFinite(norm)) return PALETTE.notFinite;
    if (norm === 0) return PALETTE.zero[this.quantity];
    return this.at((Math.log10(norm) - this.low) / (this.high - this.low));
  }

  at(share) {
    const place = Math.min(Math.max(share, 0), 1) * (PALETTE.scale.length - 1);
    const k = Math.min(Math.floor(place), PALETTE.scale.length - 2);
    return mixed(PALETTE.scale[k], PALETTE.scale[k + 1], place - k);
  }

  // Fill in the legend of the page.
  show() {
    const stops = Array.from({ length: 9 }, (_, i) => this.at(i / 8));
    byId("quantity").textContent = PALETTE.legends[this.quantity];
    byId("scale").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    for (const [share, text] of this.ticks()) {
      byId("ticks").append(element("span", { style: { left: `${100 * share}%` } }, text));
    }
    byId("zero").hidden = this.quantity !== "change";
    byId("zero").style.background = themed(PALETTE.zero[this.quantity]);
  }

  // [[share, text]] for round numbers
  ticks() {
    const stride = Math.max(1, Math.ceil((this.high - this.low) / 5));
    const ticks = [];
    for (let power = this.high; power >= this.low; power -= stride) {
      ticks.push([(power - this.low) / (this.high - this.low), power === 0 ? "1" : `10${superscript(power)}`]);
    }
    return ticks;
  }
}

const superscript = (number) =>
  [...String(number)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");

// A number of a matrix: blue below zero, red above, white at zero.
function signedColour(number, largest) {
  if (!Number.isFinite(number)) return PALETTE.notFinite;
  const share = largest > 0 ? Math.min(Math.abs(number) / largest, 1) : 0;
  return mixed("#FFFFFF", number < 0 ? "#2166AC" : "#B2182B", 0.85 * share);
}

// With so many digits; small and large ones with an exponent.
function numberText(number, digits = 3) {
  if (number === null || number === undefined) return "";
  const value = Number(number);
  if (!Number.isFinite(value)) return String(number);
  const size = Math.abs(value);
  const plain = value === 0 || (size >= 10 ** -digits && size < 1e4);
  const text = plain ? String(Number(value.toPrecision(digits))) : value.toExponential(digits - 1);
  return text.replace("e+", "e").replaceAll("-", "−");
}
