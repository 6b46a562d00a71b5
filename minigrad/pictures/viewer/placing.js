// The places of texts (marks.py): those beside edges on places that are free of nodes, of other texts and of edges, and
// the titles of scopes where no edge crosses them.

const CELL = 80;
const LONG = 240;
const FAR = [0, 6, 12, 20]; // away from the edge
const SHARES = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9, 0.05, 0.95]; // of a piece

// Rectangles {x, y, w, h}, found by place.
class Grid {
  constructor() {
    this.cells = new Map();
  }

  *around({ x, y, w, h }) {
    for (let i = Math.floor(x / CELL); i <= Math.floor((x + w) / CELL); i++)
      for (let j = Math.floor(y / CELL); j <= Math.floor((y + h) / CELL); j++) yield `${i} ${j}`;
  }

  add(one) {
    for (const key of this.around(one)) {
      if (!this.cells.has(key)) this.cells.set(key, []);
      this.cells.get(key).push(one);
    }
  }

  // Those that a rectangle overlaps.
  over(rect) {
    const found = new Set();
    for (const key of this.around(rect)) {
      for (const one of this.cells.get(key) || []) {
        if (one.x < rect.x + rect.w && rect.x < one.x + one.w && one.y < rect.y + rect.h && rect.y < one.y + one.h)
          found.add(one);
      }
    }
    return found;
  }
}

// The pieces of a spline, as rectangles around them; bent ones in parts.
function* stretches({ points }) {
  for (let k = 0; k + 3 < points.length; k += 3) {
    const piece = points.slice(k, k + 4);
    const straight = [0, 1].some((axis) => piece.every((point) => Math.abs(point[axis] - piece[0][axis]) < 0.5));
    const parts = straight ? [piece[0], piece[3]] : pointsOf(piece);
    for (let i = 1; i < parts.length; i++) {
      const [[a, b], [c, d]] = [parts[i - 1], parts[i]];
      yield { x: Math.min(a, c) - 0.5, y: Math.min(b, d) - 0.5, w: Math.abs(c - a) + 1, h: Math.abs(d - b) + 1 };
    }
  }
}

// Those of all routes. Long level ones from one node at one height, as a parameter's to all steps, are one.
function allStretches(routes) {
  const found = [];
  const long = new Map();
  for (const route of routes) {
    for (const part of stretches(route)) {
      const key = part.w > LONG ? `${route.edge.source} ${part.y}` : null;
      const same = long.get(key);
      if (same) {
        const end = Math.max(same.x + same.w, part.x + part.w);
        same.x = Math.min(same.x, part.x);
        same.w = end - same.x;
        continue;
      }
      const made = { ...part, route };
      if (key !== null) long.set(key, made);
      found.push(made);
    }
  }
  return found;
}

// Give each route its mark {text, x, y, w}, and each scope the stretches of its title's line that edges cross.
function placeTexts(layout, routes, look) {
  const [solid, lines] = [new Grid(), new Grid()];
  for (const [id, { x, y, w, h }] of layout.boxes) {
    const behind = layout.byId.get(id).kind === "collapsed" ? 5 : 0; // a second page
    solid.add({ x, y: y - behind, w: w + behind, h: h + behind });
  }
  for (const part of allStretches(routes)) lines.add(part);
  for (const { label, x, header } of layout.windows)
    solid.add({ x: x + 8, y: header.y, w: textWidth(label, SMALL), h: header.h });
  for (const cluster of layout.clusters) {
    const { header } = cluster;
    const across = [...lines.over({ ...header, y: header.y + 2, h: header.h - 4 })];
    cluster.crossed = across.map(({ x, w }) => [x - 3, x + w + 3]).sort((a, b) => a[0] - b[0]);
    const at = titlePlace(cluster, cluster.x + 6);
    solid.add({ x: at, y: header.y, w: 16 + textWidth(cluster.label, SMALL), h: header.h });
  }
  for (const route of routes) {
    const [source, target] = [route.edge.source, route.edge.target].map((id) => layout.byId.get(id));
    const text = look.mark(route.edge, source, target);
    if (!text || (!look.backward && source.kind === "parameter")) continue;
    const w = look.width(text);
    const [x, y] = freePlace(route.points, w, solid, lines);
    route.mark = { text, x, y, w };
    solid.add({ x: x - w / 2, y: y - 6, w, h: 12 });
  }
}

// The beginning of a scope's sign and title, from a place on: clear of edges, if there is room.
function titlePlace({ x, w, label, crossed }, from) {
  const width = 16 + Math.min(textWidth(label, SMALL), Math.max(w - 26, 20));
  let at = from;
  for (const [a, b] of crossed) if (a < at + width && b > at) at = b;
  return at + width <= x + w - 3 ? at : from;
}

// The middle of a text beside an edge: near the middle of a long piece, across as few edges as possible.
function freePlace(points, width, solid, lines) {
  const tries = [];
  for (let k = 0; k + 3 < points.length; k += 3) {
    const [[ax, ay], [bx, by]] = [points[k], points[k + 3]];
    const upright = Math.abs(bx - ax) < Math.abs(by - ay);
    const length = Math.abs(bx - ax) + Math.abs(by - ay);
    for (const share of SHARES) {
      for (const side of [1, -1]) {
        for (const far of FAR) {
          const x = ax + (bx - ax) * share + (upright ? side * (width / 2 + 5 + far) : 0);
          const y = ay + (by - ay) * share - (upright ? 0 : side * (9 + far));
          tries.push([Math.abs(share - 0.5) * 40 - Math.min(length, 60) + 6 * (side < 0) + 4 * far, x, y]);
        }
      }
    }
  }
  tries.sort((a, b) => a[0] - b[0]);
  let [best, place] = [Infinity, tries[0].slice(1)];
  for (const [price, x, y] of tries) {
    if (price >= best) break;
    const mine = { x: x - width / 2 - 1, y: y - 7, w: width + 2, h: 14 };
    let cost = price + 500 * solid.over(mine).size;
    if (cost < best) cost += 200 * new Set([...lines.over(mine)].map(({ route }) => route)).size;
    if (cost < best) [best, place] = [cost, [x, y]];
  }
  return place;
}
