// Mouse, touch and keyboard.

const CLICK = 5; // pixels that a click may move

class Pointer {
  constructor(canvas, viewer) {
    this.canvas = canvas;
    this.viewer = viewer;
    this.down = new Map(); // pointers that are down: id -> {x, y}
    this.moved = 0;
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.down.delete(event.pointerId));
    canvas.addEventListener("dblclick", (event) => this.open(event));
    canvas.addEventListener("pointerleave", () => this.point(null));
  }

  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  wheel(event) {
    event.preventDefault();
    const { x, y } = this.at(event);
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.viewer.view.zoomAt(Math.exp(between(-60, -event.deltaY * lines, 60) * (event.ctrlKey ? 0.01 : 0.003)), x, y);
  }

  press(event) {
    if (event.button > 0) return;
    if (event.isTrusted) this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    if (this.down.size === 0) this.moved = 0;
    this.down.set(event.pointerId, this.at(event));
  }

  move(event) {
    const now = this.at(event);
    const before = this.down.get(event.pointerId);
    if (!before) return this.point(this.viewer.at(now.x, now.y));
    const others = [...this.down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.moved += Math.hypot(now.x - before.x, now.y - before.y);
    this.down.set(event.pointerId, now);
    if (others.length === 0) {
      if (this.moved > CLICK) this.viewer.view.pan(now.x - before.x, now.y - before.y);
    } else {
      const [other] = others; // two fingers: what lies under them stays under them
      const factor =
        Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
      this.viewer.view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
      this.viewer.view.zoomAt(factor, (now.x + other.x) / 2, (now.y + other.y) / 2);
    }
    return undefined;
  }

  release(event) {
    const alone = this.down.size === 1 && this.down.has(event.pointerId);
    this.down.delete(event.pointerId);
    if (!alone || this.moved > CLICK) return;
    const { x, y } = this.at(event);
    const found = this.viewer.at(x, y);
    if (!found) this.viewer.select(null);
    else if (found.marker) this.viewer.toggle(found.id);
    else this.viewer.select(found.id);
  }

  open(event) {
    const { x, y } = this.at(event);
    const found = this.viewer.at(x, y);
    if (found && !found.marker) this.viewer.toggle(found.id);
  }

  point(found) {
    const id = found ? found.id : null;
    if (id === this.viewer.hover) return;
    this.viewer.hover = id;
    this.canvas.style.cursor = found ? "pointer" : "";
    this.canvas.title =
      found && found.node
        ? [nodeTitle(found.node), nodeSubtitle(found.node), scopeText(found.node.scope)].filter(Boolean).join("\n")
        : "";
    this.viewer.refresh();
  }
}

class Keys {
  constructor(viewer) {
    this.viewer = viewer;
    document.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { tagName } = event.target;
    if (tagName === "INPUT" || tagName === "SELECT") return;
    const { viewer } = this;
    const onButton = tagName === "BUTTON" || tagName === "SUMMARY";
    const actions = {
      "+": () => viewer.view.zoomAt(1.25),
      "=": () => viewer.view.zoomAt(1.25),
      "-": () => viewer.view.zoomAt(0.8),
      0: () => viewer.view.fit(),
      ",": () => viewer.stride(-1),
      ".": () => viewer.stride(1),
      "?": () => viewer.help(),
      n: () => viewer.toBroken(),
      "/": () => byId("query").focus(),
      Escape: () => (viewer.selected !== null ? viewer.select(null) : viewer.leave()),
      ArrowLeft: () => this.arrow(event, -1, 0),
      ArrowRight: () => this.arrow(event, 1, 0),
      ArrowUp: () => this.arrow(event, 0, -1),
      ArrowDown: () => this.arrow(event, 0, 1),
      ...(onButton ? {} : { " ": () => viewer.play(), Enter: () => this.open() }),
    };
    const action = Object.hasOwn(actions, event.key) ? actions[event.key] : null;
    if (!action) return;
    event.preventDefault();
    action();
  }

  // To the nearest node in a direction; with shift, the view moves.
  arrow(event, dx, dy) {
    const { viewer } = this;
    if (event.shiftKey) return viewer.view.pan(-80 * dx, -80 * dy);
    const { nodes, boxes } = viewer.layout;
    const centre = (box) => [box.x + box.w / 2, box.y + box.h / 2];
    if (viewer.selected === null) return viewer.select(nodes[0].id, true);
    const [x, y] = centre(boxes.get(viewer.selected));
    let [best, nearest] = [null, Infinity];
    for (const node of nodes) {
      if (node.id === viewer.selected || !boxes.has(node.id)) continue;
      const box = boxes.get(node.id);
      const [ax, ay] = [centre(box)[0] - x, centre(box)[1] - y];
      const along = ax * dx + ay * dy;
      const across = Math.abs(ax * dy) + Math.abs(ay * dx);
      if (along > 4 && along + 3 * across < nearest) [best, nearest] = [node.id, along + 3 * across];
    }
    return best === null ? undefined : viewer.select(best, true);
  }

  open() {
    if (this.viewer.selected !== null)
      this.viewer.toggle(this.viewer.layout.byId.get(this.viewer.selected).owner || this.viewer.selected);
  }
}
