// Loops, and which of them share columns. A group is {number, loops, steps, columns, outside}: its loops' names, the
// steps and their keys in order, and the nodes that belong to it without lying in a step.

function makeGroups(layout) {
  const loops = new Map();
  for (const node of layout.nodes) {
    const spot = layout.spots.get(node.id);
    if (!spot.column) continue;
    if (!loops.has(spot.loop))
      loops.set(spot.loop, { name: spot.loop, columns: new Map(), nodes: [], order: node.order });
    const loop = loops.get(spot.loop);
    loop.columns.set(spot.columnKey, spot.column);
    loop.nodes.push(node);
    loop.order = Math.min(loop.order, node.order);
  }
  for (const loop of [...loops.values()].sort((a, b) => a.order - b.order)) {
    const last = layout.groups[layout.groups.length - 1];
    const group = last && together(layout, last, loop) ? last : newGroup(layout);
    group.loops.add(loop.name);
    for (const [key, column] of loop.columns) group.steps.set(key, column);
    for (const node of loop.nodes) layout.spots.get(node.id).group = group;
  }
  if (!layout.groups.length) newGroup(layout);
  for (const group of layout.groups) {
    const sorted = [...group.steps].sort(([, a], [, b]) => compareSteps(a, b));
    group.columns = withoutTwinGaps(
      layout,
      group,
      sorted.map(([key]) => key),
    );
  }
}

// Two directions leave out different steps: side by side, the gaps share a column.
function withoutTwinGaps(layout, group, keys) {
  const here = [...layout.spots.values()].filter((spot) => spot.group === group);
  const real = new Set(here.filter((spot) => !spot.elided).map((spot) => spot.columnKey));
  const kept = [];
  for (const key of keys) {
    const last = kept[kept.length - 1];
    if (last === undefined || real.has(key) || real.has(last)) kept.push(key);
    else for (const spot of here) if (spot.columnKey === key) spot.columnKey = last;
  }
  return kept;
}

function newGroup(layout) {
  const group = { number: layout.groups.length, loops: new Set(), steps: new Map(), columns: [], outside: [] };
  layout.groups.push(group);
  return group;
}

// Layers and directions take the same steps, and share columns; a loop that starts from another's last state does not.
function together(layout, group, loop) {
  const range = (steps) => [...steps.values()].map((column) => column.join()).sort();
  const [a, b] = [range(group.steps), range(loop.columns)];
  const shared = b.filter((column) => a.includes(column)).length;
  const longest = (steps) => Math.max(...[...steps.values()].map((column) => column[column.length - 1]));
  if (shared / new Set([...a, ...b]).size < 0.5 && longest(group.steps) !== longest(loop.columns)) return false;
  return !loop.nodes.some((node) =>
    layout.into.get(node.id).some((edge) => {
      const from = layout.spots.get(edge.source);
      const to = layout.spots.get(edge.target);
      return from.column && group.loops.has(from.loop) && from.columnKey !== to.columnKey;
    }),
  );
}

// A node outside of steps belongs to the last group that it depends on, else to the first that depends on it.
function assignOutside(layout) {
  const sorted = [...layout.nodes].sort((a, b) => a.order - b.order);
  const latest = new Map();
  const earliest = new Map();
  const number = (id, known) => layout.spots.get(id).group?.number ?? known.get(id);
  const numbers = (list) => list.filter((n) => n !== undefined);
  for (const node of sorted) {
    const found = numbers(layout.into.get(node.id).map((edge) => number(edge.source, latest)));
    if (found.length) latest.set(node.id, Math.max(...found));
  }
  for (const node of [...sorted].reverse()) {
    const found = numbers(layout.outOf.get(node.id).map((edge) => number(edge.target, earliest)));
    if (found.length) earliest.set(node.id, Math.min(...found));
  }
  for (const node of layout.nodes) {
    const spot = layout.spots.get(node.id);
    if (spot.column) continue;
    spot.group = layout.groups[latest.get(node.id) ?? earliest.get(node.id) ?? 0];
    spot.group.outside.push(node);
  }
}

function compareSteps(a, b) {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}
