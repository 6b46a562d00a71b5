// The graph as it came, its clusters, and the part of it that is visible: what is neither collapsed nor inside a
// fused node that is closed.
//
// A scope is a list of entries [label, step, fused]: step is null for a module; fused is true for the cluster of an
// expanded fused node.

const scopeKey = (scope) => JSON.stringify(scope.map(([label, step]) => [label, step]));
const MOST_SHOWN = 4000; // nodes to begin with
const notFinite = (node, which) => [node, ...(node.outputs || [])].some((one) => one[which]?.nonfinite);
const isStep = (entry) => entry[1] !== null && entry[1] !== undefined;
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

class Model {
  constructor(data) {
    this.options = data.options || {};
    this.nodes = data.nodes;
    this.edges = data.edges;
    this.byId = new Map(this.nodes.map((node) => [node.id, node]));
    this.tones = new Map(); // of parameters' lines
    for (const node of this.nodes) if (node.kind === "parameter") this.tones.set(node.id, this.tones.size);
    this.clusters = new Map(); // key -> {key, scope, label, members}
    this.collapsed = new Set(); // keys of clusters
    this.expanded = new Set(); // ids of fused nodes
    this.into = new Map(this.nodes.map((node) => [node.id, []])); // edges by their target
    this.outOf = new Map(this.nodes.map((node) => [node.id, []])); // and by their source
    for (const edge of this.edges) {
      if (this.into.has(edge.target)) this.into.get(edge.target).push(edge);
      if (this.outOf.has(edge.source)) this.outOf.get(edge.source).push(edge);
    }
    this.keys = new Map(); // the id of a node -> the keys of the scopes around it, from the outermost in
    const known = new Map(); // of nodes with the same scope
    for (const node of this.nodes) {
      const whole = scopeKey(node.scope);
      if (!known.has(whole)) known.set(whole, node.scope.map((_, k) => scopeKey(node.scope.slice(0, k + 1))));
      const keys = known.get(whole);
      this.keys.set(node.id, keys);
      keys.forEach((key, k) => {
        if (!this.clusters.has(key)) {
          const scope = node.scope.slice(0, k + 1);
          this.clusters.set(key, { key, scope, label: entryLabel(scope[k]), members: [] });
        }
        this.clusters.get(key).members.push(node);
      });
    }
    const values = this.nodes.filter((node) => notFinite(node, "value"));
    const gradients = this.nodes.filter((node) => notFinite(node, "grad")).reverse();
    this.broken = new Set([...values, ...gradients].map((node) => node.id)); // in the order in which they came up
    this.closeLarge();
    this.inner = new Map(); // the id of an inner node -> that of its fused node
    for (const node of this.nodes) {
      if (node.inner) for (const part of node.inner.nodes) this.inner.set(part.id, node.id);
    }
  }

  // Of a graph with too many nodes to look at, the groups that leave so many as can be, from the outermost in.
  closeLarge() {
    if (this.nodes.length <= MOST_SHOWN) return;
    const deepest = Math.max(...this.nodes.map((node) => node.scope.length));
    const shown = (depth) => {
      let count = 0;
      for (const node of this.nodes) if (node.scope.length <= depth) count++;
      for (const { scope } of this.clusters.values()) if (scope.length === depth + 1) count++;
      return count;
    };
    let depth = 0;
    while (depth < deepest && shown(depth + 1) <= MOST_SHOWN) depth++;
    for (const { key, scope } of this.clusters.values()) if (scope.length > depth) this.collapsed.add(key);
    this.options.note ||= "groups are closed; a click on + opens one";
  }

  // Every node, inner ones too, for the search.
  *everything() {
    for (const node of this.nodes) {
      yield node;
      if (node.inner) for (const part of node.inner.nodes) yield this.innerNode(node, part, 0);
    }
  }

  innerNode(fused, part, position) {
    const scope = [...fused.scope, [nodeTitle(fused), null, true]];
    const share = (position + 1) / (fused.inner.nodes.length + 1);
    return { ...part, scope, order: fused.order - 1 + share, owner: fused.id };
  }

  // The node, or its cluster, that stands for a node now.
  representative(id) {
    const owner = this.inner.get(id);
    const node = this.byId.get(owner === undefined ? id : owner);
    if (!node) return null;
    const closed = this.keys.get(node.id).find((key) => this.collapsed.has(key));
    if (closed !== undefined) return `cluster:${closed}`;
    if (owner !== undefined) return this.expanded.has(owner) ? id : owner;
    return id;
  }

  // Open whatever hides a node.
  reveal(id) {
    const owner = this.inner.get(id);
    const node = this.byId.get(owner === undefined ? id : owner);
    for (const key of this.keys.get(node.id)) this.collapsed.delete(key);
    if (owner !== undefined) this.expanded.add(owner);
  }

  toggle(id) {
    const flip = (set, key) => (set.has(key) ? set.delete(key) : set.add(key));
    if (id.startsWith("cluster:")) flip(this.collapsed, id.slice("cluster:".length));
    else if (this.byId.get(id)?.inner) flip(this.expanded, id);
    else return false;
    return true;
  }

  // All clusters of a sort: those of time steps, or those of modules.
  collapseAll(steps) {
    for (const cluster of this.clusters.values()) {
      if (isStep(cluster.scope[cluster.scope.length - 1]) === steps) this.collapsed.add(cluster.key);
    }
  }

  expandAll() {
    this.collapsed.clear();
    this.expanded.clear();
  }

  // {nodes, edges}: what is to be laid out and drawn.
  visible() {
    const nodes = [];
    const seen = new Set();
    for (const node of this.nodes) {
      const id = this.representative(node.id);
      if (id !== node.id) {
        if (!seen.has(id)) nodes.push(this.clusterNode(id));
        seen.add(id);
      } else if (this.expanded.has(id)) {
        node.inner.nodes.forEach((part, i) => nodes.push(this.innerNode(node, part, i)));
      } else nodes.push(node);
    }
    const edges = new Map();
    for (const edge of this.visibleEdges()) {
      if (edge.source === edge.target && !edge.loop) continue;
      const key = `${edge.source}\n${edge.target}\n${edge.kind}`;
      const same = edges.get(key);
      if (same) {
        same.label = [...new Set([...same.label.split(", "), edge.label].filter(Boolean))].join(", ");
        same.times += edge.times;
      } else edges.set(key, { ...edge, label: edge.label || "" });
    }
    return { nodes, edges: [...edges.values()] };
  }

  *visibleEdges() {
    for (const edge of this.edges) {
      const source = this.representative(edge.source);
      const target = this.representative(edge.target);
      if (source === null || target === null) continue;
      const loop = edge.source === edge.target;
      for (const from of this.sourcesInside(source, edge)) {
        for (const to of this.targetsInside(target, edge)) yield { ...edge, source: from, target: to, loop };
      }
    }
    for (const id of this.expanded) {
      if (this.representative(id) !== id) continue;
      for (const edge of this.byId.get(id).inner.edges) {
        yield { ...edge, loop: false };
      }
    }
  }

  // An edge to an expanded fused node goes to the inner nodes that use it; one from it comes from what computes it.
  targetsInside(id, edge) {
    if (!this.expanded.has(id)) return [id];
    const { nodes, inputs = [] } = this.byId.get(id).inner;
    const users = inputs.filter(([source, output]) => source === edge.source && output === (edge.output || 0));
    return users.length ? users.map(([, , user]) => user) : [nodes[0].id];
  }

  sourcesInside(id, edge) {
    if (!this.expanded.has(id)) return [id];
    const { nodes, outputs = [] } = this.byId.get(id).inner;
    const output = outputs[edge.output || 0];
    return [output ? output[0] : nodes[nodes.length - 1].id];
  }

  clusterNode(id) {
    const { key, scope, label, members } = this.clusters.get(id.slice("cluster:".length));
    const norms = members.map((node) => gradientNorm(node)).filter((norm) => norm !== null);
    return {
      id,
      key,
      kind: "collapsed",
      label,
      op: "",
      shape: null,
      dtype: "",
      line: "",
      outputs: [],
      inner: null,
      value: null,
      scope: scope.slice(0, -1),
      span: spanOf(scope[scope.length - 1]), // a closed step keeps its column
      order: Math.min(...members.map((node) => node.order)),
      bytes: members.reduce((sum, node) => sum + (node.bytes || 0), 0),
      count: members.reduce((sum, node) => sum + (node.count || 1), 0),
      grad: norms.length
        ? { norm: Math.max(...norms), mean: null, min: null, max: null, nonfinite: 0, array: null }
        : null,
      members,
    };
  }
}

// The steps that a closed scope stands for: [label, first, last], or null.
function spanOf([label, step]) {
  const rolled = isStep([label, step]) ? null : rolledSteps(label);
  return isStep([label, step]) ? [label, step, step] : rolled === null ? null : [rolled, 0, 0];
}

// ---- what a node is called ----------------------------------------------------------------------------------------

const nodeTitle = (node) => {
  const label = (node.label || "").split("\n").filter(Boolean);
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
