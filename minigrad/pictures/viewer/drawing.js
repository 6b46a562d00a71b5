// Drawing on a canvas: only what is in sight, and no text that is too small to read.

class Drawing {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  // scene: {layout, routes, view, colour(node), state(node), focus, found, hover, selected, lit(edge)}
  draw(scene) {
    const { canvas } = this;
    const c = (this.context = canvas.getContext("2d"));
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const { x, y, zoom } = scene.view;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = themed("#FFFFFF");
    c.fillRect(0, 0, width, height);
    c.setTransform(ratio * zoom, 0, 0, ratio * zoom, -x * zoom * ratio, -y * zoom * ratio);
    this.paint(scene, c, scene.view, width, height);
  }

  // The same on any context that is ready, as on one that writes a file (see export.js).
  paint(scene, context, { x, y, zoom }, width, height) {
    Object.assign(this, { context, zoom, scene, window: { x, y, w: width / zoom, h: height / zoom } });
    if (context instanceof SvgContext) {
      context.fillStyle = themed("#FFFFFF");
      context.fillRect(x, y, width, height);
    }
    for (const cluster of scene.layout.clusters) if (this.inSight(cluster)) this.cluster(cluster);
    const top = [];
    for (const route of scene.routes) {
      if (!this.inSight(route.box)) continue;
      if (scene.lit(route.edge)) top.push(route);
      else this.route(route, "");
    }
    for (const route of top) this.route(route, scene.lit(route.edge));
    for (const node of scene.layout.nodes) {
      const box = scene.layout.boxes.get(node.id);
      if (box && this.inSight(box)) this.node(node, box);
    }
    for (const node of scene.callouts) {
      const box = scene.layout.boxes.get(node.id);
      if (box && this.inSight(box)) drawCallout(this, node, box);
    }
  }

  inSight(box) {
    const { x, y, w, h } = this.window;
    return box.x <= x + w + 20 && box.x + box.w >= x - 20 && box.y <= y + h + 20 && box.y + box.h >= y - 20;
  }

  cluster({ key, label, x, y, w, h, fused, header }) {
    const c = this.context;
    roundRect(c, x, y, w, h, 7);
    c.fillStyle = fused ? themed("#FFFFFF") : themed("#00000007");
    c.fill();
    c.lineWidth = 1;
    c.strokeStyle = themed(this.scene.hover === `cluster:${key}` ? BLUE : "#D0D0D0");
    c.stroke();
    if (this.zoom < 0.3) return;
    c.font = SMALL;
    c.textAlign = "left";
    c.textBaseline = "middle";
    c.fillStyle = themed(this.scene.hover === `cluster:${key}` ? BLUE : "#555555");
    const middle = header.y + header.h / 2;
    this.marker(x + 12, middle, false);
    const left = Math.max(x, Math.min(this.window.x, x + w - 120)); // stays in sight
    c.fillText(shortened(label, SMALL, Math.max(w - 26, 20)), left > x ? left + 6 : x + 22, middle + 0.5);
  }

  // The sign that something opens (+) or closes (−).
  marker(x, y, opens) {
    const c = this.context;
    c.save();
    c.strokeStyle = c.fillStyle;
    c.lineWidth = 1.1;
    c.strokeRect(x - 4.5, y - 4.5, 9, 9);
    c.beginPath();
    c.moveTo(x - 2.5, y);
    c.lineTo(x + 2.5, y);
    if (opens) {
      c.moveTo(x, y - 2.5);
      c.lineTo(x, y + 2.5);
    }
    c.stroke();
    c.restore();
  }

  route({ edge, points, dots }, lit) {
    const c = this.context;
    const dimmed = this.scene.dimmed(edge);
    const parameter = this.scene.layout.byId.get(edge.source).kind === "parameter";
    const carried = edge.kind === "state" || (edge.kind === "detached" && edge.steps);
    const plain = parameter ? PALETTE.tones[this.scene.tone(edge.source) % PALETTE.tones.length] : "#777777";
    c.strokeStyle = themed(lit || (carried ? RED : plain));
    c.lineWidth = (edge.kind === "state" ? 2.2 : parameter ? 1 : 1.2) + (lit ? 1.2 : 0);
    c.globalAlpha = dimmed && !lit ? 0.22 : 1;
    c.setLineDash(edge.kind === "detached" ? [5, 4] : []);
    c.beginPath();
    c.moveTo(...points[0]);
    for (let k = 1; k + 2 < points.length; k += 3) c.bezierCurveTo(...points[k], ...points[k + 1], ...points[k + 2]);
    c.stroke();
    c.setLineDash([]);
    const backward = lit && this.scene.phase === "backward"; // gradients flow back
    if (this.zoom > 0.25) this.arrow(backward ? [...points].reverse() : points, parameter ? 4.5 : 7);
    c.fillStyle = c.strokeStyle;
    if (this.zoom > 0.5) for (const [x, y] of dots) this.dot(x, y);
    if (edge.times > 1 || carried) if (this.zoom > 0.5 && !parameter) this.mark(edge, points, carried);
    c.globalAlpha = 1;
  }

  dot(x, y) {
    this.context.beginPath();
    this.context.arc(x, y, 1.7, 0, 2 * Math.PI);
    this.context.fill();
  }

  arrow(points, size) {
    const c = this.context;
    const [[px, py], [x, y]] = points.slice(-2);
    c.save();
    c.translate(x, y);
    c.rotate(Math.atan2(y - py, x - px));
    c.fillStyle = c.strokeStyle;
    c.beginPath();
    c.moveTo(0, 0);
    c.lineTo(-size, -size * 0.4);
    c.lineTo(-size, size * 0.4);
    c.fill();
    c.restore();
  }

  // The state that an edge carries, and for how many it stands, beside its longest piece.
  mark(edge, points, carried) {
    const text = markOf(edge);
    if (!text) return;
    const c = this.context;
    let [best, at] = [0, 0];
    for (let k = 3; k < points.length; k += 3) {
      const length = span(points[k], points[k - 3]);
      if (length > best) [best, at] = [length, k];
    }
    let [first, last] = [at - 3, at]; // with what goes on in the same line
    const line = ([px, py], [qx, qy]) => (Math.abs(px - qx) < 1 ? "up" : Math.abs(py - qy) < 1 ? "along" : "");
    const way = line(points[first], points[last]);
    while (way && first >= 3 && line(points[first - 3], points[first]) === way) first -= 3;
    while (way && last + 3 < points.length && line(points[last], points[last + 3]) === way) last += 3;
    const [[ax, ay], [bx, by]] = [points[first], points[last]];
    c.font = `italic ${SMALL}`;
    const width = c.measureText(text).width;
    const upright = Math.abs(by - ay) > Math.abs(bx - ax);
    const [x, y] = upright ? [(ax + bx) / 2 + width / 2 + 5, (ay + by) / 2] : [(ax + bx) / 2, (ay + by) / 2 - 8];
    c.fillStyle = themed(carried ? RED : "#555555");
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.fillText(text, x, y);
  }

  node(node, box) {
    const c = this.context;
    const { scene } = this;
    const state = scene.state(node); // "", "todo", "done", "now"
    const style = styleOf(node);
    const broken = this.scene.broken(node);
    const fill = broken ? PALETTE.broken : scene.colour(node) || style.fill;
    c.globalAlpha = state === "todo" ? 0.32 : 1;
    if (state === "now" || scene.selected === node.id || scene.found.has(node.id)) this.glow(node, box, state);
    this.shape(node, box);
    if (fill) {
      c.fillStyle = themed(fill);
      c.fill();
    }
    if (style.border) {
      c.strokeStyle = themed(scene.hover === node.id ? BLUE : broken ? "#CC0066" : style.border);
      c.lineWidth = style.width || 1;
      c.setLineDash(style.dash || []);
      c.stroke();
      c.setLineDash([]);
    }
    if (node.kind === "fused") {
      roundRect(c, box.x + 3, box.y + 3, box.w - 6, box.h - 6, 1.5);
      c.lineWidth = 0.6;
      c.stroke();
    }
    if (scene.arrived(node) !== null) this.progress(box, scene.arrived(node));
    if (this.zoom * 13 > 3.5) this.text(node, box, fill ? inkOn(themed(fill)) : themed(INK));
    c.globalAlpha = 1;
  }

  shape(node, box) {
    const c = this.context;
    const { x, y, w, h } = box;
    if (box.circle) {
      c.beginPath();
      c.arc(x + w / 2, y + h / 2, w / 2, 0, 2 * Math.PI);
    } else if (node.kind === "parameter") roundRect(c, x, y, w, h, h / 2);
    else if (node.kind === "fused") roundRect(c, x, y, w, h, 3);
    else {
      if (node.kind === "collapsed") this.pages(box);
      roundRect(c, x, y, w, h, 8);
    }
  }

  pages({ x, y, w, h }) {
    const c = this.context;
    roundRect(c, x + 4, y - 4, w, h, 8);
    c.fillStyle = themed("#FFFFFF");
    c.fill();
    c.strokeStyle = themed(GREY);
    c.lineWidth = 1;
    c.stroke();
  }

  glow(node, box, state) {
    const c = this.context;
    const colour =
      state === "now"
        ? this.scene.phase === "backward"
          ? PALETTE.scale[6]
          : FORWARD
        : this.scene.selected === node.id
          ? BLUE
          : FOUND;
    const grow = state === "now" ? 5 : 4;
    const around = { ...box, x: box.x - grow, y: box.y - grow, w: box.w + 2 * grow, h: box.h + 2 * grow };
    if (box.circle) this.shape(node, around);
    else roundRect(c, around.x, around.y, around.w, around.h, node.kind === "parameter" ? around.h / 2 : 10);
    c.fillStyle = themed("#FFFFFF");
    c.fill();
    c.strokeStyle = themed(colour);
    c.lineWidth = Math.max(2.4, 1.6 / this.zoom);
    c.setLineDash(state !== "now" && this.scene.selected !== node.id ? [4, 2] : []);
    c.stroke();
    c.setLineDash([]);
  }

  // The share of a parameter's gradient that has arrived: the sum over the steps so far.
  progress(box, share) {
    const c = this.context;
    c.save();
    roundRect(c, box.x, box.y, box.w, box.h, box.h / 2);
    c.clip();
    c.fillStyle = PALETTE.scale[5];
    c.fillRect(box.x, box.y + box.h - 4, box.w * share, 4);
    c.restore();
  }

  text(node, box, ink) {
    const c = this.context;
    const sign = signOf(node);
    c.fillStyle = ink;
    c.textAlign = "center";
    c.textBaseline = "middle";
    const opens = node.inner || node.members;
    const x = box.x + box.w / 2 - (opens ? 9 : 0);
    const y = box.y + box.h / 2;
    if (sign) {
      c.font = `15px ${FONT}`;
      c.fillText(sign, x, y + 0.5);
      return;
    }
    const inline = node.kind === "parameter";
    const room = box.w - (node.kind === "input" ? 2 : 14) - (opens ? 22 : 0);
    const title = shortened(nodeTitle(node), TITLE, room);
    const small = this.zoom * 10.5 > 4.5 ? shortened(nodeSubtitle(node), SMALL, room) : "";
    c.font = node.kind === "output" ? `bold ${TITLE}` : TITLE;
    if (inline && small) {
      const titleWidth = c.measureText(title).width + 8;
      c.textAlign = "left";
      ruler.font = SMALL;
      const start = x - (titleWidth + ruler.measureText(small).width) / 2;
      c.fillText(title, start, y + 0.5);
      c.font = SMALL;
      c.fillText(small, start + titleWidth, y + 1);
    } else {
      c.fillText(title, x, small ? y - 6.5 : y + 0.5);
      c.font = SMALL;
      c.globalAlpha *= 0.85;
      if (small) c.fillText(small, x, y + 9);
    }
    if (opens) this.marker(box.x + box.w - 13, y, true);
  }
}

function roundRect(c, x, y, w, h, radius) {
  c.beginPath();
  c.roundRect(x, y, w, h, Math.min(radius, w / 2, h / 2));
}
