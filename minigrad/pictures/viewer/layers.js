// A layered drawing of a small acyclic graph, after Sugiyama, Tagawa and Toda (1981): ranks from left to right, few
// crossings by barycentres, and straight edges by least squares.

const RANK_GAP = 30;
const NODE_GAP = 14;

// items: [{id, w, h, order, pin}], in any order; pin is "first" or "last" for a port at the block's border.
// links: [[from, to], ...] by id. Returns {places: id -> {x, y}, bends: "from to" -> [[x, y], ...], w, h}.
function layeredBlock(items, links) {
  const sorted = [...items].sort((a, b) => a.order - b.order);
  const index = new Map(sorted.map((item, i) => [item.id, i]));
  const pairs = uniquePairs(links, index, sorted);
  const ranks = assignRanks(sorted, pairs);
  const { cells, chains } = withBends(sorted, pairs, ranks);
  orderRanks(cells);
  placeVertically(cells);

  const places = new Map();
  let x = 0;
  let bottom = 0;
  const middles = [];
  cells.forEach((rank, r) => {
    const width = Math.max(0, ...rank.map((cell) => cell.w));
    for (const cell of rank) {
      const side = r === 0 ? width - cell.w : r === cells.length - 1 ? 0 : (width - cell.w) / 2;
      if (cell.item) places.set(cell.item.id, { x: x + side, y: cell.y - cell.h / 2 });
      bottom = Math.max(bottom, cell.y + cell.h / 2);
    }
    middles.push([x, x + width]);
    x += width + (width > 0 ? RANK_GAP : RANK_GAP / 2);
  });
  const bends = new Map();
  for (const [key, chain] of chains)
    bends.set(
      key,
      chain.flatMap((cell) => middles[cell.rank].map((at) => [at, cell.y])),
    );
  return { places, bends, w: Math.max(0, x - RANK_GAP), h: bottom };
}

// Each pair once, and from the earlier to the later item, so that there is no cycle.
function uniquePairs(links, index, sorted) {
  const pairs = new Map();
  for (const [from, to] of links) {
    const a = index.get(from);
    const b = index.get(to);
    if (a === undefined || b === undefined || a === b) continue;
    const forward = sorted[a].pin === "first" || sorted[b].pin === "last" || a < b;
    pairs.set(`${from} ${to}`, forward ? [a, b, true] : [b, a, false]);
  }
  return [...pairs.values()];
}

// The longest path from the left; what nothing leads to stands just before its first use.
function assignRanks(items, pairs) {
  const first = items.some((item) => item.pin === "first") ? 1 : 0;
  const ranks = items.map((item) => (item.pin === "first" ? 0 : first));
  const leaving = items.map(() => []);
  const entering = items.map(() => 0);
  for (const [a, b] of pairs) {
    leaving[a].push(b);
    entering[b]++;
  }
  const open = [...entering];
  const ready = items.map((_, i) => i).filter((i) => open[i] === 0);
  for (let k = 0; k < ready.length; k++) {
    for (const b of leaving[ready[k]]) {
      if (items[b].pin !== "first") ranks[b] = Math.max(ranks[b], ranks[ready[k]] + 1);
      if (--open[b] === 0) ready.push(b);
    }
  }
  items.forEach((item, i) => {
    if (entering[i] === 0 && leaving[i].length && !item.pin) {
      ranks[i] = Math.max(first, Math.min(...leaving[i].map((b) => ranks[b])) - 1);
    }
  });
  const last = Math.max(0, ...ranks.filter((_, i) => items[i].pin !== "last"));
  items.forEach((item, i) => {
    if (item.pin === "last") ranks[i] = last + 1;
  });
  return ranks;
}

// One list of cells for each rank; an edge over several ranks gets a small cell in each between, a bend.
function withBends(items, pairs, ranks) {
  const cells = Array.from({ length: Math.max(-1, ...ranks) + 1 }, () => []);
  const own = items.map((item, i) => {
    const cell = { item, w: item.w, h: item.h, rank: ranks[i], left: [], right: [], y: 0 };
    cells[ranks[i]].push(cell);
    return cell;
  });
  const chains = new Map();
  for (const [a, b, forward] of pairs) {
    const chain = [];
    let before = own[a];
    for (let rank = ranks[a] + 1; rank < ranks[b]; rank++) {
      const bend = { item: null, w: 0, h: 4, rank, left: [before], right: [], y: 0 };
      before.right.push(bend);
      cells[rank].push(bend);
      chain.push(bend);
      before = bend;
    }
    before.right.push(own[b]);
    own[b].left.push(before);
    if (forward) chains.set(`${items[a].id} ${items[b].id}`, chain);
  }
  return { cells, chains };
}

function orderRanks(cells) {
  const number = () => cells.forEach((rank) => rank.forEach((cell, i) => (cell.at = i)));
  const mean = (list) => list.reduce((sum, cell) => sum + cell.at, 0) / list.length;
  number();
  let best = cells.map((rank) => [...rank]);
  let fewest = countCrossings(cells);
  for (let sweep = 0; sweep < 8 && fewest > 0; sweep++) {
    const down = sweep % 2 === 0;
    for (let k = 1; k < cells.length; k++) {
      const rank = cells[down ? k : cells.length - 1 - k];
      const key = new Map(
        rank.map((cell) => [
          cell,
          (down ? cell.left : cell.right).length ? mean(down ? cell.left : cell.right) : cell.at,
        ]),
      );
      rank.sort((a, b) => key.get(a) - key.get(b));
      rank.forEach((cell, i) => (cell.at = i));
    }
    const crossings = countCrossings(cells);
    if (crossings < fewest) {
      fewest = crossings;
      best = cells.map((rank) => [...rank]);
    }
  }
  best.forEach((rank, r) => (cells[r] = rank));
  number();
}

function countCrossings(cells) {
  let crossings = 0;
  for (const rank of cells) {
    const edges = rank.flatMap((cell) => cell.right.map((to) => [cell.at, to.at]));
    if (edges.length > 400) return 0; // too many to count: the first order stays
    for (let i = 0; i < edges.length; i++) {
      for (let j = 0; j < i; j++) if ((edges[i][0] - edges[j][0]) * (edges[i][1] - edges[j][1]) < 0) crossings++;
    }
  }
  return crossings;
}

// Each cell wants to stand at the height of its neighbours; those of one rank keep their order and their distance.
function placeVertically(cells) {
  for (const rank of cells) {
    let y = 0;
    for (const cell of rank) {
      cell.y = y + cell.h / 2;
      y += cell.h + NODE_GAP;
    }
  }
  for (let sweep = 0; sweep < 10; sweep++) {
    const down = sweep % 2 === 0;
    for (let k = 0; k < cells.length; k++) {
      const rank = cells[down ? k : cells.length - 1 - k];
      if (rank.length) settle(rank, sweep < 8 ? (down ? "left" : "right") : null);
    }
  }
  const all = cells.flat();
  const highest = Math.min(...all.map((cell) => cell.y - cell.h / 2));
  for (const cell of all) cell.y -= highest;
}

// Least squares with the order and the least distances kept: pool adjacent violators.
function settle(rank, side) {
  let offset = 0;
  const pools = [];
  rank.forEach((cell, i) => {
    if (i > 0) offset += rank[i - 1].h / 2 + NODE_GAP + cell.h / 2;
    const near = side ? cell[side] : [...cell.left, ...cell.right];
    const wish = near.length ? near.reduce((sum, other) => sum + other.y, 0) / near.length : cell.y;
    const weight = (near.length ? 4 : 1) * (cell.item ? 1 : 2);
    pools.push({ sum: (wish - offset) * weight, weight, size: 1 });
    while (pools.length > 1 && mean(pools[pools.length - 2]) > mean(pools[pools.length - 1])) {
      const { sum, weight: more, size } = pools.pop();
      const into = pools[pools.length - 1];
      into.sum += sum;
      into.weight += more;
      into.size += size;
    }
    cell.offset = offset;
  });
  let i = 0;
  for (const pool of pools) for (let k = 0; k < pool.size; k++, i++) rank[i].y = mean(pool) + rank[i].offset;

  function mean(pool) {
    return pool.sum / pool.weight;
  }
}
