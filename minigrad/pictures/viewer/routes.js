// How edges run. A route is {edge, points, style, box}: style "h" curves with horizontal tangents, "v" with vertical
// ones, "rail" is straight with round corners. `box` bounds it, so that what is out of sight need not be drawn.

function routeAll(layout) {
  const taps = new Map();
  const routes = [];
  for (const edge of layout.edges) {
    const from = layout.boxes.get(edge.source);
    const to = layout.boxes.get(edge.target);
    if (!from || !to) continue;
    const route = layout.blocks.loops.has(edge)
      ? backRoute(from, to, layout.blocks.loops.get(edge))
      : oneRoute(layout, edge, from, to, taps);
    routes.push({ edge, ...route, box: boundsOfPoints(route.points) });
  }
  return routes;
}

function oneRoute(layout, edge, from, to, taps) {
  const rail = (layout.rails.get(edge.source) || []).find((one) => one.users.has(edge.target));
  if (rail) return railRoute(rail, from, to, edge, taps);
  if (layout.runsAround(edge.source, edge.target)) {
    return channelRoute(layout.spots.get(edge.source).group.channels.get(edge.source), from, to);
  }
  if (from.bar || to.bar) return barRoute(from, to);
  const points = layout.blocks.pointsBetween(edge.source, edge.target);
  if (points && points.length)
    return { style: "h", points: [sideOf(from, !from.mirrored), ...points, sideOf(to, to.mirrored)] };
  if (to.x >= from.x + from.w) return { style: "h", points: [sideOf(from, true), sideOf(to, false)] };
  if (to.x + to.w <= from.x && from.mirrored) return { style: "h", points: [sideOf(from, false), sideOf(to, true)] };
  const down = to.y >= from.y + from.h;
  const up = to.y + to.h <= from.y;
  if (down || up) return { style: "v", points: [middleOf(from, down), middleOf(to, !down)] };
  return backRoute(from, to);
}

const sideOf = (box, right) => [right ? box.x + box.w : box.x, box.y + box.h / 2];
const middleOf = (box, bottom) => [box.x + box.w / 2, bottom ? box.y + box.h : box.y];

// Between a bar and what stands above or below it, straight down or up.
function barRoute(from, to) {
  const down = to.y > from.y;
  const clamp = (x, box) => Math.min(Math.max(x, box.x + 16), box.x + box.w - 16);
  const other = from.bar ? to : from;
  const middle = other.x + other.w / 2;
  const x = from.bar && to.bar ? from.x + 40 : middle;
  const start = [from.bar ? clamp(x, from) : middle, down ? from.y + from.h : from.y];
  const end = [to.bar ? clamp(x, to) : middle, down ? to.y : to.y + to.h];
  return { style: "v", points: [start, end] };
}

// Around rows of cells: to the right, down, and back.
function channelRoute(x, from, to) {
  const middle = (box) => box.x + box.w / 2;
  const out = from.bar ? [sideOf(from, true)] : [middleOf(from, true), [middle(from), from.y + from.h + 8]];
  const into = to.bar ? [sideOf(to, true)] : [[middle(to), to.y - 10], middleOf(to, false)];
  return { style: "rail", points: [...out, [x, out[out.length - 1][1]], [x, into[0][1]], ...into] };
}

// From a parameter along its rail, then up or down to each use.
function railRoute(rail, from, to, edge, taps) {
  const nth = taps.get(edge.target) || 0;
  taps.set(edge.target, nth + 1);
  const shift = nth % 2 === 0 ? -(nth / 2) : (nth + 1) / 2;
  const x = to.bar
    ? Math.max(to.x, rail.x) + 20 + 12 * nth
    : to.x + to.w / 2 + Math.max(-to.w / 2 + 6, Math.min(to.w / 2 - 6, 7 * shift));
  const [startX, startY] = sideOf(from, true);
  const points = [[startX, startY]];
  if (Math.abs(startY - rail.y) > 1)
    points.push([Math.max(startX, rail.x), startY], [Math.max(startX, rail.x), rail.y]);
  points.push([x, rail.y], [x, rail.y > to.y ? to.y + to.h : to.y]);
  return { style: "rail", points };
}

// Back to the left, over the top.
function backRoute(from, to, above = 16) {
  const top = Math.min(from.y, to.y) - above;
  const out = 8 + above / 3;
  const [a, b] = sideOf(from, true);
  const [c, d] = sideOf(to, false);
  return {
    style: "rail",
    points: [
      [a, b],
      [a + out, b],
      [a + out, top],
      [c - out, top],
      [c - out, d],
      [c, d],
    ],
  };
}

function boundsOfPoints(points) {
  let [x, y, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [px, py] of points) {
    x = Math.min(x, px);
    y = Math.min(y, py);
    right = Math.max(right, px);
    bottom = Math.max(bottom, py);
  }
  return { x, y, w: right - x, h: bottom - y };
}
