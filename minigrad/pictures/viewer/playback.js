// Stepping through the computation: forward in the order of the tape, then backward through the gradients in reverse.
// Position 0 is before the first operation, `count` after the last, 2 · count when all gradients have arrived;
// null is the whole graph, with nothing stepped through. Of a run without gradients, `count` is the end.

const GIVEN = new Set(["parameter", "input", "detached"]); // not computed here

class Playback {
  constructor(model) {
    this.model = model;
    this.events = model.nodes.filter((node) => !GIVEN.has(node.kind)).sort((a, b) => a.order - b.order);
    this.count = this.events.length;
    this.last = model.quantity === "grad" ? 2 * this.count : this.count;
    this.index = new Map(this.events.map((node, i) => [node.id, i]));
    this.groups = new WeakMap(); // members of a closed group -> their events
    // Runs of events of one time step, or of one stretch outside of steps: [first, beyond the last].
    this.runs = [];
    let before = null;
    const tags = new Map(); // of nodes with the same scope, which is one object
    this.events.forEach((node, i) => {
      if (!tags.has(node.scope)) tags.set(node.scope, timeTag(node));
      const tag = tags.get(node.scope);
      if (tag !== before) this.runs.push([i, i]);
      this.runs[this.runs.length - 1][1] = i + 1;
      before = tag;
    });
    this.position = null;
    this.byStep = false; // a time step at a time
    this.range = [0, 0]; // the events that are taking place
  }

  get phase() {
    if (this.position === null || this.position === 0) return "";
    return this.position <= this.count ? "forward" : "backward";
  }

  // Positions where a stride ends.
  stops() {
    if (!this.byStep) return null;
    const forward = this.runs.map(([, end]) => end);
    const backward = [...this.runs].reverse().map(([start]) => 2 * this.count - start);
    return [0, ...forward, ...(this.last > this.count ? backward : [])];
  }

  go(position) {
    this.position = position === null ? null : between(0, Math.round(position), this.last);
    if (this.byStep && position !== null) this.position = this.stops().find((stop) => stop >= this.position);
    const [p, n] = [this.position, this.count];
    if (!this.phase) this.range = [0, 0];
    else if (this.phase === "forward")
      this.range = [this.byStep ? this.runs.find(([a, b]) => a < p && p <= b)[0] : p - 1, p];
    else {
      const first = 2 * n - p;
      this.range = [first, this.byStep ? this.runs.find(([a, b]) => a <= first && first < b)[1] : first + 1];
    }
  }

  stride(direction) {
    const at = this.position ?? (direction > 0 ? 0 : this.last + 1);
    const stops = this.stops();
    if (!stops) return this.go(at + direction);
    const ahead = direction > 0 ? stops.find((stop) => stop > at) : [...stops].reverse().find((stop) => stop < at);
    return this.go(ahead ?? at);
  }

  get atEnd() {
    return this.position === this.last;
  }

  // "todo", "done" or "now" for one node of the tape; "" while its gradient is still to come.
  stateOf(id) {
    if (!this.phase) return this.position === 0 ? (this.index.has(id) ? "todo" : "") : "";
    const i = this.index.get(id);
    if (i === undefined) return this.stateOfGiven(id);
    if (i >= this.range[0] && i < this.range[1]) return "now";
    if (this.phase === "forward") return i < this.range[0] ? "done" : "todo";
    return i >= this.range[1] ? "done" : "";
  }

  // A given value lights up with its first use, and has its gradient when all its users have theirs.
  stateOfGiven(id) {
    if (this.phase === "backward") return this.arrived(id) === 1 ? "done" : "";
    const used = this.model.outOf(id).some((edge) => this.index.get(edge.target) < this.range[1]);
    return used ? "done" : "todo";
  }

  // The share of a parameter's uses whose part of the gradient has arrived.
  arrived(id) {
    const uses = this.model
      .outOf(id)
      .map((edge) => this.index.get(edge.target))
      .filter((i) => i !== undefined);
    if (!uses.length) return 0;
    return uses.filter((i) => i >= this.range[0]).length / uses.length;
  }

  // The same for what is visible, a cluster or an inner node too.
  state(node) {
    if (this.position === null) return "";
    if (node.owner) return this.stateOf(node.owner);
    if (!node.members) return this.stateOf(node.id);
    const events = this.eventsOf(node.members);
    if (!this.phase || !events.length) return this.position === 0 && events.length ? "todo" : "";
    const [first, end] = this.range;
    const next = events[lowerBound(events, first)]; // the first that is not before
    if (next < end) return "now";
    if (this.phase === "forward") return events[0] < first ? "done" : "todo";
    return events[events.length - 1] >= end ? "done" : "";
  }

  // The numbers of the events of a group, in their order.
  eventsOf(members) {
    if (!this.groups.has(members)) {
      const found = members.map((node) => this.index.get(node.id)).filter((event) => event !== undefined);
      this.groups.set(members, found.sort((a, b) => a - b));
    }
    return this.groups.get(members);
  }

  current() {
    return this.events.slice(...this.range);
  }

  describe() {
    const n = this.count;
    if (this.position === null) return "whole graph";
    if (this.position === 0) return "before the first operation";
    const nodes = this.current();
    const where = scopeText(nodes[0].scope);
    const what = nodes.length === 1 ? nodeTitle(nodes[0]) : `${nodes.length} operations`;
    const place = this.phase === "forward" ? `forward ${this.position} / ${n}` : `backward ${this.position - n} / ${n}`;
    return `${place}: ${what}${where ? ` in ${where}` : ""}`;
  }
}

// The first place in a sorted list with a number that is not less.
function lowerBound(sorted, number) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The same text for the same time step of the same loop; outside of steps, for everything between two loops.
function timeTag(node) {
  const last = node.scope.map(isStep).lastIndexOf(true);
  return last < 0 ? "" : scopeKey(node.scope.slice(0, last + 1));
}
