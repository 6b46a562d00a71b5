// Time: the steps of a loop as columns, side by side, and to their left the parameters that they share (columns.py).

class Row extends Box {
  constructor() {
    super("");
    Object.assign(this, { columns: new Map(), satellites: [], stack: 0, room: 0, between: 0, written: 0 });
    this.sorted = null; // steps, items and the items' indices, as long as no column is added
  }

  put(step, item) {
    this.columns.set(step, item);
    this.sorted = null;
    this.add(item);
  }

  inOrder() {
    if (this.sorted) return this.sorted;
    const steps = [...this.columns.keys()].sort((a, b) => a - b);
    const items = steps.map((step) => this.columns.get(step));
    this.sorted = { steps, items, indices: new Map(items.map((item, k) => [item, k])) };
    return this.sorted;
  }

  steps() {
    return this.inOrder().steps;
  }

  get ordered() {
    return this.inOrder().items;
  }

  // The number of a column from the left; undefined for what is none.
  indexOf(item) {
    return this.inOrder().indices.get(item);
  }

  arrange() {
    for (const item of this.items) if (item instanceof Box) item.arrange();
    const { ordered } = this;
    const gap = Math.max(GAP + LANE * this.between, this.written + (this.written ? GAP : 0));
    this.alignHeights(ordered);
    this.height = Math.max(stackedHeight(this.satellites), ...ordered.map((item) => item.y + item.height));
    this.stack = Math.max(this.stack, this.roomForSatellites());
    const ends = GAP * (1 + (this.between > 0 && ordered.length === 1));
    const sides = ordered.map((item) => [Math.max(item.left, this.room), Math.max(item.right, this.room)]);
    const width = this.stack + sides.reduce((sum, [a, b]) => sum + a + b, 0) + gap * (ordered.length - 1) + ends;
    let x = -width / 2 + this.stack;
    ordered.forEach((item, k) => {
      item.x = x + sides[k][0];
      x += sides[k][0] + sides[k][1] + gap;
    });
    this.left = this.right = width / 2;
  }

  // The width of the parameters' stack, with room for their lines to turn.
  roomForSatellites() {
    if (!this.satellites.length) return 0;
    return Math.max(...this.satellites.map((one) => one.width)) + 2 * GAP + 4 * this.satellites.length;
  }

  // Heights at which the columns' like nodes stand side by side.
  alignHeights(ordered) {
    const boxes = ordered.filter((item) => item instanceof Box);
    const known = new Map();
    for (const item of boxes) {
      const inside = [...alike(item)].map(([key, leaf]) => [key, heightIn(leaf, item)]);
      const counts = new Map();
      for (const [key, height] of inside) {
        if (!known.has(key)) continue;
        const lift = Math.round(10 * (known.get(key) - height)) / 10;
        counts.set(lift, (counts.get(lift) || 0) + 1);
      }
      item.y = [...counts].reduce((best, one) => (one[1] > best[1] ? one : best), [0, 0])[0];
      for (const [key, height] of inside) if (!known.has(key)) known.set(key, item.y + height);
    }
    const lowest = Math.min(0, ...boxes.map((item) => item.y));
    const highest = Math.max(lowest, ...boxes.map((item) => item.y + item.height));
    const leaves = ordered.filter((item) => item instanceof Leaf);
    const tall = Math.max(boxes.length ? highest - lowest : 0, ...leaves.map((leaf) => leaf.height));
    for (const item of boxes) item.stretch(item.y - lowest, highest - item.y - item.height);
    for (const item of ordered) item.y = (tall - item.height) / 2;
  }

  axis() {
    const { ordered } = this;
    const [first, last] = [ordered[0], ordered[ordered.length - 1]];
    return (first.x - first.left + last.x + last.right) / 2;
  }

  wayOut(leaf) {
    const column = this.leaving.get(leaf);
    return column ? column.x + column.wayOut(leaf) : 0;
  }
}

// The middle of a leaf above the lower edge of a box around it, while places are relative.
function heightIn(leaf, box) {
  let y = leaf.middle;
  for (let item = leaf.box; item && item !== box; item = item.box) y += item.y;
  return y;
}

// The leaves of a column by what makes them the same in another one: operation or lane, line, depth, and place.
function alike(column) {
  const seen = new Map();
  const found = new Map();
  for (const leaf of leavesOf(column)) {
    const { kind, op, part, label, line } = leaf.node;
    const outside = kind === "input" || kind === "detached";
    const like = [outside, op || (outside ? "" : part), outside ? label : line, leaf.around().length].join("|");
    const nth = (seen.get(like) ?? -1) + 1;
    seen.set(like, nth);
    found.set(`${like}|${nth}`, leaf);
  }
  return found;
}
