// Places of all elements, as in the static picture (layout.py): computation goes up, time to the right. Every step of
// a loop is a column, every loop over the same steps a lane; scopes are boxes around what is in them.

class Layout {
  // visible: {nodes, edges}; direction: of the computation, "up", "right" or "down". It is laid out upwards, and turned
  // at the end.
  constructor(visible, look, direction = "up") {
    Object.assign(this, { look, direction, turned: direction === "right" });
    this.nodes = visible.nodes;
    this.byId = new Map(this.nodes.map((node) => [node.id, node]));
    this.edges = visible.edges.filter((edge) => this.byId.has(edge.source) && this.byId.has(edge.target));
    this.root = new Box("");
    if (look.backward) this.root.rise = WRITTEN;
    this.scopes = new Map([["[]", this.root]]); // key of a scope -> Box
    this.rows = new Map(); // key of a loop -> Row
    this.leaves = new Map(this.nodes.map((node) => [node.id, new Leaf(node, this.sizeOf(node))]));
    [this.states, this.supplies, this.others] = [[], [], []];
    this.asides = []; // ends of states' edges: [leaf, row, side]
    const sorted = [...this.nodes].sort((a, b) => a.order - b.order);
    for (const node of sorted) if (node.kind !== "parameter") this.put(node);
    this.putParameters(sorted);
    for (const edge of this.edges) this.connect(edge);
    this.drawAside();
    this.levelStacks();
    this.root.arrange();
    if (this.widen()) this.root.arrange();
    this.root.fix(0, 0);
    for (const row of this.rows.values()) this.stack(row);
    this.finish();
  }

  sizeOf(node) {
    const { w, h, circle } = this.look.size(node);
    return this.turned ? { w: h, h: w, circle } : { w, h, circle };
  }

  put(node) {
    const leaf = this.leaves.get(node.id);
    if (node.span) this.rowOf(node.place, node.span[0]).put(node.span[1], leaf);
    else this.boxOf(node.place).add(leaf);
  }

  boxOf(scope) {
    const key = scopeKey(scope);
    if (!this.scopes.has(key)) {
      const last = scope[scope.length - 1];
      const span = last[2] ? null : spanOf(last);
      const box = new Box(last[2] ? last[0] : entryLabel(last), span !== null);
      Object.assign(box, { scope, key, fused: last[2] || false, turned: this.turned });
      Object.assign(box, { header: last[2] || this.look.framed ? HEADER : 0, rise: this.root.rise });
      this.scopes.set(key, box);
      if (span) this.rowOf(scope.slice(0, -1), span[0]).put(span[1], box);
      else this.boxOf(scope.slice(0, -1)).add(box);
    }
    return this.scopes.get(key);
  }

  rowOf(scope, label) {
    const key = `${scopeKey(scope)} ${label}`;
    if (!this.rows.has(key)) {
      const row = new Row();
      this.rows.set(key, row);
      this.boxOf(scope).add(row);
    }
    return this.rows.get(key);
  }

  // Each beside the only node, or the only loop, that uses it; else where a node would stand.
  putParameters(sorted) {
    const users = new Map();
    for (const edge of this.edges) {
      if (!users.has(edge.source)) users.set(edge.source, new Set());
      users.get(edge.source).add(this.leaves.get(edge.target));
    }
    for (const node of sorted) {
      if (node.kind !== "parameter") continue;
      const leaf = this.leaves.get(node.id);
      const using = [...(users.get(node.id) || [])];
      const around = using.filter((one) => one.box).map((one) => one.around());
      if (!around.length) {
        this.root.add(leaf);
        continue;
      }
      const others = around.map((boxes) => new Set(boxes));
      const shared = around[0].filter((box) => others.every((boxes) => boxes.has(box)));
      let row = null;
      for (const box of shared) {
        if (!(box instanceof Row)) continue;
        if (box !== shared[0] && box.columns.size > 1) break; // it belongs to one step of several
        row = box;
      }
      if (row) row.satellites.push(leaf);
      else if (using.length === 1) using[0].satellites.push(leaf);
      else shared[0].add(leaf);
    }
  }

  connect(edge) {
    const [source, target] = [this.leaves.get(edge.source), this.leaves.get(edge.target)];
    if (!source.box) return this.supplies.push(edge);
    const [out, into] = [source.around(), target.around()];
    const common = out.find((box) => into.includes(box));
    const a = out[out.indexOf(common) - 1] || source;
    const b = into[into.indexOf(common) - 1] || target;
    const loops = out.filter((box) => box instanceof Row && into.includes(box));
    if (common instanceof Row || (edge.kind === "state" && loops.length)) {
      const row = common instanceof Row ? common : loops[0];
      const mark = a instanceof Leaf && b instanceof Leaf ? this.look.markWidth(edge, source.node, target.node) : 0;
      row.written = Math.max(row.written, mark);
      const side = row.indexOf(b) < row.indexOf(a) ? -1 : 1;
      this.asides.push([source, row, side], [target, row, a !== b && common === row ? -side : side]);
      return this.states.push(edge);
    }
    common.links.push([a, b, source]);
    let item = source;
    for (const box of out.slice(0, out.indexOf(common))) {
      box.leaving.set(source, item);
      item = box;
    }
    item = target;
    for (const box of into.slice(0, into.indexOf(common))) {
      if (!box.entering.has(source)) box.entering.set(source, []);
      if (!box.entering.get(source).includes(item)) box.entering.get(source).push(item);
      item = box;
    }
    return this.others.push(edge);
  }

  // Let the ends of states' edges stand at that side of their bands, in every box up to the column; and in all columns
  // what does so in one, so that they look alike.
  drawAside() {
    const keys = new Map();
    for (const row of this.rows.values()) {
      for (const column of row.items) for (const [key, leaf] of alike(column)) keys.set(leaf, [row, key]);
    }
    const sides = new Map(); // row -> key -> sides
    const at = (row, key) => {
      if (!sides.has(row)) sides.set(row, new Map());
      if (!sides.get(row).has(key)) sides.get(row).set(key, new Set());
      return sides.get(row).get(key);
    };
    for (const [leaf, row, side] of this.asides) at(...(keys.get(leaf) || [row, leaf])).add(side);
    const asked = new Map();
    for (const [leaf, [row, key]] of keys) {
      for (let item = leaf; item && item !== row; item = item.box) {
        if (!asked.has(item)) asked.set(item, new Set());
        for (const side of at(row, key)) asked.get(item).add(side);
      }
    }
    for (const [item, found] of asked) item.pull = found.size === 1 ? [...found][0] : 0;
  }

  // Room for edges between columns; and loops over the same steps get the same room for their parameters.
  levelStacks() {
    const counts = new Map([...this.rows.values()].map((row) => [row, new Map()]));
    this.asides.forEach(([leaf, row], k) => {
      if (k % 2) return;
      const column = row.childWith(leaf);
      counts.get(row).set(column, (counts.get(row).get(column) || 0) + 1);
    });
    for (const row of this.rows.values()) {
      row.between = Math.max(0, ...counts.get(row).values());
      for (const column of row.items) column.lines = 3 * Math.min(row.satellites.length, 6);
    }
    for (const rows of this.lanes()) {
      const stack = Math.max(...rows.map((row) => row.roomForSatellites()));
      const between = Math.max(...rows.map((row) => row.between));
      for (const row of rows) Object.assign(row, { stack, between });
    }
  }

  lanes() {
    const same = new Map();
    for (const row of this.rows.values()) {
      if (row.columns.size < 2) continue;
      const key = row.steps().join();
      if (!same.has(key)) same.set(key, []);
      same.get(key).push(row);
    }
    return [...same.values()].filter((rows) => rows.length > 1);
  }

  // The columns of loops over the same steps are equally wide, so that time runs alike in all of them.
  widen() {
    const lanes = this.lanes();
    for (const rows of lanes) {
      const room = Math.max(...rows.flatMap((row) => row.items.flatMap((item) => [item.left, item.right])));
      for (const row of rows) row.room = room;
    }
    return lanes.length > 0;
  }

  // The parameters of a loop, each about as high as where it is used, in that order.
  stack(row) {
    if (!row.satellites.length) return;
    const use = new Map();
    for (const edge of this.supplies) {
      const [source, target] = [this.leaves.get(edge.source), this.leaves.get(edge.target)];
      if (target.node.kind !== "elided") use.set(source, Math.min(use.get(source) ?? Infinity, target.y));
    }
    const at = (one) => use.get(one) ?? row.y;
    row.satellites.sort((a, b) => at(a) - at(b) || a.order - b.order);
    const x = row.x - row.left + Math.max(...row.satellites.map((one) => one.width)) / 2;
    let floor = row.y;
    for (const one of row.satellites) {
      [one.x, one.y] = [x, Math.max(floor, at(one) - 7 - one.tall / 2)];
      floor = one.y + one.tall + 5;
    }
    let ceiling = row.y + row.height;
    for (const one of [...row.satellites].reverse()) {
      one.y = Math.min(one.y, ceiling - one.tall);
      ceiling = one.y - 5;
    }
  }

  // The elements to draw; y goes down. boxes: id -> {x, y, w, h, circle}; clusters: the outer before the inner.
  finish() {
    this.mirrored = this.look.textbook && this.turned && this.stateIsLow();
    this.boxes = new Map();
    for (const [id, leaf] of this.leaves) {
      const { width: w, tall: h, circle } = leaf;
      this.boxes.set(id, { ...this.rect(leaf.x - w / 2, leaf.low, w, h), circle });
    }
    this.clusters = [...this.scopes.values()]
      .filter((box) => box !== this.root && box.header)
      .map(({ x, y, left, right, height, name, scope, key, fused, step }) => {
        const frame = this.rect(x - left, y, left + right, height);
        const bottom = !this.turned && step !== (this.direction === "down");
        const header = { ...frame, y: bottom ? frame.y + frame.h - HEADER - 3 : frame.y, h: HEADER + 3 };
        return { key, scope, label: name, fused, step, depth: scope.length, ...frame, header };
      })
      .sort((a, b) => a.depth - b.depth);
    this.windows = this.look.windows.map((window) => this.frameOf(window)).filter(Boolean);
    this.bounds = boundsOf([...this.boxes.values(), ...this.clusters, ...this.windows]);
  }

  // The frame of a window of a textbook around its nodes, with a line for its title.
  frameOf([label, ids]) {
    const boxes = ids.map((id) => this.boxes.get(id)).filter(Boolean);
    if (!boxes.length) return null;
    const { x, y, w, h } = boundsOf(boxes);
    const frame = { x: x - BESIDE, y: y - BESIDE, w: w + 2 * BESIDE, h: h + 2 * BESIDE + HEADER };
    return { label, ...frame, header: { ...frame, y: frame.y + frame.h - HEADER - 3, h: HEADER + 3 } };
  }

  // On the page.
  point([x, y]) {
    return this.turned ? [y, this.mirrored ? -x : x] : [x, this.direction === "down" ? y : -y];
  }

  rect(x, y, w, h) {
    const [[a, b], [c, d]] = [this.point([x, y]), this.point([x + w, y + h])];
    return { x: Math.min(a, c), y: Math.min(b, d), w: Math.abs(c - a), h: Math.abs(d - b) };
  }

  // True if the path of a cell's state is below the middle of the others: textbooks have it on top.
  stateIsLow() {
    const ids = new Set(statesWay(this.nodes, this.edges));
    const mean = (leaves) => leaves.reduce((sum, leaf) => sum + leaf.x, 0) / Math.max(leaves.length, 1);
    const leaves = [...this.leaves.values()].filter((leaf) => leaf.box);
    const [inside, others] = [true, false].map((on) => leaves.filter((leaf) => ids.has(leaf.node.id) === on));
    return ids.size > 0 && mean(inside) > mean(others);
  }
}

// The nodes on the way of a cell's state from its entry to its exit, through the fewest operations.
function statesWay(nodes, edges) {
  const after = grouped(edges, "source");
  const ways = [];
  for (const start of nodes.filter((node) => node.kind === "input" && node.label.includes("t−1"))) {
    const end = start.label.replace("t−1", "t").toLowerCase();
    const before = new Map([[start.id, null]]);
    for (const id of before.keys()) {
      const node = nodes.find((one) => one.id === id);
      if (node.kind === "output" && node.label.toLowerCase() === end) {
        const way = [];
        for (let at = id; at !== null; at = before.get(at)) way.unshift(at);
        ways.push(way);
        break;
      }
      for (const edge of after.get(id) || []) if (!before.has(edge.target)) before.set(edge.target, id);
    }
  }
  return ways.sort((a, b) => a.length - b.length)[0] || [];
}

// The name of a loop's steps, if the label is that of a scope which stands for several of them.
function rolledSteps(label) {
  if (!label.includes(" … ")) return null;
  if (label.startsWith("windows ")) return "window";
  return label.includes(" = ") ? label.slice(0, label.lastIndexOf(" = ")) : null;
}

function boundsOf(boxes) {
  if (!boxes.length) return { x: 0, y: 0, w: 0, h: 0 };
  let [x, y, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const box of boxes) {
    x = Math.min(x, box.x);
    y = Math.min(y, box.y);
    right = Math.max(right, box.x + box.w);
    bottom = Math.max(bottom, box.y + box.h);
  }
  return { x, y, w: right - x, h: bottom - y };
}
