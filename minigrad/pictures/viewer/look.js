// The look of a node: its text, form, colours and size; as in textbooks where the graph asks for it (labels.py).

const MOST_WIDE = 190;
const SIGNED = { ...PALETTE.pointwise, sigmoid: "σ", matmul: "·", concatenate: "[ , ]" }; // in textbooks

// A bare operation that has a sign is a circle with it.
const signOf = (node) => (node.kind === "operation" && !node.label && !node.formula && PALETTE.signs[node.op]) || "";

class Look {
  constructor({ style, backward, view, windows }) {
    this.textbook = style === "textbook";
    this.backward = !!backward; // edges show gradients
    this.rolled = view === "rolled";
    this.windows = windows || []; // of a textbook: [title, ids]
    this.framed = !this.textbook; // scopes have frames
  }

  // {head, small, circle}
  text(node) {
    if (this.textbook && node.kind !== "collapsed") return this.inTextbooks(node);
    const sign = signOf(node);
    return sign ? { head: sign, small: "", circle: true } : { head: nodeTitle(node), small: nodeSubtitle(node) };
  }

  // Signs for operations; a value that has a name goes by it, with the sign that made it.
  inTextbooks({ kind, op = "", label = "", formula = "", grad }) {
    const signed = SIGNED[op];
    const sign = signed || op.replaceAll("_", " ");
    if (kind === "elided") return { head: "⋯", small: "" };
    if (kind === "parameter" && this.backward && grad) return { head: label, small: `‖∂‖ ${numberText(grad.norm, 2)}` };
    if (["input", "output", "parameter", "detached", "cell"].includes(kind) || !op)
      return { head: label || formula || sign, small: "" };
    if (label && PALETTE.squashes.includes(op)) return { head: sign, small: label };
    if (label && !signed) return { head: label, small: "" };
    const head = formula || sign;
    return { head, small: label, circle: kind === "operation" && !label && [...head].length === 1 };
  }

  // {fill, border, width, dash, form, ink}
  style({ kind, op }) {
    const styles = this.textbook ? PALETTE.textbook : PALETTE.kinds;
    if (this.textbook && ["operation", "output"].includes(kind) && op) {
      if (PALETTE.squashes.includes(op)) return styles.squash;
      if (PALETTE.pointwise[op]) return styles.pointwise;
    }
    return styles[kind] || styles.operation;
  }

  // {w, h, circle}
  size(node) {
    const { head, small, circle } = this.text(node);
    if (circle) return { w: 30, h: 30, circle };
    const { form } = this.style(node);
    const marker = node.inner || node.members ? 22 : 0;
    const [wide, narrow] = this.textbook
      ? [scriptedWidth(this.fitting(head), 13), scriptedWidth(this.fitting(small), 11)]
      : [textWidth(shortened(head, TITLE, MOST_WIDE - 24), TITLE), textWidth(this.fitting(small), SMALL)];
    if (!this.textbook && node.kind === "parameter") return { w: Math.ceil(wide + narrow + 34), h: 25, circle: false };
    const bare = form === "none";
    const least = bare ? 14 : form === "oval" ? 38 : 44;
    const w = Math.max(least, wide, narrow) + (bare ? 8 : 20) + marker;
    return { w: Math.ceil(w), h: small ? 38 : this.textbook && bare ? 22 : 28, circle: false };
  }

  fitting(text) {
    if (!this.textbook) return shortened(text, SMALL, MOST_WIDE - 24);
    return scriptedWidth(text, 13) < MOST_WIDE ? text : shortened(readable(text), TITLE, MOST_WIDE - 24);
  }

  // The text beside an edge, or "".
  mark(edge, source, target) {
    if (this.textbook && this.backward && source.kind === "parameter") return ""; // its node has the sum
    if (this.backward) return edge.grad === null || edge.grad === undefined ? "" : numberText(edge.grad, 2);
    const carried = edge.kind === "state" || (edge.kind === "detached" && edge.steps);
    if (this.textbook) return carried ? edge.label || "" : "";
    const always = this.rolled && !edge.steps && source.count === target.count && edge.times === source.count;
    return !always && (carried || edge.times > 1) ? markOf(edge) : ""; // always: at each step of a loop
  }

  markWidth(edge, source, target) {
    return this.width(this.mark(edge, source, target));
  }

  // Of what is written beside an edge.
  width(text) {
    return this.textbook ? scriptedWidth(text, 11) : textWidth(text, `italic ${SMALL}`);
  }
}
