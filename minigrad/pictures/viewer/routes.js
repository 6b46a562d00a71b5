// The ways of edges (routes.py). A route is {edge, points, dots, box}: the control points of its spline, a multiple of
// three and one; where it branches off a line that it shares; and its bounds, so that what is out of sight is not
// drawn.

const STRAIGHT = 6; // by how much the ends of a straight line may be off

function routeAll(layout) {
  const ways = new Map();
  const ends = new Map();
  for (const edge of layout.others) {
    if (!ends.has(edge.target)) ends.set(edge.target, []);
    ends.get(edge.target).push([risingWay(layout, edge), edge]);
  }
  for (const [target, arriving] of ends) {
    // side by side where they arrive
    const key = ([points]) => [lastTurn(points), points[0][0]];
    arriving.sort((a, b) => key(a)[0] - key(b)[0] || key(a)[1] - key(b)[1]);
    const room = Math.min(9, (0.7 * layout.leaves.get(target).width) / arriving.length);
    arriving.forEach(([points, edge], k) => {
      const x = points[points.length - 1][0];
      const shift = (k - (arriving.length - 1) / 2) * room;
      let last = points.length - 1;
      while (last > 1 && Math.abs(points[last - 1][0] - x) < 0.01) last--;
      ways.set(edge, smoothed(points.map(([px, py], i) => [i < last ? px : px + shift, py])));
    });
  }
  const dots = new Map();
  stateWays(layout, ways);
  supplyWays(layout, ways, dots);
  aroundNodes(layout, ways);
  const flip = (point) => layout.point(point);
  return layout.edges
    .filter((edge) => ways.has(edge))
    .map((edge) => {
      const points = ways.get(edge).map(flip);
      return { edge, points, dots: (dots.get(edge) || []).map(flip), box: boundsOfPoints(points) };
    });
}

const lastTurn = (points) => {
  const x = points[points.length - 1][0];
  const before = [...points].reverse().find((point) => Math.abs(point[0] - x) > 0.01);
  return before ? before[0] : x;
};

// ---- ordinary edges -------------------------------------------------------------------------------------------------

// Upright through each band, so that it turns between bands only, where no node stands.
function risingWay(layout, edge) {
  const [source, target] = [layout.leaves.get(edge.source), layout.leaves.get(edge.target)];
  const [start, end] = [
    [source.x, source.high],
    [target.x, target.low],
  ];
  if (end[1] <= start[1]) return [[source.x, source.low], [target.x, target.high]]; // back: around it
  const [out, into] = [source.around(), target.around()];
  const common = out.find((box) => into.includes(box));
  const points = [start];
  const x = () => points[points.length - 1][0];
  let inside = source;
  for (const box of out.slice(0, out.indexOf(common) + 1)) {
    const band = box.level.get(inside);
    points.push([x(), band !== undefined && box.tops.length ? box.tops[band] : inside.y + inside.height]);
    if (box !== common) {
      points.push(...passed(box, source.node.id, (band || 0) + 1, box.tops.length));
      points.push([x(), box.y + box.height]);
    }
    inside = box;
  }
  const [a, b] = [source, target].map((leaf) => common.level.get(common.childWith(leaf)));
  points.push(...passed(common, source.node.id, a + 1, b));
  for (const box of into.slice(0, into.indexOf(common) + 1).reverse()) {
    const child = box.childWith(target);
    const below = box.level.get(child) || 0;
    if (box !== common) {
      const places = passed(box, `in ${source.node.id}`, 0, below);
      points.push([places.length ? places[0][0] : entrance(box, source, target), box.y], ...places);
    }
    const at = child === target ? end[0] : child instanceof Box ? entrance(child, source, target) : child.x;
    points.push([at, box.bottoms.length ? box.bottoms[below] : child.y]);
  }
  const kept = [start];
  for (const point of points.slice(1)) if (point[1] > kept[kept.length - 1][1] + 0.5) kept.push(point);
  while (kept.length > 1 && kept[kept.length - 1][1] > end[1] - 0.5) kept.pop();
  return [...kept, end];
}

// The x at which an edge enters a box, on its way from outside.
function entrance(box, source, target) {
  const place = box.passing.get(`in ${source.node.id}|0`);
  if (place) return place.x;
  const inside = box.childWith(target);
  return inside instanceof Box ? entrance(inside, source, target) : inside.x;
}

// The points where an edge passes the bands of a box: at the lower and at the upper edge of each.
function passed(box, key, first, end) {
  const points = [];
  for (let level = first; level < end; level++) {
    const place = box.passing.get(`${key}|${level}`);
    if (place) points.push([place.x, box.bottoms[level]], [place.x, box.tops[level]]);
  }
  return points;
}

// A smooth spline through the points, upright at each; straight pieces stay straight.
function smoothed(points) {
  const clean = [points[0]];
  for (const point of points.slice(1)) {
    const n = clean.length;
    if (n > 1 && clean[n - 1][0] === clean[n - 2][0] && clean[n - 1][0] === point[0]) clean[n - 1] = point;
    else clean.push(point);
  }
  const spline = [clean[0]];
  for (let k = 1; k < clean.length; k++) {
    const [[x, y], [toX, toY]] = [clean[k - 1], clean[k]];
    const short = clean.length === 2 && Math.abs(toX - x) <= 60; // nearly straight
    const [aside, bend] = short ? [(toX - x) * 0.2, (toY - y) / 3] : [0, (toY - y) / 2];
    spline.push([x + aside, y + bend], [toX - aside, toY - bend], [toX, toY]);
  }
  return spline;
}

// ---- states ---------------------------------------------------------------------------------------------------------

// From one side of a step, through the gap, to the side of the next that faces it.
function stateWays(layout, ways) {
  const lane = new Map();
  const next = (column) => {
    lane.set(column, (lane.get(column) ?? -1) + 1);
    return lane.get(column);
  };
  const ports = portsOf(layout);
  const sorted = [...layout.states].sort((a, b) => (a.source !== a.target) - (b.source !== b.target));
  for (const edge of sorted) {
    const [source, target] = [layout.leaves.get(edge.source), layout.leaves.get(edge.target)];
    const [row, a, b] = crossedRow(source, target);
    const { ordered } = row;
    const forth = row.indexOf(b) >= row.indexOf(a);
    const side = forth ? 1 : -1;
    const [leave, enter] = ports.get(edge);
    const start = sideways(source, a, side, leave);
    let end = sideways(target, b, a === b ? side : -side, enter);
    const border = a.x + (forth ? a.right : -a.left);
    if (a === b) {
      const bend = border + GAP * 0.7 + LANE * next(a); // back into the same step: a loop at its right
      const turn = [start, end].map((way) => [bend, way[way.length - 1][1]]);
      ways.set(edge, rounded([...start, ...turn, ...end.reverse()]));
      continue;
    }
    const near = ordered[row.indexOf(a) + side];
    const facing = forth ? near.x - near.left : near.x + near.right;
    const from = start[start.length - 1][1];
    let to = end[end.length - 1][1];
    if (near === b && start.length === 2 && end.length === 2 && Math.abs(from - to) < STRAIGHT) {
      end = end.map(([x]) => [x, from]); // nearly level: straight
      to = from;
    }
    const level = Math.abs(from - to) < 1 && near === b;
    const k = level ? 0 : next(a);
    const bend = (border + facing) / 2 + side * LANE * (k - (row.between - 1) / 2);
    let middle = level ? [] : [[bend, from], [bend, to]];
    if (near !== b) {
      // a longer way: above the steps between
      const before = ordered[row.indexOf(b) - side];
      const gap = forth ? [b.x - b.left, before.x + before.right] : [b.x + b.right, before.x - before.left];
      const last = (gap[0] + gap[1]) / 2;
      const over = row.y + row.height + 6 + LANE * k;
      middle = [[bend, from], [bend, over], [last, over], [last, to]];
    }
    ways.set(edge, rounded([...start, ...middle, ...end.reverse()]));
  }
}

// The loop in which an edge leads from one column to another, or back into the same one, and the columns.
function crossedRow(source, target) {
  const into = target.around();
  const rows = source.around().filter((box) => box instanceof Row && into.includes(box));
  const columns = rows.map((row) => [row, row.childWith(source), row.childWith(target)]);
  return columns.find(([, a, b]) => a !== b) || columns[0];
}

// The height, from the middle of a node, at which each of its states' edges ends: the higher, the higher it goes.
function portsOf(layout) {
  const ports = new Map(layout.states.map((edge) => [edge, [0, 0]]));
  for (const [which, own, other] of [
    [0, "source", "target"],
    [1, "target", "source"],
  ]) {
    const ends = new Map();
    for (const edge of layout.states) {
      if (!ends.has(edge[own])) ends.set(edge[own], []);
      ends.get(edge[own]).push(edge);
    }
    for (const edges of ends.values()) {
      const ranked = [...edges].sort((a, b) => layout.leaves.get(a[other]).middle - layout.leaves.get(b[other]).middle);
      ranked.forEach((edge, k) => {
        ports.get(edge)[which] = (k - (edges.length - 1) / 2) * Math.min(LANE, 14 / edges.length);
      });
    }
  }
  for (const loop of layout.states.filter((edge) => edge.source === edge.target)) {
    const { tall } = layout.leaves.get(loop.source); // on top, others below it
    const others = layout.states.filter((edge) => edge.source === loop.source && edge !== loop);
    for (const edge of others) ports.get(edge)[0] -= tall * 0.2;
    ports.set(loop, [tall * 0.34, tall * 0.1]);
  }
  return ports;
}

// From a node to the border of its column: sideways, or where others stand there, around them below.
function sideways(leaf, column, side, port) {
  const y = leaf.middle + port;
  const border = column.x + (side > 0 ? column.right : -column.left);
  const others = leavesOf(column).filter((one) => one !== leaf && (one.x - leaf.x) * side > 0);
  const blocked = others.filter((one) => Math.abs(one.middle - y) < one.tall / 2 + 3);
  if (!blocked.length) return [[leaf.x + (side * leaf.width) / 2, y], [border, y]];
  const below = column.lines ? Math.min(11 + column.lines, 22) : 9; // the lines of parameters run there
  const low = Math.min(leaf.low, ...blocked.map((one) => one.low)) - below;
  const x = leaf.x + side * Math.min(5, leaf.width / 4);
  return [[x, leaf.low], [x, low], [border, low]];
}

// ---- parameters -----------------------------------------------------------------------------------------------------

// From a parameter straight to its one node, or along a line below the nodes of a loop that use it.
function supplyWays(layout, ways, dots) {
  const ofLoop = new Map();
  for (const row of layout.rows.values()) for (const one of row.satellites) ofLoop.set(one, row);
  const users = new Map(); // "row height" -> parameters
  const number = new Map([...layout.rows.values()].map((row, k) => [row, k]));
  const keyOf = (row, target) => `${number.get(row)} ${Math.round(target.low)}`;
  for (const edge of layout.supplies) {
    const [source, target] = [layout.leaves.get(edge.source), layout.leaves.get(edge.target)];
    if (!ofLoop.has(source) || target.node.kind === "elided") continue;
    const key = keyOf(ofLoop.get(source), target);
    if (!users.has(key)) users.set(key, []);
    if (!users.get(key).includes(source)) users.get(key).push(source);
  }
  const first = new Map(); // a parameter's first line, from which one can also branch off to what stands for steps
  for (const [key, leaves] of users) {
    leaves.sort((a, b) => b.middle - a.middle);
    const height = Number(key.split(" ")[1]);
    leaves.forEach((leaf, k) => first.has(leaf) || first.set(leaf, [k, height - 8 - 3 * k]));
  }
  const branches = new Map();
  for (const edge of layout.supplies) {
    const [source, target] = [layout.leaves.get(edge.source), layout.leaves.get(edge.target)];
    const start = [source.x + source.width / 2, source.middle];
    const row = ofLoop.get(source);
    if (!row) {
      const end = [target.x - target.width / 2, target.middle];
      const apart = (end[0] - start[0]) * 0.45;
      ways.set(edge, [start, [start[0] + apart, start[1]], [end[0] - apart, end[1]], end]);
      continue;
    }
    const k = (users.get(keyOf(row, target)) || []).indexOf(source);
    const [place, y] = k >= 0 ? [k, Math.round(target.low) - 8 - 3 * k] : first.get(source) || [0, source.middle];
    const trunk = row.x - row.left + row.stack - GAP - 4 * place;
    const x = target.x - Math.min(5, target.width / 4) + 2.5 * (place % 3);
    const up = [[x, y], [x, target.low]];
    const down = [[x, y], [x, target.high]];
    const last = y < target.low ? up : y > target.high ? down : [[target.x - target.width / 2, y]];
    ways.set(edge, rounded([start, [trunk, start[1]], [trunk, y], ...last]));
    const key = `${source.node.id} ${y}`;
    if (!branches.has(key)) branches.set(key, []);
    if (last.length > 1) branches.get(key).push([x, y, edge]);
  }
  for (const ends of branches.values()) {
    ends.sort((a, b) => a[0] - b[0]);
    for (const [x, y, edge] of ends.slice(0, -1)) dots.set(edge, [[x, y]]);
  }
}

function boundsOfPoints(points) {
  const boxes = points.map(([x, y]) => ({ x, y, w: 0, h: 0 }));
  return boundsOf(boxes);
}
