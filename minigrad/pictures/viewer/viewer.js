// The reader's actions: looks around, opens and closes, searches, steps through time.

const byId = (id) => document.getElementById(id);
const between = (low, value, high) => Math.min(Math.max(value, low), high);

class Viewer {
  constructor(data) {
    this.model = new Model(data);
    this.look = new Look(this.model.options);
    this.canvas = byId("canvas");
    this.drawing = new Drawing(this.canvas);
    this.playback = new Playback(this.model);
    this.search = new Search(this.model);
    this.quantity = this.model.quantity;
    this.scale = new Scale(this.model.norms, this.quantity);
    this.panel = new Panel(byId("panel"), this.model, this.look, {
      select: (id) => this.select(id, true),
      toggle: (id) => this.toggle(id),
    });
    this.view = new Camera(this.canvas, this);
    this.selected = null;
    this.hover = null;
    this.coloured = this.model.options.color === this.quantity && this.scale.known;
    this.timer = null;
    this.links = new Links(this);
    this.relayout();
    wire(this);
    this.refresh();
    this.showPanel();
    this.links.follow();
    this.openTime = performance.now(); // milliseconds since the page was asked for
  }

  // ---- layout and drawing -------------------------------------------------------------------------------------------

  relayout() {
    const began = performance.now();
    this.layout = new Layout(this.model.visible(), this.look, this.model.direction());
    this.routes = routeAll(this.layout);
    placeTexts(this.layout, this.routes, this.look);
    this.layoutTime = performance.now() - began;
  }

  // Lay out anew, and keep what was clicked where it was.
  relayoutAround(id) {
    const before = this.placeOf(id);
    this.relayout();
    const after = this.placeOf(id) || this.placeOf(this.model.representative(this.model.byId.has(id) ? id : "") || id);
    this.view.fitted = null;
    if (before && after) {
      this.view.x += after.x - before.x;
      this.view.y += after.y - before.y;
    }
    if (this.selected && !this.layout.byId.has(this.selected)) this.selected = null;
    this.refresh();
    this.showPanel();
  }

  // The corner of a node or a cluster.
  placeOf(id) {
    const key = id.startsWith("cluster:") ? id.slice("cluster:".length) : null;
    const box = this.layout.boxes.get(id) || this.layout.clusters.find((cluster) => cluster.key === key);
    if (box) return box;
    const inner = this.layout.nodes.find((node) => node.owner === id);
    return inner && this.layout.boxes.get(inner.id);
  }

  refresh() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const began = performance.now();
    this.drawing.draw(this.scene());
    this.drawTime = performance.now() - began;
  }

  // All that a drawing needs to know.
  scene() {
    const { playback, model } = this;
    const phase = playback.phase;
    const current = playback.current();
    const now = new Set(current.map((node) => model.representative(node.id)));
    const found = this.search.shownIn(this.layout);
    return {
      layout: this.layout,
      routes: this.routes,
      look: this.look,
      view: this.view,
      phase,
      found,
      selected: this.selected,
      hover: this.hover,
      state: (node) => playback.state(node),
      colour: (node) => this.colourOf(node),
      tone: (id) => this.model.tones.get(id) || 0,
      arrived: (node) => (phase === "backward" && node.kind === "parameter" ? playback.arrived(node.id) : null),
      dimmed: (edge) => playback.position !== null && phase !== "backward" && !this.reached(edge, now),
      lit: (edge) => {
        if (phase === "forward" && now.has(edge.target)) return edge.kind === "state" ? RED : FORWARD;
        if (phase === "backward" && now.has(edge.source)) return edge.kind === "state" ? RED : PALETTE.scale[6];
        const centre = this.selected || this.hover;
        return centre && (edge.source === centre || edge.target === centre) ? (edge.kind === "state" ? RED : BLUE) : "";
      },
      callouts: phase && current.length === 1 && now.has(current[0].id) ? current : [],
      broken: (node) => this.brokenNow(node),
    };
  }

  // The numbers that are not finite of a node, as far as it is known: gradients come after all values.
  brokenNow(node) {
    const which = this.model.brokenOf(node);
    return which === "grad" && this.playback.phase === "forward" ? "" : which;
  }

  reached(edge, now) {
    const target = this.layout.byId.get(edge.target);
    return now.has(edge.target) || this.playback.state(target) === "done";
  }

  // null: the colour of its kind
  colourOf(node) {
    const { playback } = this;
    if (playback.phase === "backward") {
      const arrived = ["now", "done"].includes(playback.state(node));
      return arrived ? this.scale.colour(gradientNorm(node)) : null;
    }
    if (!this.coloured) return null;
    if (this.quantity === "grad" && playback.position !== null) return null; // not known yet
    const colour = this.scale.colour(gradientNorm(node));
    return colour ?? (this.look.style(node).fill && "#FFFFFF"); // no colour of its kind beside those of the scale
  }

  // ---- what lies where ----------------------------------------------------------------------------------------------

  // The element at a point of the canvas: {id, marker} of a node, or of a cluster's label.
  at(px, py) {
    const [x, y] = [px / this.view.zoom + this.view.x, py / this.view.zoom + this.view.y];
    const inside = (box) => x >= box.x && x <= box.x + box.w && y >= box.y && y <= box.y + box.h;
    for (const node of [...this.layout.nodes].reverse()) {
      const box = this.layout.boxes.get(node.id);
      if (box && inside(box))
        return { id: node.id, node, marker: x > box.x + box.w - 24 && !!(node.inner || node.members) };
    }
    for (const cluster of [...this.layout.clusters].reverse()) {
      if (inside(cluster.header)) return { id: this.idOf(cluster), marker: true };
    }
    return null;
  }

  // A cluster's id; that of an open fused node is the node's.
  idOf(cluster) {
    if (!cluster.fused) return `cluster:${cluster.key}`;
    return this.layout.nodes.find(
      (node) => node.owner && scopeKey(node.place.slice(0, cluster.scope.length)) === cluster.key,
    ).owner;
  }

  // ---- what is chosen -----------------------------------------------------------------------------------------------

  toggle(id) {
    if (!this.model.toggle(id)) return;
    if (id.startsWith("cluster:") && this.layout.byId.has(id)) this.selected = null;
    this.relayoutAround(id);
    this.say(`${this.layout.nodes.length} nodes shown`);
  }

  change(action) {
    action();
    this.relayout();
    this.selected = null;
    this.view.fit(READABLE);
    this.showPanel();
  }

  select(id, show = false) {
    if (id !== null && !this.layout.byId.has(id)) {
      this.model.reveal(id);
      this.relayout();
    }
    this.selected = id;
    if (id !== null && show) this.view.show(id);
    this.refresh();
    this.showPanel();
    if (id !== null) {
      const node = this.layout.byId.get(id);
      this.say(`${nodeTitle(node)} ${nodeSubtitle(node)} ${scopeText(node.scope)}`);
    }
  }

  showPanel() {
    const { playback } = this;
    const current = playback.current();
    if (this.selected !== null) this.panel.details(this.layout.byId.get(this.selected), playback.phase);
    else if (current.length === 1) this.panel.details(current[0], playback.phase);
    else if (current.length)
      this.panel.several(current, playback.phase, scopeText(current[0].scope) || "outside of steps");
    else this.panel.overview(this.scale);
    byId("about").textContent = `Details: ${byId("panel").querySelector("h2").textContent}`;
    byId("legend").hidden = !(this.scale.known && (this.coloured || playback.phase === "backward"));
  }

  say(text) {
    byId("live").textContent = text;
  }

  // ---- search -------------------------------------------------------------------------------------------------------

  find(query) {
    this.search.find(query);
    byId("found").textContent = query.trim() ? this.search.describe() : "";
    this.refresh();
  }

  findNext(direction) {
    const id = this.search.move(direction);
    byId("found").textContent = this.search.describe();
    if (id !== null) this.select(id, true);
  }

  // ---- time ---------------------------------------------------------------------------------------------------------

  goTo(position) {
    this.playback.go(position);
    this.moved();
  }

  stride(direction) {
    this.playback.stride(direction);
    this.moved();
  }

  moved() {
    const { playback } = this;
    this.selected = null;
    const text = playback.describe();
    byId("slider").value = playback.position ?? 0;
    byId("slider").setAttribute("aria-valuetext", text);
    byId("readout").textContent = text;
    document.querySelector("footer").dataset.phase = playback.phase;
    byId("leave").disabled = playback.position === null;
    this.links.write();
    const now = playback.current().map((node) => this.model.representative(node.id));
    if (now.length) this.view.show(now[0]);
    this.showPanel();
    this.refresh();
  }

  play() {
    if (this.timer !== null) return this.pause();
    if (this.playback.atEnd) this.playback.go(0);
    const button = byId("play");
    button.textContent = "❚❚";
    button.setAttribute("aria-label", "Pause");
    button.setAttribute("aria-pressed", "true");
    const pause = this.playback.byStep ? 900 : between(80, 16000 / this.playback.count, 600);
    this.timer = setInterval(() => {
      this.stride(1);
      if (this.playback.atEnd) this.pause();
    }, pause);
    return this.stride(1);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    byId("play").textContent = "▶";
    byId("play").setAttribute("aria-label", "Play");
    byId("play").setAttribute("aria-pressed", "false");
    this.whenPaused?.();
    this.whenPaused = null;
  }

  // To the first value or gradient that is not finite, and around.
  toBroken() {
    const all = [...this.model.broken.keys()];
    const at = all.indexOf(this.selected);
    if (all.length) this.select(all[(at + 1) % all.length], true);
  }

  // Open or fold the tools, or the details, on a narrow screen.
  fold(what) {
    const open = document.body.classList.toggle(`with-${what}`);
    byId(what).setAttribute("aria-expanded", String(open));
  }

  help() {
    const dialog = byId("help");
    if (dialog.open) return dialog.close();
    dialog.replaceChildren(element("h2", {}, "Keys"), this.panel.keys(), element("p", {}, "Escape closes this."));
    return dialog.showModal();
  }

  leave() {
    this.pause();
    this.goTo(null);
  }
}
