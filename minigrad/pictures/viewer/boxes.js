// Boxes around boxes, and how each arranges what is in it: items in bands, each above what it uses; an edge that passes
// a band, or leaves a box, has a place there of its own (boxes.py; Sugiyama, Tagawa and Toda 1981).

const RISE = 26; // between bands
const WRITTEN = 44; // the same where every edge has its number
const MARGIN = 10; // inside of a box
const HEADER = 16; // the height of its title
const SWEEPS = 7; // odd: the last goes upwards

class Box extends Item {
  constructor(name, step = false) {
    super(-1);
    Object.assign(this, { name, step, lines: 0, items: [], links: [], bottoms: [], tops: [] });
    Object.assign(this, { header: 0, turned: false, rise: RISE }); // its title's height and side
    this.leaving = new Map(); // leaf -> the item that it is in
    this.entering = new Map(); // a leaf outside -> the items that it goes to
    this.passing = new Map(); // "leaf|level" or "in leaf|level" -> Passing
    this.level = new Map();
  }

  childWith(leaf) {
    let item = leaf;
    while (item.box !== this) item = item.box;
    return item;
  }

  add(item) {
    item.box = this;
    this.items.push(item);
    if (this.order < 0) this.order = item.order;
  }

  arrange() {
    for (const item of this.items) item instanceof Box ? item.arrange() : item.attach();
    this.place();
  }

  place() {
    this.passing.clear();
    [this.bottoms, this.tops] = [[], []];
    for (const item of this.items) item.x = 0;
    const pairs = lanePairs(this.items);
    const mains = this.mains();
    const links = uniqueLinks([...this.links.map(([a, b]) => [a, b]), ...pairs, ...this.between(mains)]);
    const held = new Set([...this.entering.values()].flat());
    this.level = ranksOf(this.items, links, held);
    this.passLanes(links);
    const top = Math.max(0, ...this.items.map((item) => this.level.get(item)));
    const bands = Array.from({ length: top + 1 }, () => []);
    for (const item of this.items) bands[this.level.get(item)].push(item);
    const near = this.neighbours(bands, top);
    const above = new Map(); // lanes stand exactly above the first of them
    for (const [a, b] of pairs) {
      above.set(b, above.get(a) || a);
      above.get(b).weight = 100;
      b.weight = 1e6;
    }
    for (const item of mains) item.weight = 1e6;
    bands.forEach((band, k) => {
      band.sort((a, b) => a.order - b.order);
      bands[k] = inOrder(band, new Map(band.map((item) => [item, 0])));
      settleBand(bands[k], () => 0);
    });
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
      const side = sweep % 2 === 0 ? -1 : 1;
      const late = sweep >= SWEEPS - 2;
      for (let k = 0; k <= top; k++) {
        const at = side < 0 ? k : top - k;
        const wanted = new Map();
        for (const item of bands[at]) {
          const first = above.get(item);
          const around = (near.get(item) || []).filter((one) => one[0] === side || late);
          const at = first ? first.x + first.axis() - item.axis() : wishOf(item, around);
          wanted.set(item, mains.includes(item) ? 0 : at);
        }
        if (!late) bands[at] = inOrder(bands[at], wanted);
        settleBand(bands[at], (item) => wanted.get(item));
      }
    }
    this.measure(bands);
  }

  // The boxes of a textbook's step: above each other, in the middle of the column.
  mains() {
    if (this.header || !this.step) return [];
    return this.items.filter((item) => item instanceof Leaf && ["cell", "elided"].includes(item.node.kind));
  }

  // Pairs to place above each other: these boxes, and what enters or leaves one and is not to be beside another.
  between(mains) {
    const pairs = mains.slice(1).map((item, k) => [mains[k], item]);
    const [above, below] = [new Map(pairs), new Map(pairs.map(([a, b]) => [b, a]))];
    const given = this.links.filter(([, , leaf]) => ["input", "detached"].includes(leaf.node.kind));
    for (const [a, b] of given) {
      if (below.has(b) && given.every(([other, to]) => other !== a || to === b)) pairs.push([below.get(b), a]);
    }
    for (const [a, b] of this.links) {
      if (above.has(a) && b instanceof Leaf && b.node.kind === "output") pairs.push([b, above.get(a)]);
    }
    return pairs;
  }

  // A node beside a loop that it has nothing to do with goes above it, to make room.
  passLanes(links) {
    const loops = new Set(this.items.filter((item) => item.steps().length).map((item) => this.level.get(item)));
    const after = new Map();
    for (const [a, b] of links) after.set(a, [...(after.get(a) || []), b]);
    const sorted = [...after.keys()].sort((a, b) => this.level.get(b) - this.level.get(a) || a.order - b.order);
    for (const item of sorted) {
      if (!loops.has(this.level.get(item)) || item.steps().length) continue;
      const latest = Math.min(...after.get(item).map((b) => this.level.get(b))) - 1;
      this.level.set(item, Math.max(this.level.get(item), latest));
    }
  }

  // For each item, what it is connected with: [side, other item, where on that, where on this].
  neighbours(bands, top) {
    const near = new Map();
    const note = (item, entry) => (near.has(item) ? near.get(item).push(entry) : near.set(item, [entry]));
    const join = (lower, at, upper, to) => {
      note(upper, [-1, lower, at, to]);
      note(lower, [1, upper, to, at]);
    };
    // Through the bands from first to last, places in which are shared by all edges of this key.
    const chain = (key, order, start, at, first, last) => {
      for (let level = first; level <= last; level++) {
        let place = this.passing.get(`${key}|${level}`);
        if (!place) {
          place = new Passing(order);
          place.box = this;
          this.passing.set(`${key}|${level}`, place);
          bands[level].push(place);
          this.level.set(place, level);
          if (start) join(start, at, place, 0);
        }
        [start, at] = [place, 0];
      }
      return [start, at];
    };
    const level = (item) => this.level.get(item);
    for (const [a, b, leaf] of this.links) {
      if (level(b) <= level(a)) continue;
      const [end, at] = chain(leaf.node.id, leaf.order, a, a.wayOut(leaf), level(a) + 1, level(b) - 1);
      join(end, at, b, b.wayIn(leaf));
    }
    for (const [leaf, items] of this.entering) {
      for (const b of items) {
        if (leaf.pull) {
          const aside = new Passing(leaf.order); // it will come from that side
          aside.x = 10 * GAP * leaf.pull;
          note(b, [-1, aside, 0, 0]);
        }
        const [end, at] = chain(`in ${leaf.node.id}`, leaf.order, null, 0, 0, level(b) - 1);
        if (end) join(end, at, b, b.wayIn(leaf));
      }
    }
    for (const [leaf, a] of this.leaving) chain(leaf.node.id, leaf.order, a, a.wayOut(leaf), level(a) + 1, top);
    return near;
  }

  // Heights of the bands; then x from the box's middle, and its size.
  measure(bands) {
    const [below, above] = this.turned ? [0, 0] : this.step ? [this.header + this.lines, 0] : [0, this.header];
    let y = MARGIN + below;
    let [low, high] = [Infinity, -Infinity];
    for (const band of bands) {
      const height = Math.max(0, ...band.map((item) => item.height));
      for (const item of band) {
        item.y = y + (height - item.height) / 2;
        low = Math.min(low, item.x - item.left);
        high = Math.max(high, item.x + item.right);
      }
      this.bottoms.push(y);
      y += height;
      this.tops.push(y);
      y += this.rise;
    }
    this.height = y - this.rise + MARGIN + above;
    if (low > high) [low, high] = [0, 0];
    const title = this.header ? textWidth(this.name, SMALL) + 26 + MARGIN : 0;
    if (this.turned) {
      low -= this.header; // the title stands at what will be the top
      this.height = Math.max(this.height, title);
    }
    const width = Math.max(high - low + 2 * MARGIN, this.turned ? 0 : title);
    for (const band of bands) for (const item of band) item.x -= (low + high) / 2;
    this.left = this.right = width / 2;
  }

  // Make the frame higher, around what is in it.
  stretch(below, above) {
    for (const item of [...this.items, ...this.passing.values()]) item.y += below;
    this.bottoms = this.bottoms.map((y) => y + below);
    this.tops = this.tops.map((y) => y + below);
    this.height += below + above;
  }

  wayOut(leaf) {
    const item = this.leaving.get(leaf);
    if (!item) return 0;
    const place = this.passing.get(`${leaf.node.id}|${this.tops.length - 1}`);
    return place ? place.x : item.x + item.wayOut(leaf);
  }

  wayIn(leaf) {
    const place = this.passing.get(`in ${leaf.node.id}|0`);
    if (place) return place.x;
    const items = this.entering.get(leaf) || [];
    return items.length ? items.reduce((sum, item) => sum + item.x + item.wayIn(leaf), 0) / items.length : 0;
  }

  steps() {
    for (const item of this.items) {
      const steps = item.steps();
      if (steps.length) return steps;
    }
    return [];
  }

  axis() {
    const item = this.items.find((one) => one.steps().length);
    return item ? item.x + item.axis() : 0;
  }

  // From relative to absolute places; x is the box's middle, y its lower edge.
  fix(x, y) {
    [this.x, this.y] = [x, y];
    this.bottoms = this.bottoms.map((at) => at + y);
    this.tops = this.tops.map((at) => at + y);
    for (const item of [...this.items, ...this.passing.values()]) {
      if (item instanceof Box) item.fix(x + item.x, y + item.y);
      else {
        item.x += x;
        item.y += y;
      }
      if (item instanceof Leaf) item.placeSatellites();
    }
  }
}

function leavesOf(item) {
  if (item instanceof Leaf) return [item, ...item.satellites];
  return item instanceof Box ? item.items.flatMap(leavesOf) : [];
}

// Pairs of items to be put above each other: loops over the same steps.
function lanePairs(items) {
  const before = new Map();
  const pairs = [];
  for (const item of items) {
    const steps = item.steps();
    if (steps.length < 2) continue;
    const key = steps.join();
    if (before.has(key)) pairs.push([before.get(key), item]);
    before.set(key, item);
  }
  return pairs;
}

// Each pair once, in the order of the computation.
function uniqueLinks(links) {
  const seen = new Map();
  for (const [a, b] of links) {
    if (!seen.has(a)) seen.set(a, new Set());
    seen.get(a).add(b);
  }
  const found = [...seen].flatMap(([a, users]) => [...users].map((b) => [a, b]));
  return found.sort(([a, b], [c, d]) => a.order - c.order || b.order - d.order);
}
