// Items in bands: which band, and where in it (bands.py).

const ASIDE = 30; // by how much an item that is pulled to a side prefers it to where an edge passes

// Each item's band, from 0: above all that it uses, as far as items do not use each other in turn.
// links: (used, user) pairs; held: items that use something from outside as well, and so stay low.
function ranksOf(items, links, held) {
  const after = new Map(items.map((item) => [item, []]));
  const waiting = new Map(items.map((item) => [item, 0]));
  for (const [a, b] of links) {
    if (a === b) continue;
    after.get(a).push(b);
    waiting.set(b, waiting.get(b) + 1);
  }
  const used = new Set(items.filter((item) => waiting.get(item)));
  const level = new Map(items.map((item) => [item, 0]));
  const done = new Map();
  const rest = [...items].sort((a, b) => a.order - b.order);
  const ready = rest.filter((item) => !waiting.get(item));
  let next = 0;
  for (let k = 0; done.size < items.length; k++) {
    if (k >= ready.length) {
      while (done.has(rest[next])) next++; // items that use each other: the first of them goes first
      ready.push(rest[next]);
    }
    const item = ready[k];
    if (done.has(item)) continue;
    done.set(item, level.get(item));
    for (const b of after.get(item)) {
      waiting.set(b, waiting.get(b) - 1);
      if (done.has(b)) continue;
      level.set(b, Math.max(level.get(b), level.get(item) + 1));
      if (waiting.get(b) === 0) ready.push(b);
    }
  }
  for (const item of [...done.keys()].reverse()) {
    // what uses nothing stands close to where it is used
    const above = after.get(item).map((b) => done.get(b)).filter((rank) => rank > done.get(item));
    if (above.length && !used.has(item) && !held.has(item)) done.set(item, Math.min(...above) - 1);
  }
  return done;
}

// The place that suits an item: right between those that it is connected with.
function wishOf(item, near) {
  if (!near.length) return item.x;
  let [sum, total] = [0, 0];
  for (const [, other, at, own] of near) {
    const weight = item.thin && other.thin ? 8 : 1;
    sum += weight * (other.x + at - own);
    total += weight;
  }
  return sum / total;
}

// Items by the places that they want; those with a pull beyond all others, but for edges that pass.
function inOrder(band, wanted) {
  const by = (a, b) => Math.round(100 * wanted.get(a)) - Math.round(100 * wanted.get(b)) || a.x - b.x;
  const free = band.filter((item) => !item.pull).sort(by);
  let solid = free.flatMap((item, k) => (item.thin ? [] : [k]));
  for (const side of [-1, 1]) {
    const pulled = band.filter((item) => item.pull === side).sort(by);
    let limit = solid.length ? (side < 0 ? solid[0] : solid[solid.length - 1] + 1) : null;
    for (const item of side > 0 ? pulled : pulled.reverse()) {
      let place = free.filter((one) => wanted.get(one) <= wanted.get(item) + side * ASIDE).length;
      if (limit !== null) place = side < 0 ? Math.min(place, limit) : Math.max(place, limit);
      free.splice(place, 0, item);
      if (side < 0) solid = solid.map((k) => k + 1);
      else if (limit !== null) limit = place + 1;
    }
  }
  return free;
}

// Places as close as may be to the wanted ones, in this order and without overlap (pool adjacent violators).
function settleBand(band, wanted) {
  const offsets = [];
  let total = 0;
  band.forEach((item, k) => {
    if (k) total += band[k - 1].right + item.left + (item.thin && band[k - 1].thin ? 0 : GAP);
    offsets.push(total);
  });
  const pools = [];
  band.forEach((item, k) => {
    pools.push({ sum: (wanted(item) - offsets[k]) * item.weight, weight: item.weight, count: 1 });
    for (let n = pools.length; n > 1; n--) {
      const [a, b] = [pools[n - 2], pools[n - 1]];
      if (a.sum / a.weight <= b.sum / b.weight) break;
      pools.pop();
      a.sum += b.sum;
      a.weight += b.weight;
      a.count += b.count;
    }
  });
  let k = 0;
  for (const { sum, weight, count } of pools) {
    for (let i = 0; i < count; i++, k++) band[k].x = sum / weight + offsets[k];
  }
}
