// A block is a layered drawing of nodes, with the clusters among them as blocks inside it. Where an edge crosses a
// block's border it has a port, so that it finds its way between the nodes on either side.

class Blocks {
  constructor(layout) {
    this.layout = layout;
    this.boxes = new Map(); // id -> {x, y, w, h, circle, mirrored}
    this.inside = new Map(); // id -> the blocks that a node lies in, from the outermost in
    this.loops = new Map(); // edge back to the left -> how far above its ends it runs
  }

  // A layered block of nodes with clusters below `depth` as blocks inside it.
  // ports: {in, out}: ids of what enters from and leaves to other cells.
  block(nodes, depth, ports = { in: [], out: [] }) {
    const items = new Map();
    const home = new Map();
    for (const node of nodes) {
      if (node.scope.length <= depth || (node.kind === "collapsed" && node.scope.length === depth)) {
        items.set(node.id, { id: node.id, ...this.layout.size(node), order: node.order, node });
        home.set(node.id, node.id);
        continue;
      }
      const key = scopeKey(node.scope.slice(0, depth + 1));
      if (!items.has(key)) items.set(key, { id: key, order: Infinity, members: [] });
      const item = items.get(key);
      item.members.push(node);
      item.order = Math.min(item.order, node.order);
      home.set(node.id, key);
    }
    for (const item of items.values()) {
      if (!item.members) continue;
      item.block = this.block(item.members, depth + 1, this.portsOf(item.members, nodes, ports));
      item.w = item.block.w + 2 * PAD;
      item.h = item.block.h + 2 * PAD + HEADER;
    }
    const links = [];
    for (const node of nodes) {
      for (const edge of this.layout.outOf.get(node.id)) {
        if (home.has(edge.target)) links.push([home.get(edge.source), home.get(edge.target)]);
      }
    }
    const all = [...items.values()];
    for (const source of ports.in) {
      const targets = this.layout.outOf.get(source).filter((edge) => home.has(edge.target));
      all.push({ id: `in ${source}`, w: 0, h: 10, order: -1, pin: "first" });
      for (const edge of targets) links.push([`in ${source}`, home.get(edge.target)]);
    }
    for (const source of ports.out) {
      all.push({ id: `out ${source}`, w: 0, h: 10, order: Infinity, pin: "last" });
      links.push([home.get(source), `out ${source}`]);
    }
    const layered = layeredBlock(all, links);
    const room = this.roomForLoops(nodes, home); // above the nodes
    for (const place of layered.places.values()) place.y += room;
    for (const way of layered.bends.values()) for (const point of way) point[1] += room;
    return { ...layered, h: layered.h + room, items, home, ports };
  }

  // What enters and leaves a block inside a block.
  portsOf(members, nodes, outer) {
    const own = new Set(members.map((node) => node.id));
    const around = new Set(nodes.map((node) => node.id).filter((id) => !own.has(id)));
    const given = [...around, ...outer.in];
    return {
      in: given.filter((id) => this.layout.outOf.get(id).some((edge) => own.has(edge.target))),
      out: [...own].filter(
        (id) => outer.out.includes(id) || this.layout.outOf.get(id).some((edge) => around.has(edge.target)),
      ),
    };
  }

  // Edges back to the left, of a rolled loop, run over the top of their block, one above the other.
  roomForLoops(nodes, home) {
    let count = 0;
    for (const node of nodes) {
      for (const edge of this.layout.outOf.get(node.id)) {
        const direct = home.get(edge.source) === edge.source && home.get(edge.target) === edge.target;
        if (direct && this.layout.byId.get(edge.target).order <= node.order) this.loops.set(edge, 14 + 12 * count++);
      }
    }
    return count ? 8 + 12 * count : 0;
  }

  // The block's nodes and bends, at (x, y); mirrored where time runs to the left.
  put(block, x, y, mirrored = false, around = []) {
    const flip = (at, w = 0) => (mirrored ? x + block.w - at - w : x + at);
    const blocks = [...around, block];
    for (const [id, item] of block.items) {
      const at = block.places.get(id);
      const left = flip(at.x, item.w);
      if (item.block) this.put(item.block, left + PAD, y + at.y + PAD + HEADER, mirrored, blocks);
      else {
        this.boxes.set(id, { x: left, y: y + at.y, w: item.w, h: item.h, circle: item.circle, mirrored });
        this.inside.set(id, blocks);
      }
    }
    block.points = (key) => (block.bends.get(key) || []).map(([px, py]) => [flip(px), y + py]);
    block.port = (key) => [flip(block.places.get(key).x), y + block.places.get(key).y + 5];
  }

  // The points between the ends of an edge inside a block, or from block to block: out through the ports of those that
  // its source is in, and in through those of its target. null if it goes another way.
  pointsBetween(source, target) {
    const [from, to] = [this.inside.get(source), this.inside.get(target)];
    if (!from || !to) return null;
    let shared = 0;
    while (shared < from.length && from[shared] === to[shared]) shared++;
    const leaving = from.slice(shared).reverse();
    const entering = to.slice(shared);
    if (leaving.some((block) => !block.ports.out.includes(source))) return null;
    if (entering.some((block) => !block.ports.in.includes(source))) return null;
    const common = from[shared - 1];
    return [
      ...leaving.flatMap((block) => [
        ...block.points(`${block.home.get(source)} out ${source}`),
        block.port(`out ${source}`),
      ]),
      ...(common ? common.points(`${common.home.get(source)} ${common.home.get(target)}`) : []),
      ...entering.flatMap((block) => [
        block.port(`in ${source}`),
        ...block.points(`in ${source} ${block.home.get(target)}`),
      ]),
    ];
  }
}
