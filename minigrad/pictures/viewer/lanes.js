// Rows of cells, and what is in the cells.

// Rows of cells: one for each module that has steps, in the order of their first use.
function lanesOf(layout, group) {
  const lanes = new Map();
  for (const node of layout.nodes) {
    const spot = layout.spots.get(node.id);
    if (!spot.column || spot.group !== group) continue;
    const name = JSON.stringify(spot.lane);
    if (!lanes.has(name))
      lanes.set(name, { path: spot.lane, outer: spot.outer, order: node.order, cells: new Map(), ids: [] });
    const lane = lanes.get(name);
    lane.ids.push(node.id);
    lane.order = Math.min(lane.order, node.order);
    if (!lane.cells.has(spot.columnKey)) lane.cells.set(spot.columnKey, { nodes: [], depth: spot.depth });
    const cell = lane.cells.get(spot.columnKey);
    cell.nodes.push(node);
    cell.depth = Math.min(cell.depth, spot.depth);
  }
  const sorted = [...lanes.values()].sort((a, b) => a.order - b.order);
  sorted.forEach((lane, row) => {
    for (const id of lane.ids) layout.spots.get(id).row = row;
    makeCells(layout, group, lane);
  });
  return sorted;
}

// The block of each cell, with a port for each state that enters or leaves. Where most states run to the left, against
// time, the row is mirrored.
function makeCells(layout, group, lane) {
  let direction = 0;
  const own = new Set(lane.ids);
  const carried = layout.edges.filter(
    (edge) => own.has(edge.source) && own.has(edge.target) && otherColumn(layout, edge),
  );
  for (const edge of carried) {
    const [from, to] = [edge.source, edge.target].map((id) => group.columns.indexOf(layout.spots.get(id).columnKey));
    direction += Math.sign(to - from);
  }
  lane.mirrored = direction < 0;
  const entering = groupBy(
    carried,
    (edge) => layout.spots.get(edge.target).columnKey,
    (edge) => edge.source,
  );
  const leaving = groupBy(
    carried,
    (edge) => layout.spots.get(edge.source).columnKey,
    (edge) => edge.source,
  );
  for (const [column, cell] of lane.cells) {
    cell.block = layout.blocks.block(cell.nodes, cell.depth, {
      in: [...(entering.get(column) || [])],
      out: [...(leaving.get(column) || [])],
    });
  }
  lane.height = Math.max(...[...lane.cells.values()].map((cell) => cell.block.h));
}

function otherColumn(layout, edge) {
  return layout.spots.get(edge.source).columnKey !== layout.spots.get(edge.target).columnKey;
}

function groupBy(list, key, value) {
  const groups = new Map();
  for (const one of list) {
    if (!groups.has(key(one))) groups.set(key(one), new Set());
    groups.get(key(one)).add(value(one));
  }
  return groups;
}
