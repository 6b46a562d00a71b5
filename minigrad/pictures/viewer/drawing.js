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
    for (const window of scene.layout.windows) if (this.inSight(window)) this.stretch(window);
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

  // A frame; false if its title is too small to read.
  frame({ x, y, w, h, fused }, hovered) {
    const c = this.context;
    roundRect(c, x, y, w, h, 7);
    c.fillStyle = fused ? themed("#FFFFFF") : themed("#00000007");
    c.fill();
    c.lineWidth = 1;
    c.strokeStyle = themed(hovered ? BLUE : "#D0D0D0");
    c.stroke();
    c.font = SMALL;
    c.textAlign = "left";
    c.textBaseline = "middle";
    c.fillStyle = themed(hovered ? BLUE : "#555555");
    return this.zoom >= 0.3;
  }

  // A window of a textbook.
  stretch({ label, header, ...frame }) {
    if (this.frame(frame, false)) this.context.fillText(label, frame.x + 8, header.y + header.h / 2 + 0.5);
  }

  cluster(cluster) {
    const c = this.context;
    const { key, label, x, w, header } = cluster;
    if (!this.frame(cluster, this.scene.hover === `cluster:${key}`)) return;
    const middle = header.y + header.h / 2;
    const from = Math.max(x, Math.min(this.window.x, x + w - 120)); // stays in sight
    const left = titlePlace(cluster, from + 6);
    this.marker(left + 6, middle, false);
    c.fillText(shortened(label, SMALL, Math.max(w - 26, 20)), left + 16, middle + 0.5);
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

  route({ edge, points, dots, mark }, lit) {
    const c = this.context;
    const look = this.lineOf(edge);
    const dimmed = this.scene.dimmed(edge);
    c.strokeStyle = themed(lit || look.colour);
    c.lineWidth = look.width + (lit ? 1.2 : 0);
    c.globalAlpha = dimmed && !lit ? 0.22 : 1;
    c.setLineDash(look.dash);
    c.beginPath();
    c.moveTo(...points[0]);
    for (let k = 1; k + 2 < points.length; k += 3) c.bezierCurveTo(...points[k], ...points[k + 1], ...points[k + 2]);
    c.stroke();
    c.setLineDash([]);
    const backward = this.scene.look.backward || (lit && this.scene.phase === "backward"); // gradients flow back
    if (this.zoom > 0.25) this.arrow(backward ? [...points].reverse() : points, look.tip);
    c.fillStyle = c.strokeStyle;
    if (this.zoom > 0.5) for (const [x, y] of dots) this.dot(x, y);
    if (this.zoom > 0.5 && mark) this.mark(mark, look.carried || this.scene.look.backward);
    c.globalAlpha = 1;
  }

  // The look of an edge: {colour, width, dash, tip, carried}.
  lineOf(edge) {
    const parameter = this.scene.layout.byId.get(edge.source).kind === "parameter";
    const carried = edge.kind === "state" || (edge.kind === "detached" && !!edge.steps);
    const tip = parameter ? 4.5 : 7;
    if (this.scene.look.backward) {
      const flows = edge.grad !== null && edge.grad !== undefined;
      if (!flows) return { colour: "#D0D0D0", width: 1, dash: [2, 3], tip, carried };
      return { colour: RED, width: edge.kind === "state" ? 2.2 : 1.3, dash: [], tip: 7, carried };
    }
    const plain = parameter ? PALETTE.tones[this.scene.tone(edge.source) % PALETTE.tones.length] : "#777777";
    const width = edge.kind === "state" ? 2.2 : parameter ? 1 : 1.2;
    return { colour: carried ? RED : plain, width, dash: edge.kind === "detached" ? [5, 4] : [], tip, carried };
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

  // An edge's state and the number of edges that it stands for, or the norm of its gradient.
  mark({ text, x, y }, red) {
    const c = this.context;
    c.fillStyle = themed(red ? RED : "#555555");
    c.textBaseline = "middle";
    if (this.scene.look.textbook) return drawScripted(c, text, x, y, 11);
    c.font = this.scene.look.backward ? SMALL : `italic ${SMALL}`;
    c.textAlign = "center";
    return c.fillText(text, x, y);
  }

  node(node, box) {
    const c = this.context;
    const { scene } = this;
    const state = scene.state(node); // "", "todo", "done", "now"
    const style = scene.look.style(node);
    const broken = this.scene.broken(node);
    const fill = broken ? PALETTE.broken[broken][0] : scene.colour(node) || style.fill;
    c.globalAlpha = state === "todo" ? 0.32 : 1;
    if (state === "now" || scene.selected === node.id || scene.found.has(node.id)) this.glow(node, box, state);
    this.shape(node, box);
    if (fill) {
      c.fillStyle = themed(fill);
      c.fill();
    }
    const border = style.border || (fill && BLUE); // of a textbook's parameter, in colours
    if (border) {
      c.strokeStyle = themed(scene.hover === node.id ? BLUE : broken ? PALETTE.broken[broken][1] : border);
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
    if (this.zoom * 13 > 3.5) writeNode(this, node, box, fill ? inkOn(themed(fill)) : themed(style.ink));
    c.globalAlpha = 1;
  }

  shape(node, box) {
    const c = this.context;
    const { x, y, w, h } = box;
    if (box.circle) {
      c.beginPath();
      c.arc(x + w / 2, y + h / 2, w / 2, 0, 2 * Math.PI);
      return;
    }
    const { form } = this.scene.look.style(node);
    if (form === "pages") this.pages(box);
    if (form === "oval") oval(c, x, y, w, h);
    else roundRect(c, x, y, w, h, form === "pill" ? h / 2 : form === "sharp" ? 2 : 8);
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
    const { form } = this.scene.look.style(node);
    if (box.circle) this.shape(node, around);
    else if (form === "oval") oval(c, around.x, around.y, around.w, around.h);
    else roundRect(c, around.x, around.y, around.w, around.h, form === "pill" ? around.h / 2 : 10);
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
}

function oval(c, x, y, w, h) {
  c.beginPath();
  c.ellipse(x + w / 2, y + h / 2, w / 2, h / 2, 0, 0, 2 * Math.PI);
}

function roundRect(c, x, y, w, h, radius) {
  c.beginPath();
  c.roundRect(x, y, w, h, Math.min(radius, w / 2, h / 2));
}
