// What stands outside of the steps: in a strip above the row that it feeds, or just below the one that it comes from.
// Parameters, and what many steps use, have rails instead.

// {rails, strips: for each row and the end, a list of bands {path, ids, top, middle, bottom} above it}
function stripsOf(layout, group, lanes) {
  const rails = [];
  const outside = [];
  for (const node of [...group.outside].sort((a, b) => a.order - b.order)) {
    const columns = columnsAmong(layout, layout.outOf.get(node.id), "target", group);
    const rail = node.kind === "parameter" || (node.kind === "input" && columns.size > 1);
    (rail ? rails : outside).push(node);
  }
  for (const other of layout.groups) {
    // what an earlier group hands to many steps of this one
    if (other === group) continue;
    for (const node of other.outside) {
      const columns = columnsAmong(layout, layout.outOf.get(node.id), "target", group);
      if (node.kind === "parameter" ? columns.size : columns.size > 1) rails.push(node);
    }
  }
  const low = new Map();
  const high = new Map();
  const rowAbove = (id) =>
    layout.spots.get(id).group !== group ? 0 : layout.spots.get(id).row + 1 || low.get(id) || 0;
  const rowBelow = (id) =>
    layout.spots.get(id).group !== group ? lanes.length : (layout.spots.get(id).row ?? high.get(id) ?? lanes.length);
  for (const node of outside)
    low.set(node.id, Math.max(0, ...layout.into.get(node.id).map((edge) => rowAbove(edge.source))));
  const strips = Array.from({ length: lanes.length + 1 }, () => []);
  for (const node of [...outside].reverse()) {
    const targets = layout.outOf.get(node.id).map((edge) => rowBelow(edge.target));
    const from = columnsAmong(layout, layout.into.get(node.id), "source", group).size;
    const to = columnsAmong(layout, layout.outOf.get(node.id), "target", group).size;
    const latest = targets.length ? Math.min(...targets) : lanes.length;
    const fed = targets.length && latest < lanes.length;
    const row = from > 1 || !fed ? Math.min(low.get(node.id), latest) : latest;
    high.set(node.id, row);
    layout.spots.get(node.id).strip = row;
    strips[row].unshift({ node, bar: from > 1 ? "top" : to > 1 ? "bottom" : "" });
  }
  return { rails, strips: strips.map((strip) => runs(strip)) };
}

function columnsAmong(layout, edges, end, group) {
  const spots = edges.map((edge) => layout.spots.get(edge[end])).filter((spot) => spot.column && spot.group === group);
  return new Set(spots.map((spot) => spot.columnKey));
}

// A strip is cut where the module changes, so that each module's border holds only its own.
function runs(strip) {
  const bands = [];
  for (const entry of strip) {
    const path = moduleLabels(entry.node.scope);
    const last = bands[bands.length - 1];
    const same = last && JSON.stringify(last.path) === JSON.stringify(path);
    const into = same ? last : { path, ids: [], top: [], middle: [], bottom: [] };
    if (!same) bands.push(into);
    into.ids.push(entry.node.id);
    into[entry.bar || "middle"].push(entry.node);
  }
  return bands;
}
