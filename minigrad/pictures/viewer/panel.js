// The side panel: what is known of a node. All text goes in as text.

// An element with properties and children; strings become text.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.assign(made.style, value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const MOST_LISTED = 24;

class Panel {
  // actions: {select(id), toggle(id), name(id) -> what a node is called}
  constructor(root, model, look, actions) {
    Object.assign(this, { root, model, look, actions });
  }

  show(...children) {
    this.root.replaceChildren(...children.flat().filter(Boolean));
  }

  overview(scale) {
    const { nodes, options } = this.model;
    const real = nodes.reduce((sum, node) => sum + (node.count || 1), 0);
    const kept = nodes.reduce((sum, node) => sum + (node.bytes || 0), 0);
    const parameters = nodes.filter((node) => node.kind === "parameter");
    const weights = parameters.reduce((sum, node) => sum + (node.shape || []).reduce((a, b) => a * b, 1), 0);
    this.show(
      element("h2", {}, "The graph"),
      definitions([
        ["nodes", real.toLocaleString("en")],
        ["parameters", `${parameters.length} (${weights.toLocaleString("en")} numbers)`],
        ["kept for backward", kept ? bytesText(kept) : ""],
        ["view", options.view && options.view !== "full" ? options.view : ""],
      ]),
      element("h3", {}, "Shapes"),
      kindsLegend(new Set(nodes.map((node) => node.kind)), this.look, this.model.notFinite),
      scale.known && scale.quantity === "grad"
        ? element(
            "p",
            { className: "hint" },
            "Step backward, or colour by gradient, to see how much gradient arrives where.",
          )
        : null,
      element("h3", {}, "Keys"),
      this.keys(),
    );
  }

  keys() {
    return definitions([
      ["wheel, + −", "zoom"],
      ["drag, shift+arrows", "move"],
      ["0", "whole graph"],
      ["arrows", "to a neighbour"],
      ["enter", "open or close"],
      [", .", "step back, on"],
      ["space", "play, pause"],
      ["/", "search"],
      ["n", "next value that is not finite"],
      ["?", "these keys"],
      ["escape", "leave"],
    ]);
  }

  details(node, phase = "") {
    const { actions } = this;
    const scope = scopeText(node.scope.filter((entry) => !entry[2]));
    const opens = node.inner || node.members || node.owner;
    const parts = [
      element("h2", {}, nodeTitle(node)),
      definitions([
        ["kind", KIND_NAMES[node.kind] || node.kind],
        ["operation", node.op || ""],
        ["scope", scope],
        ["shape", shapeText(node.shape)],
        ["dtype", node.dtype || ""],
        ["line", node.line || ""],
        ["kept for backward", node.bytes ? bytesText(node.bytes) : ""],
        ["stands for", node.count > 1 ? `${node.count} nodes` : ""],
      ]),
    ];
    if (opens) {
      const target = node.owner || node.id;
      const words = node.owner ? "Close" : node.inner ? "Show what is inside" : "Expand";
      parts.push(element("button", { type: "button", onclick: () => actions.toggle(target) }, words));
    }
    const change = this.model.quantity === "change";
    // forward, gradients are not known yet
    const known = { "": ["value", "grad"], forward: ["value"], backward: ["grad", "value"] }[phase];
    const first = known.filter((which) => which === "value" || !change);
    const largest = node.members ? "largest " : "";
    if (change && node.grad)
      parts.push(definitions([[`${largest}change ‖v − w‖ / ‖w‖`, numberText(node.grad.norm)]]));
    else if (node.members && node.grad)
      parts.push(definitions([["largest ‖gradient‖ inside", numberText(node.grad.norm)]]));
    else
      for (const which of first)
        if (node[which]) parts.push(numbersSection(which === "value" ? "Value" : "Gradient", node[which]));
    parts.push(...this.outputs(node, first));
    if (!node.members && !node.owner) {
      parts.push(this.neighbours("Computed from", this.model.into(node.id), "source"));
      parts.push(this.neighbours("Used by", this.model.outOf(node.id), "target"));
    }
    this.show(parts);
  }

  outputs(node, first) {
    const known = (node.outputs || []).filter((output) => output.label || output.value || output.grad);
    const section = (output, which) =>
      output[which] && numbersSection(which === "value" ? "Value" : "Gradient", output[which]);
    if (known.length === 1 && !known[0].label) return first.map((which) => section(known[0], which));
    return known.slice(0, MOST_LISTED).map((output, i) => {
      const words = { value: "‖value‖", grad: "‖gradient‖" };
      const norms = first.filter((which) => output[which]).map((which) => [which, words[which]]);
      const summary = element(
        "summary",
        {},
        element("strong", {}, output.label || `output ${i}`),
        ...norms.map(([which, text]) => element("span", {}, ` ${text} ${numberText(output[which].norm)}`)),
      );
      return element(
        "details",
        { open: i < 6 },
        summary,
        ...first.map((which) => section(output, which)).filter(Boolean),
      );
    });
  }

  neighbours(title, edges, end) {
    const seen = [...new Map((edges || []).map((edge) => [edge[end], edge])).values()];
    if (!seen.length) return null;
    const items = seen.slice(0, MOST_LISTED).map((edge) => {
      const node = this.model.byId.get(edge[end]);
      const button = element(
        "button",
        { type: "button", className: "link", onclick: () => this.actions.select(node.id) },
        nodeTitle(node),
      );
      const extra = [edge.kind, edge.label, scopeText(node.scope)].filter(Boolean).join(" · ");
      return element("li", { className: edge.kind }, button, extra ? element("small", {}, ` ${extra}`) : null);
    });
    if (seen.length > MOST_LISTED) items.push(element("li", {}, `and ${seen.length - MOST_LISTED} more`));
    return element("section", {}, element("h3", {}, title), element("ul", {}, ...items));
  }

  // Several nodes at once: a time step.
  several(nodes, phase, title) {
    const which = phase === "backward" ? "grad" : "value";
    const rows = nodes.slice(0, 60).map((node) => {
      const numbers = numbersOf(node, which);
      return element(
        "li",
        {},
        element(
          "button",
          { type: "button", className: "link", onclick: () => this.actions.select(node.id) },
          nodeTitle(node),
        ),
        element("small", {}, numbers ? ` ‖·‖ = ${numberText(numbers.norm)}` : " not kept"),
        numbers && Array.isArray(numbers.array) ? matrix(numbers.array) : null,
        ...(node.outputs || [])
          .filter((output) => output.label && output[which])
          .map((output) =>
            element(
              "div",
              { className: "gate" },
              element("strong", {}, output.label),
              element("small", {}, ` ‖·‖ = ${numberText(output[which].norm)}`),
            ),
          ),
      );
    });
    this.show(
      element("h2", {}, title),
      element("h3", {}, phase === "backward" ? "Gradients" : "Values"),
      element("ul", { className: "values" }, ...rows),
    );
  }
}

const KIND_NAMES = {
  operation: "operation",
  fused: "several operations in one kernel",
  output: "result",
  parameter: "parameter",
  input: "given value",
  detached: "cut off from its past",
  elided: "steps left out",
  collapsed: "closed cluster",
  cell: "a step",
};

const BROKEN_NAMES = { value: "a value is not finite", grad: "only the gradient is not finite" };

function definitions(pairs) {
  const list = element("dl");
  for (const [term, text] of pairs) if (text !== "") list.append(element("dt", {}, term), element("dd", {}, text));
  return list;
}

function bytesText(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let k = 0;
  while (bytes >= 1000 && k < units.length - 1) {
    bytes /= 1000;
    k++;
  }
  return `${k ? bytes.toPrecision(3) : bytes} ${units[k]}`;
}

function numbersSection(title, numbers) {
  const scalar = numbers.array !== null && numbers.array !== undefined && !Array.isArray(numbers.array);
  const statistics = scalar
    ? [["number", numberText(numbers.array)]]
    : [
        ["‖·‖", numberText(numbers.norm)],
        ["mean", numberText(numbers.mean)],
        ["from", numberText(numbers.min)],
        ["to", numberText(numbers.max)],
      ].filter(([, text]) => text);
  if (numbers.nonfinite) statistics.push(["not finite", String(numbers.nonfinite)]);
  return element(
    "section",
    {},
    element("h3", {}, title),
    element(
      "div",
      { className: "statistics" },
      ...statistics.map(([name, text]) => element("span", {}, element("small", {}, name), text)),
    ),
    Array.isArray(numbers.array) ? matrix(numbers.array) : null,
  );
}

// Numbers as a table in colours: blue below zero, red above.
function matrix(array) {
  const rows = rowsOf(array);
  const finite = rows.flat().map(Number).filter(Number.isFinite);
  const largest = Math.max(0, ...finite.map(Math.abs));
  const wide = Math.max(...rows.map((row) => row.length)) > 8;
  const table = element("table", { className: wide ? "matrix wide" : "matrix" });
  for (const row of rows) {
    const line = table.insertRow();
    for (const number of row) {
      const colour = signedColour(Number(number), largest);
      const style = { backgroundColor: colour, color: inkOn(colour) };
      line.append(element("td", { style, title: String(number) }, numberText(number, 2)));
    }
  }
  return element("div", { className: "scroll" }, table);
}

// One small picture for each kind that occurs.
function kindsLegend(kinds, look, notFinite) {
  const list = element("ul", { className: "kinds" });
  for (const [kind, name] of Object.entries(KIND_NAMES)) {
    if (!kinds.has(kind) && kind !== "collapsed") continue;
    const style = look.style({ kind });
    const radius = { pill: "8px", oval: "50%", sharp: "2px" }[style.form] || "5px";
    const line = kind === "fused" ? "3px double" : style.dash ? "1px dashed" : "1px solid";
    const border = style.border ? `${line} ${themed(style.border)}` : "none";
    const [background, color] = [style.fill ? themed(style.fill) : "none", themed(style.ink)];
    list.append(
      element(
        "li",
        {},
        element(
          "span",
          { className: `sample ${kind}`, style: { background, border, borderRadius: radius, color } },
          style.border ? "" : "x",
        ),
        name,
      ),
    );
  }
  for (const which of ["value", "grad"]) {
    if (!notFinite[which].length) continue;
    const [background, border] = PALETTE.broken[which];
    const style = { background, border: `1px solid ${border}`, borderRadius: "5px" };
    list.append(element("li", {}, element("span", { className: "sample", style }), BROKEN_NAMES[which]));
  }
  for (const [name, style] of [
    ["state, from step to step", `3px solid ${RED}`],
    ["cut: no gradient flows", "1.5px dashed #7F8790"],
  ]) {
    list.append(element("li", {}, element("span", { className: "sample line", style: { borderTop: style } }), name));
  }
  return list;
}
