// The items of a layout: nodes, and edges where they pass. y goes up, as in the static picture (items.py).

const GAP = 14; // between neighbours in a band
const LANE = 8; // between edges that run side by side

// `left` and `right` are its extents from its middle x, y is its lower edge; relative to the box around it until all
// is laid out. pull: to the left (-1) or the right of its band, where a state comes from or goes to.
class Item {
  constructor(order) {
    Object.assign(this, { order, box: null, x: 0, y: 0, left: 0, right: 0, height: 0 });
    Object.assign(this, { weight: 1, pull: 0, thin: false });
  }

  // The boxes around it, from the innermost out.
  around() {
    const found = [];
    for (let box = this.box; box; box = box.box) found.push(box);
    return found;
  }

  steps() {
    return [];
  }

  axis() {
    return 0;
  }

  wayOut() {
    return 0;
  }

  wayIn() {
    return 0;
  }
}

// A node, with the parameters that only it uses to its left.
class Leaf extends Item {
  constructor(node, { w, h, circle }) {
    super(node.order);
    Object.assign(this, { node, width: w, tall: h, circle, satellites: [], left: w / 2, right: w / 2, height: h });
  }

  attach() {
    if (!this.satellites.length) return;
    this.left = this.width / 2 + 2 * GAP + Math.max(...this.satellites.map((one) => one.width));
    this.height = Math.max(this.tall, stackedHeight(this.satellites));
  }

  get middle() {
    return this.y + this.height / 2;
  }

  get low() {
    return this.middle - this.tall / 2;
  }

  get high() {
    return this.middle + this.tall / 2;
  }

  // The parameters of one node, in a stack to its left.
  placeSatellites() {
    let y = this.middle + stackedHeight(this.satellites) / 2;
    for (const one of this.satellites) {
      y -= one.tall;
      one.x = this.x - this.width / 2 - 2 * GAP - one.width / 2;
      one.y = y;
      y -= 5;
    }
  }
}

// The place of an edge in a band.
class Passing extends Item {
  constructor(order) {
    super(order);
    Object.assign(this, { thin: true, left: LANE / 2, right: LANE / 2 });
  }
}

const stackedHeight = (leaves) => leaves.reduce((sum, leaf) => sum + leaf.tall + 5, -5);
