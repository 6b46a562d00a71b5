// The part of the graph that the canvas shows: (x, y) at its corner, `zoom` pixels for a unit.

const READABLE = 0.55; // the least zoom to begin with
const NARROW = [600, 0.38]; // pixels of a narrow screen, and the least zoom there

class Camera {
  constructor(canvas, viewer) {
    this.canvas = canvas;
    this.viewer = viewer;
    Object.assign(this, { x: 0, y: 0, zoom: 1 });
    this.fitted = null; // the least zoom that was asked for, until the reader moves
  }

  fit(least = 0) {
    const { x, y, w, h } = this.viewer.layout.bounds;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const whole = between(0.01, Math.min(width / (w + 60), height / (h + 60)), 1.4);
    const zoom = Math.max(whole, width < NARROW[0] ? Math.min(least, NARROW[1]) : least);
    const centred = (at, size, room) => (size + 40 <= room ? at - (room - size) / 2 : at - 20);
    Object.assign(this, { zoom, x: centred(x, w, width / zoom), y: centred(y, h, height / zoom) });
    this.fitted = least; // until the reader moves
    this.viewer.refresh();
  }

  resized() {
    if (this.fitted !== null) this.fit(this.fitted);
    this.viewer.draw(); // at once, or the old picture is stretched for a moment
  }

  zoomAt(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const zoom = between(0.01, this.zoom * factor, 6);
    this.x += px / this.zoom - px / zoom;
    this.y += py / this.zoom - py / zoom;
    this.zoom = zoom;
    this.fitted = null;
    this.viewer.refresh();
  }

  pan(dx, dy) {
    this.x -= dx / this.zoom;
    this.y -= dy / this.zoom;
    this.fitted = null;
    this.viewer.refresh();
  }

  // Move as little as needed to show a node.
  show(id) {
    const box = this.viewer.layout.boxes.get(id);
    if (!box) return;
    this.fitted = null;
    if (this.zoom < 0.45) {
      const [px, py] = [(box.x + box.w / 2 - this.x) * this.zoom, (box.y + box.h / 2 - this.y) * this.zoom];
      this.zoomAt(0.8 / this.zoom, px, py);
    }
    const [w, h] = [this.canvas.clientWidth / this.zoom, this.canvas.clientHeight / this.zoom];
    const [mx, my] = [Math.min(80 / this.zoom, w / 3), Math.min(110 / this.zoom, h / 3)];
    const wide = Math.min(box.w, w - 2 * mx);
    this.x = between(box.x + wide + mx - w, this.x, box.x - mx);
    this.y = between(box.y + box.h + my - h, this.y, box.y - my);
    this.viewer.refresh();
  }
}
