// A group of columns: rows of cells, one for each module that has steps, strips between them, and rails below each.

class Rows {
  constructor(layout, group) {
    this.layout = layout;
    this.group = group;
  }

  place(left) {
    const { layout, group } = this;
    const lanes = lanesOf(layout, group);
    const { rails, strips } = stripsOf(layout, group, lanes);
    const bands = [];
    lanes.forEach((lane, i) => bands.push(...strips[i], lane));
    bands.push(...strips[lanes.length]);

    // across: columns as wide as their widest cells
    const pills = rails.filter((node) => layout.spots.get(node.id).group === group);
    const margin = pills.length ? Math.max(...pills.map((node) => layout.size(node).w)) + 44 : 0;
    const nesting = Math.max(1, ...lanes.map((lane) => lane.path.length - lane.outer));
    let x = left + margin + PAD * nesting;
    group.ranges = new Map();
    for (const column of group.columns) {
      const width = Math.max(60, ...lanes.map((lane) => lane.cells.get(column)?.block.w ?? 0));
      group.ranges.set(column, [x, x + width]);
      x += width + COLUMN_GAP + 2 * PAD;
    }
    const right = x - COLUMN_GAP - 2 * PAD;
    group.extent = [left + margin + PAD * nesting, right];

    // down: bands below each other, each with the rails of what it uses
    const used = new Map(bands.map((band) => [band, []]));
    for (const node of rails) {
      const users = new Set(layout.outOf.get(node.id).map((edge) => edge.target));
      for (const band of bands) if (band.ids.some((id) => users.has(id))) used.get(band).push(node);
    }
    let y = 0;
    let farthest = right;
    let above = [];
    for (const band of bands) {
      y += this.gapBetween(above, band);
      above = band.path;
      const top = y;
      y = this.placeBand(band, y, (from) => this.placeRails(band, used.get(band), from, left + margin, pills));
      farthest = Math.max(farthest, band.right || 0);
      const modules = this.modulesOf(band);
      const [x, right] = group.extent;
      if (modules.length) layout.frames.push({ key: scopeKey(modules), x, y: top, w: right - x, h: y - top });
    }
    return this.channels(farthest);
  }

  placeBand(band, y, placeRails) {
    return band.cells ? placeRails(this.placeLane(band, y)) : this.placeStrip(band, y, placeRails);
  }

  // The modules around a band, as a scope.
  modulesOf(band) {
    const { layout } = this;
    const { scope } = layout.byId.get(band.ids[0]);
    const step = scope.findIndex(isStep);
    return step < 0 ? scope.slice(0, band.path.length) : scope.slice(0, step);
  }

  // Room for the borders and labels of the modules that end and begin between two bands.
  gapBetween(above, band) {
    let shared = 0;
    while (shared < above.length && shared < band.path.length && above[shared] === band.path[shared]) shared++;
    return (
      BAND_GAP +
      (above.length - shared) * PAD +
      (band.path.length - shared) * (HEADER + PAD) +
      (band.cells ? HEADER + PAD : 0)
    );
  }

  // The rails of one band, below it. The lane of parameters is at the left.
  placeRails(band, nodes, y, right, pills) {
    const { layout } = this;
    if (!nodes.length) return y;
    let at = y + 4;
    for (const node of nodes) {
      const own = pills.includes(node) && !layout.boxes.has(node.id);
      const { w, h } = layout.size(node);
      const middle = at + (own ? TRACK : 16) / 2;
      if (own) layout.boxes.set(node.id, { x: right - 44 - w, y: middle - h / 2, w, h });
      if (!layout.rails.has(node.id)) layout.rails.set(node.id, []);
      layout.rails.get(node.id).push({ y: middle, x: right - 22, users: new Set(band.ids) });
      at = middle + (own ? TRACK : 16) / 2;
    }
    return at;
  }

  placeLane(lane, y) {
    const { layout, group } = this;
    for (const [column, cell] of lane.cells) {
      const [from, to] = group.ranges.get(column);
      const ports = cell.block.ports.in.length + cell.block.ports.out.length > 0; // then it begins at the border
      const slack = ports ? 0 : (to - from - cell.block.w) / 2;
      const x = lane.mirrored ? to - cell.block.w - slack : from + slack;
      layout.blocks.put(cell.block, x, y + (lane.height - cell.block.h) / 2, lane.mirrored);
    }
    const bottom = y + lane.height;
    lane.y = [y, bottom];
    for (const [column, cell] of lane.cells) cell.frame = [group.ranges.get(column), lane.y];
    group.lanes = [...(group.lanes || []), lane];
    return bottom + PAD;
  }

  // Bars that gather from steps, then nodes, then rails, then bars that hand out to steps.
  placeStrip(band, y, placeRails) {
    const { layout, group } = this;
    const [left, right] = group.extent;
    const bar = (node) => {
      layout.boxes.set(node.id, { x: left, y, w: right - left, h: BAR_HEIGHT, bar: true });
      y += BAR_HEIGHT + NODE_GAP;
    };
    band.top.forEach(bar);
    if (band.middle.length) {
      const block = layout.blocks.block(
        band.middle,
        Math.min(...band.middle.map((node) => depthOfModules(node.scope))),
      );
      const x = Math.max(left, this.wishedPlace(band, block));
      layout.blocks.put(block, x, y);
      band.right = x + block.w;
      y += block.h + NODE_GAP;
    }
    y = placeRails(y - NODE_GAP) + NODE_GAP;
    band.bottom.forEach(bar);
    return y - NODE_GAP;
  }

  // Below what it comes from, or near the steps that it has to do with, or in the middle.
  wishedPlace(band, block) {
    const { layout, group } = this;
    const wishes = [];
    const near = [];
    for (const node of band.middle) {
      const at = block.places.get(block.home.get(node.id)).x + layout.size(node).w / 2;
      for (const edge of layout.into.get(node.id)) {
        const box = layout.boxes.get(edge.source);
        if (box && !box.bar && layout.spots.get(edge.source).group === group) wishes.push(box.x + box.w / 2 - at);
      }
      for (const edge of layout.outOf.get(node.id)) {
        const spot = layout.spots.get(edge.target);
        if (spot.column && spot.group === group) near.push(group.ranges.get(spot.columnKey)[0]);
      }
    }
    const mean = (list) => list.reduce((sum, x) => sum + x, 0) / list.length;
    if (wishes.length) return mean(wishes);
    if (near.length) return mean(near) - block.w / 2;
    const [left, right] = group.extent;
    return left + Math.min((right - left) / 2, 500) - block.w / 2; // in sight where there are many steps
  }

  // Edges between strips that lie above and below a row of cells run around it, at the right.
  channels(right) {
    const { layout, group } = this;
    group.channels = new Map(); // source id -> x
    const nesting = Math.max(0, ...layout.nodes.map((node) => node.scope.length));
    for (const node of group.outside) {
      const around = layout.outOf.get(node.id).some((edge) => layout.runsAround(edge.source, edge.target));
      if (around) group.channels.set(node.id, right + PAD * (nesting + 1) + 4 + 9 * group.channels.size);
    }
    return group.channels.size ? Math.max(right, ...group.channels.values()) : right;
  }
}

function depthOfModules(scope) {
  return scope.filter((entry) => !entry[2]).length;
}
