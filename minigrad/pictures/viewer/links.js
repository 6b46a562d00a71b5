// Links to a step: page.html#t=3,backward opens the page at that step, and stepping through time writes such links.

class Links {
  constructor(viewer) {
    this.viewer = viewer;
    window.addEventListener("hashchange", () => this.follow());
  }

  follow() {
    const { playback } = this.viewer;
    const words = decodeURIComponent(location.hash.slice(1)).split(",");
    const [label, step] = (words.find((word) => word.includes("=")) || "").split("=");
    if (!label || location.hash === this.text()) return;
    const backward = words.includes("backward");
    const found = playback.runs.find(([first]) =>
      playback.events[first].scope.some((entry) => isStep(entry) && entry[0] === label && entry[1] === Number(step)),
    );
    if (!found) return;
    playback.byStep = true;
    byId("stride").value = "time";
    this.viewer.goTo(backward ? 2 * playback.count - found[0] : found[1]);
  }

  // The link to where the reader is; "" outside of steps.
  text() {
    const { playback } = this.viewer;
    const [node] = playback.current();
    const step = node && [...node.scope].reverse().find(isStep);
    return step ? `#${step[0]}=${step[1]},${playback.phase}` : "";
  }

  write() {
    if (location.protocol === "about:") return; // a page inside a notebook
    history.replaceState(null, "", this.text() || location.pathname + location.search);
  }
}
