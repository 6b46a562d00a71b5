// The effect of each button, slider and field of the page.

function wire(viewer) {
  const { canvas, playback } = viewer;
  const on = (id, event, action) => byId(id).addEventListener(event, action);
  byId("slider").max = playback.last;
  byId("later").hidden = playback.last === playback.count;
  on("slider", "input", (event) => viewer.goTo(Number(event.target.value)));
  on("play", "click", () => viewer.play());
  on("back", "click", () => viewer.stride(-1));
  on("on", "click", () => viewer.stride(1));
  on("leave", "click", () => viewer.leave());
  on("stride", "change", (event) => {
    playback.byStep = event.target.value === "time";
    if (playback.position !== null) viewer.goTo(playback.position);
    if (viewer.timer !== null) viewer.pause();
  });
  on("query", "input", (event) => viewer.find(event.target.value));
  on("query", "keydown", (event) => {
    if (event.key === "Enter") viewer.findNext(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") canvas.focus();
  });
  on("previous", "click", () => viewer.findNext(-1));
  on("next", "click", () => viewer.findNext(1));
  on("steps", "click", () => viewer.change(() => viewer.model.collapseAll(true)));
  on("modules", "click", () => viewer.change(() => viewer.model.collapseAll(false)));
  on("all", "click", () => viewer.change(() => viewer.model.expandAll()));
  on("closer", "click", () => viewer.view.zoomAt(1.25));
  on("farther", "click", () => viewer.view.zoomAt(0.8));
  on("broken", "click", () => viewer.toBroken());
  on("keys", "click", () => viewer.help());
  byId("broken").hidden = !viewer.model.broken.size;
  const { value, grad } = viewer.model.notFinite;
  const counted = [[value.length, "value"], [grad.length, "gradient"]].filter(([count]) => count);
  byId("broken").textContent = `not finite: ${counted
    .map(([count, word]) => `${count} ${word}${count > 1 ? "s" : ""}`)
    .join(", ")}`;
  byId("tools").addEventListener("click", () => viewer.fold("tools"));
  byId("about").addEventListener("click", () => viewer.fold("about"));
  DARK.addEventListener("change", () => viewer.refresh());
  viewer.exports = new Exports(viewer);
  on("fit", "click", () => viewer.view.fit());
  on("colour", "change", (event) => {
    viewer.coloured = event.target.value === "grad";
    viewer.showPanel();
    viewer.refresh();
  });
  byId("colour").options[1].text = viewer.quantity === "grad" ? "gradient norm" : "change";
  byId("colour").value = viewer.coloured ? "grad" : "kind";
  byId("colour").disabled = !viewer.scale.known;
  byId("readout").textContent = playback.describe();
  byId("note").textContent = viewer.model.options.note || "";
  byId("note").hidden = !viewer.model.options.note;
  viewer.scale.show();
  new Pointer(canvas, viewer);
  new Keys(viewer);
  viewer.view.fit(READABLE);
  new ResizeObserver(() => viewer.view.resized()).observe(canvas);
}
