// Ways around nodes, for edges whose usual way runs through one (detours.py): the shortest way with the fewest turns
// along a grid of lines beside all nodes near it (Dijkstra 1959).

const CORNER = 7; // radius
const BESIDE = 6; // between a node and an edge that goes around it
const TURN = 30; // a turn counts as so much of a way

function aroundNodes(layout, ways) {
  const rects = [...layout.leaves.values()].map((leaf) => ({
    id: leaf.node.id,
    x0: leaf.x - leaf.width / 2,
    y0: leaf.low,
    x1: leaf.x + leaf.width / 2,
    y1: leaf.high,
  }));
  const sorted = [...rects].sort((a, b) => a.x0 - b.x0);
  const widest = Math.max(0, ...rects.map((one) => one.x1 - one.x0));
  const byId = new Map(rects.map((one) => [one.id, one]));
  for (const [edge, way] of ways) {
    const beside = rectsNear(sorted, widest, way, 0);
    const points = pointsOf(way);
    const ends = [edge.source, edge.target];
    const hit = beside.some((rect) => runsThrough(points, rect, ends.includes(rect.id) ? 1.5 : 0.5, ends, edge));
    if (!hit) continue;
    const [from, to] = [byId.get(edge.source), byId.get(edge.target)];
    const tries = [60, 300, Infinity].map((reach) => [way[0], way[way.length - 1], reach]);
    for (const a of sidesOf(from)) for (const b of sidesOf(to)) tries.push([a, b, 300]); // where an end is shut in
    for (const [start, end, reach] of tries) {
      const near = rectsNear(sorted, widest, way, reach);
      const found = shortestWay(portOf(start, from), portOf(end, to), near);
      if (!found) continue;
      ways.set(edge, rounded([start, ...found, end]));
      break;
    }
  }
}

// The middles of a node's sides: right, left, top, bottom.
function sidesOf({ x0, y0, x1, y1 }) {
  const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
  return [
    [x1, y],
    [x0, y],
    [x, y1],
    [x, y0],
  ];
}

function runsThrough(points, rect, inset, ends, edge) {
  if (ends.includes(rect.id) && edge.source === edge.target) return false;
  const [x0, y0, x1, y1] = [rect.x0 + inset, rect.y0 + inset, rect.x1 - inset, rect.y1 - inset];
  for (let k = 1; k < points.length; k++) {
    const [[ax, ay], [bx, by]] = [points[k - 1], points[k]]; // far apart on a long straight line
    if (Math.min(ax, bx) < x1 && Math.max(ax, bx) > x0 && Math.min(ay, by) < y1 && Math.max(ay, by) > y0) return true;
  }
  return false;
}

// The rectangles within reach of a way.
function rectsNear(sorted, widest, way, reach) {
  const xs = way.map(([x]) => x);
  const ys = way.map(([, y]) => y);
  const [left, right] = [Math.min(...xs) - reach, Math.max(...xs) + reach];
  const [low, high] = [Math.min(...ys) - reach, Math.max(...ys) + reach];
  let [a, b] = [0, sorted.length];
  while (a < b) {
    const middle = (a + b) >> 1;
    if (sorted[middle].x0 < left - widest) a = middle + 1;
    else b = middle;
  }
  const found = [];
  for (let k = a; k < sorted.length && sorted[k].x0 < right; k++) {
    const one = sorted[k];
    if (one.x1 > left && one.y0 < high && one.y1 > low) found.push(one);
  }
  return found;
}

// Points along a spline, about four units apart.
function pointsOf(way) {
  const found = [way[0]];
  for (let k = 0; k + 3 < way.length; k += 3) {
    const [a, b, c, d] = way.slice(k, k + 4);
    const n = Math.min(200, 4 + Math.ceil((Math.abs(d[0] - a[0]) + Math.abs(d[1] - a[1])) / 4));
    for (let i = 1; i <= n; i++) {
      const t = i / n;
      const s = 1 - t;
      const [p, q, r, u] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
      found.push([p * a[0] + q * b[0] + r * c[0] + u * d[0], p * a[1] + q * b[1] + r * c[1] + u * d[1]]);
    }
  }
  return found;
}

// The point beside a node from which to look for a way: on the side where the edge ends.
function portOf([x, y], { x0, y0, x1, y1 }) {
  const away = [Math.abs(x - x0), Math.abs(x - x1), Math.abs(y - y0), Math.abs(y - y1)];
  const beside = [
    [x0 - BESIDE, y],
    [x1 + BESIDE, y],
    [x, y0 - BESIDE],
    [x, y1 + BESIDE],
  ];
  return beside[away.indexOf(Math.min(...away))];
}

// The corners of the best way along grid lines that crosses no rectangle; null if there is none.
function shortestWay(start, end, rects) {
  const room = BESIDE - 1;
  const lines = (values) => [...new Set(values)].sort((a, b) => a - b);
  const xs = lines([start[0], end[0], ...rects.flatMap(({ x0, x1 }) => [x0 - BESIDE, x1 + BESIDE])]);
  const ys = lines([start[1], end[1], ...rects.flatMap(({ y0, y1 }) => [y0 - BESIDE, y1 + BESIDE])]);
  if (xs.length * ys.length > 250000) return null; // too many to look at
  const blocked = (ax, ay, bx, by) =>
    rects.some(
      ({ x0, y0, x1, y1 }) =>
        Math.min(ax, bx) < x1 + room &&
        Math.max(ax, bx) > x0 - room &&
        Math.min(ay, by) < y1 + room &&
        Math.max(ay, by) > y0 - room,
    );
  const width = xs.length;
  const key = (i, j, axis) => 2 * (j * width + i) + axis;
  const [si, sj, ei, ej] = [xs.indexOf(start[0]), ys.indexOf(start[1]), xs.indexOf(end[0]), ys.indexOf(end[1])];
  const prices = new Map([0, 1].map((axis) => [key(si, sj, axis), 0]));
  const before = new Map();
  const queue = new Heap();
  for (const at of prices.keys()) queue.push(0, at);
  const done = new Set();
  while (queue.size) {
    const [price, at] = queue.pop();
    if (done.has(at)) continue;
    done.add(at);
    const [axis, i, j] = [at % 2, (at >> 1) % width, Math.floor((at >> 1) / width)];
    if (i === ei && j === ej) return cornersOf(at, before, width, xs, ys);
    for (const [di, dj] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      const [u, v] = [i + di, j + dj];
      if (u < 0 || v < 0 || u >= width || v >= ys.length || blocked(xs[i], ys[j], xs[u], ys[v])) continue;
      const to = key(u, v, di ? 0 : 1);
      const length = Math.abs(xs[u] - xs[i]) + Math.abs(ys[v] - ys[j]);
      const cost = price + length + ((di ? 0 : 1) === axis ? 0 : TURN);
      if (cost >= (prices.get(to) ?? Infinity)) continue;
      prices.set(to, cost);
      before.set(to, at);
      queue.push(cost, to);
    }
  }
  return null;
}

function cornersOf(at, before, width, xs, ys) {
  const way = [];
  for (let here = at; here !== undefined; here = before.get(here)) {
    way.unshift([xs[(here >> 1) % width], ys[Math.floor((here >> 1) / width)]]);
  }
  return way.filter((point, k) => {
    const [a, b] = [way[k - 1], way[k + 1]];
    return !a || !b || !((a[0] === point[0] && b[0] === point[0]) || (a[1] === point[1] && b[1] === point[1]));
  });
}

class Heap {
  constructor() {
    this.list = [];
  }

  get size() {
    return this.list.length;
  }

  push(price, value) {
    const { list } = this;
    let k = list.push([price, value]) - 1;
    for (let up = (k - 1) >> 1; k > 0 && list[up][0] > price; up = (k - 1) >> 1) {
      [list[k], list[up]] = [list[up], list[k]];
      k = up;
    }
  }

  pop() {
    const { list } = this;
    const first = list[0];
    const last = list.pop();
    if (!list.length) return first;
    list[0] = last;
    for (let k = 0; ; ) {
      const left = 2 * k + 1;
      const least = left + 1 < list.length && list[left + 1][0] < list[left][0] ? left + 1 : left;
      if (least >= list.length || list[least][0] >= list[k][0]) return first;
      [list[k], list[least]] = [list[least], list[k]];
      k = least;
    }
  }
}

// ---- straight lines with round corners ------------------------------------------------------------------------------

function rounded(points) {
  const clean = [points[0]];
  for (const p of points.slice(1)) if (span(p, clean[clean.length - 1]) > 0.5) clean.push(p);
  if (clean.length < 2) clean.push([clean[0][0] + 1, clean[0][1]]);
  const spline = [clean[0]];
  const line = (end) => {
    const start = spline[spline.length - 1];
    spline.push(mix(start, end, 1 / 3), mix(start, end, 2 / 3), end);
  };
  for (let k = 1; k + 1 < clean.length; k++) {
    const [before, corner, after] = [clean[k - 1], clean[k], clean[k + 1]];
    const enter = mix(corner, before, Math.min(CORNER, span(before, corner) / 2) / span(before, corner));
    const leave = mix(corner, after, Math.min(CORNER, span(corner, after) / 2) / span(corner, after));
    line(enter);
    spline.push(mix(enter, corner, 0.55), mix(leave, corner, 0.55), leave);
  }
  line(clean[clean.length - 1]);
  return spline;
}

const mix = (a, b, at) => [a[0] + (b[0] - a[0]) * at, a[1] + (b[1] - a[1]) * at];
const span = (a, b) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]); // along one axis
