// Groups of a graph that is too large to look at: ranges of a loop's steps, or of the nodes of a scope, which open into
// smaller ranges or into their members. A range is a scope around them, an entry [label, null, false, span] with the
// span [label of the steps, first, last]; the label is null for nodes.

const MOST_SHOWN = 4000; // nodes to begin with, all of them open
const MOST_BOXES = 200; // nodes and groups to begin with, in a larger graph
const MOST_TOGETHER = 100; // steps, or nodes, that need no ranges
const MOST_RANGES = 50; // side by side

// For each scope of the nodes, by its key, the ranges included.
function placesOf(nodes) {
  const scopes = new Map();
  for (const { scope } of nodes) if (!scopes.has(scope)) scopes.set(scope, scopeKey(scope));
  if (nodes.length <= MOST_SHOWN) return new Map([...scopes].map(([scope, key]) => [key, scope]));
  const loops = new Map(); // by the key of the scope around it and its label: the steps
  const different = new Map([...scopes].map(([scope, key]) => [key, scope]));
  for (const scope of different.values()) {
    scope.forEach((entry, k) => {
      if (!isStep(entry)) return;
      const key = loopKey(scope, k);
      if (!loops.has(key)) loops.set(key, new Set());
      loops.get(key).add(entry[1]);
    });
  }
  const ranges = new Map(); // by the same key: step -> the entries of its ranges, the larger ones first
  for (const [key, steps] of loops) {
    if (steps.size <= MOST_TOGETHER) continue;
    const label = JSON.parse(key)[1];
    const sorted = [...steps].sort((a, b) => a - b);
    ranges.set(key, rangesOf(sorted, (a, b) => [rangeLabel(label, a, b), null, false, [label, a, b]]));
  }
  const place = (scope) =>
    scope.flatMap((entry, k) => [...((isStep(entry) && ranges.get(loopKey(scope, k))?.get(entry[1])) || []), entry]);
  return new Map([...different].map(([key, scope]) => [key, place(scope)]));
}

const loopKey = (scope, k) => JSON.stringify([scopeKey(scope.slice(0, k)), scope[k][0]]);

const rangeLabel = (label, a, b) => (label === "window" ? `windows ${a} … ${b}` : `${label} = ${a} … ${b}`);

// For each of the sorted numbers the ranges around it, from the largest to the smallest. made: (first, last) -> range.
function rangesOf(sorted, made) {
  const found = new Map(sorted.map((one) => [one, []]));
  const divide = (numbers) => {
    if (numbers.length <= MOST_TOGETHER) return;
    const size = roundSize(numbers.length / MOST_RANGES);
    for (let k = 0; k < numbers.length; k += size) {
      const part = numbers.slice(k, k + size);
      const range = made(part[0], part[part.length - 1]);
      for (const one of part) found.get(one).push(range);
      divide(part);
    }
  };
  divide(sorted);
  return found;
}

// The least of 10, 20, 50, 100, 200, ... that is not below a number.
function roundSize(least) {
  for (let power = 10; ; power *= 10) for (const one of [1, 2, 5]) if (one * power >= least) return one * power;
}

// Set the place of each node: its scope with the ranges around it. Of many nodes in one place, those of a stretch of
// the computation form a group.
function placeNodes(nodes) {
  const places = placesOf(nodes);
  const keys = new Map(); // of equal scopes, often one object
  const inside = new Map();
  for (const node of nodes) {
    if (!keys.has(node.scope)) keys.set(node.scope, scopeKey(node.scope));
    const key = keys.get(node.scope);
    node.place = places.get(key);
    if (nodes.length <= MOST_SHOWN || node.kind === "parameter" || node.span) continue;
    if (!inside.has(key)) inside.set(key, []);
    inside.get(key).push(node);
  }
  for (const members of inside.values()) {
    if (members.length <= 2 * MOST_TOGETHER) continue;
    const count = members.map((_, k) => k);
    const ranges = rangesOf(count, (a, b) => [`nodes ${a + 1} … ${b + 1}`, null, false, [null, a, b]]);
    const made = new Map(); // the same ranges give one place
    members.forEach((node, k) => {
      const around = ranges.get(k);
      const last = around[around.length - 1];
      if (!made.has(last)) made.set(last, [...node.place, ...around]);
      node.place = made.get(last);
    });
  }
}

// The keys of the groups to be closed, so that as many groups are open as give at most so many boxes: from the
// outermost in, and all of a loop, or none. clusters: key -> {scope, members}
function closedFor(clusters, nodes, most) {
  const inside = new Map([["[]", { nodes: 0, groups: [] }]]); // by key: what a group holds directly
  for (const key of clusters.keys()) inside.set(key, { nodes: 0, groups: [] });
  const around = new Map(); // of nodes in one place
  for (const { place } of nodes) {
    if (!around.has(place)) around.set(place, inside.get(scopeKey(place)));
    around.get(place).nodes++;
  }
  for (const { key, scope } of clusters.values()) inside.get(scopeKey(scope.slice(0, -1))).groups.push(key);
  const size = (key) => inside.get(key).nodes + inside.get(key).groups.length;
  const closed = new Set(clusters.keys());
  let shown = size("[]");
  let level = ["[]"];
  while (level.length) {
    const next = [];
    for (const key of level) {
      const alike = new Map(); // the steps of a loop, or its ranges, open together
      for (const group of inside.get(key).groups) {
        const [label, step, , span] = clusters.get(group).scope.at(-1);
        const loop = span ? `range of ${span[0]}` : isStep([label, step]) ? label : group;
        alike.set(loop, [...(alike.get(loop) || []), group]);
      }
      for (const groups of alike.values()) {
        const more = groups.reduce((sum, group) => sum + size(group) - 1, 0);
        if (shown + more > most) continue;
        shown += more;
        for (const group of groups) closed.delete(group);
        next.push(...groups);
      }
    }
    level = next;
  }
  return closed;
}
