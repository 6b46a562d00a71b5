// The borders of modules, steps and open fused nodes.

// Each cluster's border holds its nodes and the clusters inside it; cells of one row are equally high.
function clustersOf(layout) {
  const found = new Map();
  const cluster = (scope, entry) => {
    const key = scopeKey(scope);
    if (!found.has(key)) {
      found.set(key, {
        key,
        scope,
        label: entry[2] ? entry[0] : entryLabel(entry),
        fused: entry[2] || false,
        step: isStep(entry),
        boxes: [],
      });
    }
    return found.get(key);
  };
  for (const node of layout.nodes) {
    const box = layout.boxes.get(node.id);
    const given = layout.homes.get(node.id) || node.scope;
    const scope = node.kind === "collapsed" && node.key === scopeKey(node.scope) ? node.scope.slice(0, -1) : given;
    scope.forEach((entry, i) => cluster(scope.slice(0, i + 1), entry).boxes.push(box));
  }
  for (const group of layout.groups) {
    for (const lane of group.lanes || []) {
      for (const cell of lane.cells.values()) {
        const node = cell.nodes[0];
        const key = scopeKey(node.scope.slice(0, cell.depth));
        const [[x, right], [y, bottom]] = cell.frame;
        found.get(key)?.boxes.push({ x, y, w: right - x, h: bottom - y });
      }
    }
  }
  for (const frame of layout.frames) found.get(frame.key)?.boxes.push(frame);
  const deepestFirst = [...found.values()].sort((a, b) => b.scope.length - a.scope.length);
  for (const one of deepestFirst) {
    const box = boundsOf(one.boxes);
    Object.assign(one, {
      depth: one.scope.length,
      x: box.x - PAD,
      y: box.y - PAD - HEADER,
      w: box.w + 2 * PAD,
      h: box.h + 2 * PAD + HEADER,
    });
    if (one.scope.length > 1) found.get(scopeKey(one.scope.slice(0, -1)))?.boxes.push(one);
    delete one.boxes;
  }
  return deepestFirst.reverse();
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
