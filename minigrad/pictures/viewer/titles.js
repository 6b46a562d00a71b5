// The names of scopes and nodes.

const entryLabel = ([label, step]) =>
  !isStep([label, step]) ? label : label === "window" ? `window ${step}` : `${label} = ${step}`;

// As errors write it: encoder.lstm[1] t=3
function scopeText(scope) {
  let text = "";
  let joint = "";
  for (const entry of scope) {
    if (isStep(entry)) {
      text += ` ${entry[0]}=${entry[1]}`;
      joint = " ";
    } else {
      text += (entry[0].startsWith("[") ? "" : joint) + entry[0];
      joint = ".";
    }
  }
  return text.trim();
}

// The subscripts of textbooks: h_{3} as h₃, W_{hh} as W_hh.
const readable = (text) =>
  text.replace(/_\{([^{}]*)\}/g, (_, low) =>
    /^\d+$/.test(low) ? [...low].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("") : `_${low}`,
  );

const nodeTitle = (node) => {
  const label = readable(node.label || "")
    .split("\n")
    .filter(Boolean);
  if (node.kind === "fused" && node.op) return node.op;
  return label.join(" ") || node.formula || node.op || node.kind;
};

function shapeText(shape) {
  if (!shape) return "";
  if (Array.isArray(shape[0])) return [...new Set(shape.map(shapeText))].join(", ");
  return shape.length ? shape.join("×") : "scalar";
}

// The small second line in a node's box.
function nodeSubtitle(node) {
  if (node.kind === "collapsed" || node.kind === "elided") return node.count > 1 ? `${node.count} nodes` : "";
  const gates = (node.outputs || [])
    .map((output) => output.label)
    .filter(Boolean)
    .join(" ");
  const parts = [];
  if (node.kind === "fused" && gates) parts.push(gates);
  else if (node.label && node.op && node.label !== node.op && node.kind !== "fused")
    parts.push(node.formula || node.op);
  if (node.shape) parts.push(shapeText(node.shape));
  return parts.join(" · ");
}

function gradientNorm(node) {
  if (node.grad) return finiteOrNull(node.grad.norm);
  const norms = (node.outputs || []).filter((output) => output.grad).map((output) => Number(output.grad.norm));
  return norms.length ? finiteOrNull(Math.hypot(...norms)) : null;
}

const finiteOrNull = (number) => (Number.isFinite(Number(number)) && number !== null ? Number(number) : null);
