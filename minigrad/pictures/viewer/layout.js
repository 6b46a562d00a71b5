// Where everything stands. Columns are time steps, rows ("bands") are modules; what is computed for all steps at once
// is a bar across them, or stands in a strip between two rows. Loops that follow each other in time (an encoder, a
// decoder) are groups of columns of their own, side by side. Parameters stand once, in a lane at the left, with a rail
// along their row. A graph without steps is one layered block with its modules as boxes.

const PAD = 9; // inside a cluster's border
const HEADER = 18; // of a cluster, for its label
const COLUMN_GAP = 30;
const BAND_GAP = 22;
const BAR_HEIGHT = 26;
const TRACK = 29; // from one parameter's rail to the next
const GROUP_GAP = 70;

class Layout {
  // visible: {nodes, edges}; size: a node -> {w, h, circle}
  constructor(visible, size) {
    this.nodes = visible.nodes;
    this.size = size;
    this.byId = new Map(this.nodes.map((node) => [node.id, node]));
    this.edges = visible.edges.filter((edge) => this.byId.has(edge.source) && this.byId.has(edge.target));
    this.into = new Map(this.nodes.map((node) => [node.id, []]));
    this.outOf = new Map(this.nodes.map((node) => [node.id, []]));
    for (const edge of this.edges) {
      this.outOf.get(edge.source).push(edge);
      this.into.get(edge.target).push(edge);
    }
    this.spots = new Map(this.nodes.map((node) => [node.id, spotOf(node)]));
    this.blocks = new Blocks(this);
    this.boxes = this.blocks.boxes; // id -> {x, y, w, h, bar, circle, mirrored}
    this.rails = new Map(); // source id -> [{x, y, users}] for each band: where its rail runs
    this.frames = []; // {key, x, y, w, h}: what a cluster spans beyond its nodes
    this.homes = new Map(); // id of a parameter -> the scope that it was put into
    this.groups = [];
    this.place();
    this.clusters = clustersOf(this); // [{key, label, depth, x, y, w, h}], the outer before the inner
    this.bounds = boundsOf([...this.boxes.values(), ...this.clusters]);
  }

  place() {
    this.placeElided();
    makeGroups(this);
    assignOutside(this);
    let x = 0;
    for (const group of this.groups) {
      x = (group.columns.length ? new Rows(this, group).place(x) : this.placeBlock(group, x)) + GROUP_GAP;
    }
  }

  // What stands for left out steps belongs between them: into a column of its own.
  placeElided() {
    for (const node of this.nodes) {
      const [, label, first, last] = /^(.*) = (\d+)(?: … (\d+))?$/.exec(node.label || "") || [];
      if (node.kind !== "elided" || label === undefined) continue;
      const step = (Number(first) + Number(last ?? first)) / 2;
      const scope = [...node.scope, [label, step]];
      this.spots.set(node.id, { ...spotOf({ ...node, scope }), depth: node.scope.length, elided: true });
    }
  }

  placeBlock(group, x) {
    const nodes = group.outside.map((node) => {
      if (node.kind !== "parameter" || node.scope.length) return node;
      this.homes.set(node.id, this.commonScope(node)); // with those who use it
      return { ...node, scope: this.homes.get(node.id) };
    });
    const block = this.blocks.block(nodes, 0);
    this.blocks.put(block, x, 0);
    return x + block.w;
  }

  commonScope(node) {
    const scopes = this.outOf.get(node.id).map((edge) => this.byId.get(edge.target).scope);
    let depth = 0;
    while (scopes.length && scopes.every((s) => s.length > depth && String(s[depth]) === String(scopes[0][depth])))
      depth++;
    return scopes.length ? scopes[0].slice(0, depth) : [];
  }

  // Whether an edge leads from a strip to one below, past rows of cells.
  runsAround(source, target) {
    const [from, to] = [this.spots.get(source), this.spots.get(target)];
    return from.group === to.group && from.strip !== undefined && to.strip !== undefined && to.strip > from.strip;
  }
}

// Where a node belongs: its loop and column (null outside of steps), its row of cells, how deep its cell's scope is.
function spotOf(node) {
  let last = -1;
  node.scope.forEach((entry, i) => {
    if (isStep(entry)) last = i;
  });
  if (last < 0) return { column: null };
  const column = node.scope.filter(isStep).map((entry) => entry[1]);
  const loop = JSON.stringify(node.scope.slice(0, last + 1).map((entry) => entry[0]));
  const next = node.scope[last + 1];
  const inner = next && !next[2] ? [next[0]] : [];
  const outer = moduleLabels(node.scope.slice(0, last));
  const depth = last + 1 + inner.length;
  return { column, columnKey: column.join(), loop, lane: [...outer, ...inner], outer: outer.length, depth };
}
