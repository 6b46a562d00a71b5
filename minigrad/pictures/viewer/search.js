// Search by name, operation, scope and gate; all words must occur. Source lines are not searched: every operation of a
// line would be found.

class Search {
  constructor(model) {
    this.model = model;
    this.matches = []; // ids in the order of the tape
    this.at = -1;
  }

  find(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    this.at = -1;
    this.matches = [];
    if (!words.length) return;
    for (const node of this.model.everything()) {
      const text = searchText(node);
      if (words.every((word) => text.includes(word))) this.matches.push(node.id);
    }
  }

  // The nodes that stand for the matches in a layout, remembered until there are others or another layout.
  shownIn(layout) {
    const { matches } = this;
    if (this.shown?.matches !== matches || this.shown.layout !== layout) {
      const ids = new Set(matches.map((id) => this.model.representative(id)));
      this.shown = { matches, layout, ids };
    }
    return this.shown.ids;
  }

  // The next or the previous match; null if there is none.
  move(direction) {
    const n = this.matches.length;
    if (!n) return null;
    this.at = this.at < 0 ? (direction > 0 ? 0 : n - 1) : (this.at + direction + n) % n;
    return this.matches[this.at];
  }

  describe() {
    if (!this.matches.length) return "none";
    return this.at < 0 ? `${this.matches.length} found` : `${this.at + 1} / ${this.matches.length}`;
  }
}

function searchText(node) {
  const gates = (node.outputs || []).map((output) => output.label);
  const spelled = node.scope.map(entryLabel).join(" ");
  return [node.label, node.op, scopeText(node.scope), spelled, ...gates].join(" ").toLowerCase();
}
