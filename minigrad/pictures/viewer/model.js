// The graph as it came, its clusters, and the part of it that is visible: what is neither collapsed nor inside a
// fused node that is closed.
//
// A scope is a list of entries [label, step, fused]: step is null for a module; fused is true for the cluster of an
// expanded fused node. The place of a node is its scope with the ranges of steps around it (groups.js).

const scopeKey = (scope) => JSON.stringify(scope.map(([label, step, , span]) => span || [label, step]));
const isStep = (entry) => entry[1] !== null && entry[1] !== undefined;
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
    this.edgesInto = grouped(this.edges, "target");
    this.edgesOutOf = grouped(this.edges, "source");
    this.keys = new Map(); // the id of a node -> the keys of the scopes around it, from the outermost in
    placeNodes(this.nodes);
    const known = new Map(); // of nodes with the same place, which is one object
    for (const node of this.nodes) {
      if (!known.has(node.place)) known.set(node.place, this.clustersOf(node.place));
      const around = known.get(node.place);
      this.keys.set(node.id, around.keys);
      for (const cluster of around.clusters) cluster.members.push(node);
    }
    const { value, grad } = data.broken;
    const ids = (rows) => rows.map((row) => this.nodes[row].id);
    this.notFinite = { value: ids(value), grad: ids(grad).reverse() }; // as they came up
    this.broken = new Map(this.notFinite.value.map((id) => [id, "value"])); // id -> what is not finite, the first first
    for (const id of this.notFinite.grad) if (!this.broken.has(id)) this.broken.set(id, "grad");
    this.norms = data.norms; // of gradients: the least and the largest
    this.quantity = this.options.color === "change" ? "change" : "grad"; // that the `grad` of a node holds
    this.large = this.nodes.length > MOST_SHOWN;
    if (this.large) {
      this.collapsed = closedFor(this.clusters, this.nodes, MOST_BOXES);
      this.options.note ||= "groups are closed; a click on + opens one";
    }
  }

  // The numbers that are not finite of a node, or inside of a closed group: "value", only "grad", or "".
  brokenOf(node) {
    if (!node.members) return this.broken.get(node.id) || "";
    const cluster = this.clusters.get(node.key);
    if (cluster.broken === undefined) {
      const found = new Set(cluster.members.map((one) => this.broken.get(one.id)));
      cluster.broken = found.has("value") ? "value" : found.has("grad") ? "grad" : "";
    }
    return cluster.broken;
  }

  // The edges that lead to a node, and those that lead away.
  into(id) {
    return this.edgesInto.get(id) || [];
  }

  outOf(id) {
    return this.edgesOutOf.get(id) || [];
  }

  // The clusters around what has this scope, from the outermost in, and their keys.
  clustersOf(scope) {
    const keys = scope.map((_, k) => scopeKey(scope.slice(0, k + 1)));
    keys.forEach((key, k) => {
      if (this.clusters.has(key)) return;
      this.clusters.set(key, { key, scope: scope.slice(0, k + 1), label: entryLabel(scope[k]), members: [] });
    });
    return { keys, clusters: keys.map((key) => this.clusters.get(key)) };
  }

  // The id of the fused node that an inner one, n7_0, is part of; undefined for others.
  ownerOf(id) {
    return this.byId.has(id) ? undefined : id.slice(0, id.lastIndexOf("_"));
  }

  // Of the computation: what the graph asks for; else upwards if there are steps, which go to the right (layout.py).
  direction() {
    const { direction, view } = this.options;
    if (direction === "right" || direction === "down") return direction;
    const loops = new Map();
    for (const { scope } of this.clusters.values()) {
      const last = scope.length - 1;
      if (isStep(scope[last])) loops.set(loopKey(scope, last), (loops.get(loopKey(scope, last)) || 0) + 1);
    }
    const time = direction === "time" || view === "rolled" || this.nodes.some((node) => node.span);
    return time || [...loops.values()].some((steps) => steps > 1) ? "up" : "right";
  }

  // Every node, inner ones too, for the search.
  *everything() {
    for (const node of this.nodes) {
      yield node;
      if (node.inner) for (const part of node.inner.nodes) yield this.innerNode(node, part, 0);
    }
  }

  innerNode(fused, part, position) {
    const entry = [nodeTitle(fused), null, true];
    const share = (position + 1) / (fused.inner.nodes.length + 1);
    const [scope, place] = [[...fused.scope, entry], [...fused.place, entry]];
    return { ...part, scope, place, order: fused.order - 1 + share, owner: fused.id };
  }

  // The node, or its cluster, that stands for a node now.
  representative(id) {
    const owner = this.ownerOf(id);
    const node = this.byId.get(owner === undefined ? id : owner);
    if (!node) return null;
    const closed = this.closedOf(this.keys.get(node.id));
    if (closed !== null) return closed;
    if (owner !== undefined) return this.expanded.has(owner) ? id : owner;
    return id;
  }

  // Open whatever hides a node.
  reveal(id) {
    const owner = this.ownerOf(id);
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
    for (const { key, scope } of this.clusters.values()) {
      const last = scope[scope.length - 1];
      if ((isStep(last) || !!last[3]) === steps) this.collapsed.add(key);
    }
  }

  // All that can be looked at.
  expandAll() {
    this.collapsed = this.large ? closedFor(this.clusters, this.nodes, MOST_SHOWN) : new Set();
    this.expanded.clear();
  }

  // {nodes, edges}: what is to be laid out and drawn.
  visible() {
    const nodes = [];
    const seen = new Set();
    const standing = this.standing();
    for (const node of this.nodes) {
      const id = standing.get(node.id);
      if (id !== node.id) {
        if (!seen.has(id)) nodes.push(this.clusterNode(id));
        seen.add(id);
      } else if (this.expanded.has(id)) {
        node.inner.nodes.forEach((part, i) => nodes.push(this.innerNode(node, part, i)));
      } else nodes.push(node);
    }
    const edges = new Map();
    for (const edge of this.visibleEdges(standing)) {
      if (edge.source === edge.target && !edge.loop) continue;
      const group = edge.source.startsWith("cluster:") || edge.target.startsWith("cluster:");
      const key = `${edge.source}\n${edge.target}\n${edge.kind}\n${group ? "" : edge.output || 0}`;
      const same = edges.get(key);
      if (same) {
        same.label = [...new Set([...same.label.split(", "), edge.label].filter(Boolean))].join(", ");
        same.times += edge.times;
        same.grad = together(same.grad, edge.grad);
      } else edges.set(key, { ...edge, label: edge.label || "" });
    }
    return { nodes, edges: [...edges.values()] };
  }

  // For each node of the tape, by its id, what stands for it now.
  standing() {
    const closed = new Map(); // for nodes with the same scope, the keys of which are one object
    const found = new Map();
    for (const { id } of this.nodes) {
      const keys = this.keys.get(id);
      if (!closed.has(keys)) closed.set(keys, this.closedOf(keys));
      found.set(id, closed.get(keys) ?? id);
    }
    return found;
  }

  // The outermost closed cluster; null if all are open.
  closedOf(keys) {
    const closed = keys.find((key) => this.collapsed.has(key));
    return closed === undefined ? null : `cluster:${closed}`;
  }

  *visibleEdges(standing) {
    for (const edge of this.edges) {
      const source = standing.get(edge.source);
      const target = standing.get(edge.target);
      if (source === undefined || target === undefined) continue;
      const loop = edge.source === edge.target;
      if (source === target && !loop) continue;
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
      scope: scope.slice(0, -1).filter((entry) => !entry[3]),
      place: scope.slice(0, -1),
      span: spanOf(scope[scope.length - 1]), // a closed step keeps its column
      order: members.reduce((least, node) => Math.min(least, node.order), Infinity),
      bytes: members.reduce((sum, node) => sum + (node.bytes || 0), 0),
      count: members.reduce((sum, node) => sum + (node.count || 1), 0),
      members,
      get grad() {
        if (this.largest === undefined) this.largest = largestGradient(members); // when somebody asks
        return this.largest;
      },
    };
  }
}

// The norm of two gradients together; null where none flows.
const together = (a, b) => ((a ?? null) === null ? b : (b ?? null) === null ? a : Math.hypot(a, b));

// The numbers of several gradients together: the largest norm; null if none is known.
function largestGradient(nodes) {
  let norm = null;
  for (const node of nodes) {
    const one = gradientNorm(node);
    if (one !== null && (norm === null || one > norm)) norm = one;
  }
  return norm !== null ? { norm, mean: null, min: null, max: null, nonfinite: 0, array: null } : null;
}

// Edges by one of their ends.
function grouped(edges, end) {
  const found = new Map();
  for (const edge of edges) {
    const same = found.get(edge[end]);
    if (same) same.push(edge);
    else found.set(edge[end], [edge]);
  }
  return found;
}

// The steps that a closed scope stands for: [label, first, last], or null.
function spanOf([label, step, , span]) {
  if (span) return span[0] === null ? null : span;
  const rolled = isStep([label, step]) ? null : rolledSteps(label);
  return isStep([label, step]) ? [label, step, step] : rolled === null ? null : [rolled, 0, 0];
}
