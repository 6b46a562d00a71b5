// What a test does with the viewer, as a reader would: ["search:tanh", "step:5", "click:s"]. Runs in the page.

async function runTest(viewer, commands) {
  const nodeCalled = (text) =>
    viewer.layout.nodes.find((one) => one.id === text || nodeTitle(one) === text)?.id ?? null;
  const pointer = (type, x, y, id = 1) => {
    const { left, top } = viewer.canvas.getBoundingClientRect();
    viewer.canvas.dispatchEvent(
      new PointerEvent(type, { clientX: left + x, clientY: top + y, pointerId: id, bubbles: true }),
    );
  };
  const clickAt = (x, y) => {
    const { view } = viewer;
    const at = [(x - view.x) * view.zoom, (y - view.y) * view.zoom];
    for (const type of ["pointerdown", "pointerup"]) pointer(type, ...at);
  };
  const choose = (id, value) => {
    byId(id).value = value;
    byId(id).dispatchEvent(new Event("change"));
  };
  const known = {
    step: (n) => {
      byId("slider").value = n;
      byId("slider").dispatchEvent(new Event("input"));
    },
    wait: (ms) => new Promise((go) => setTimeout(go, Number(ms))),
    by: (what) => choose("stride", what),
    colour: (what) => choose("colour", what),
    press: (id) => byId(id).click(),
    key: (key) => viewer.canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })),
    search: (text) => {
      byId("query").value = text;
      byId("query").dispatchEvent(new Event("input"));
    },
    click: (text) => {
      const { x, y, w, h } = viewer.layout.boxes.get(nodeCalled(text));
      clickAt(x + w / 2, y + h / 2);
    },
    // a click on the sign of what can be opened
    open: (text) => {
      const { x, y, w, h } = viewer.layout.boxes.get(nodeCalled(text));
      clickAt(x + w - 13, y + h / 2);
    },
    // a click on the label of a cluster
    close: (text) => {
      const called = ({ label, scope }) => [label, scopeText(scope)].includes(text);
      const { x, y, h } = viewer.layout.clusters.find(called).header;
      clickAt(x + 12, y + h / 2);
    },
    select: (text) => viewer.select(nodeCalled(text)),
    wheel: (delta) =>
      viewer.canvas.dispatchEvent(
        new WheelEvent("wheel", { deltaY: Number(delta), clientX: 200, clientY: 200, cancelable: true }),
      ),
    hash: async (text) => {
      location.hash = text;
      await new Promise((go) => setTimeout(go, 50));
    },
    svg: () => (viewer.savedSvg = viewer.exports.svgText()),
    save: (kind) => {
      viewer.saved = [];
      viewer.exports.save = (blob, ending) => {
        const entry = [`test.${ending}`, blob.type];
        viewer.saved.push(entry);
        blob.arrayBuffer().then((data) => entry.push([...new Uint8Array(data.slice(0, 4))], data.byteLength));
      };
      choose("export", kind);
    },
    drag: (dx) => {
      pointer("pointerdown", 5, 5);
      pointer("pointermove", 5 + Number(dx), 5);
      pointer("pointerup", 5 + Number(dx), 5);
    },
    pinch: (factor) => {
      pointer("pointerdown", 100, 100, 1);
      pointer("pointerdown", 200, 100, 2);
      pointer("pointermove", 100 + 100 * Number(factor), 100, 2);
      pointer("pointerup", 100 + 100 * Number(factor), 100, 2);
      pointer("pointerup", 100, 100, 1);
    },
  };
  for (const command of commands) {
    const [name, ...rest] = command.split(":");
    await known[name](rest.join(":"));
  }
  viewer.draw();
  viewer.draw(); // what a frame takes when texts have been measured
  return testState(viewer);
}

function testState(viewer) {
  const { layout, playback, model } = viewer;
  const boxes = layout.nodes.map((node) => [node.id, layout.boxes.get(node.id)]);
  const states = (state) => layout.nodes.filter((node) => playback.state(node) === state).map((node) => node.id);
  return {
    nodes: layout.nodes.map((node) => node.id),
    titles: layout.nodes.map(nodeTitle),
    boxes: Object.fromEntries(boxes),
    routes: viewer.routes.length,
    edges: layout.edges.length,
    ways: viewer.routes.map(({ edge, points }) => ({
      source: edge.source,
      target: edge.target,
      points: pointsOf(points),
    })),
    texts: [
      ...layout.clusters.map((cluster) => {
        const x = titlePlace(cluster, cluster.x + 6);
        const { y, h } = cluster.header;
        return { text: cluster.label, x, y: y + h / 2 - 5, w: 16 + textWidth(cluster.label, SMALL), h: 10 };
      }),
      ...viewer.routes
        .filter((route) => route.mark)
        .map(({ mark: { text, x, y, w } }) => ({ text, x: x - w / 2, y: y - 5, w, h: 10 })),
    ],
    clusters: layout.clusters.map((cluster) => ({
      label: cluster.label,
      x: cluster.x,
      y: cluster.y,
      w: cluster.w,
      h: cluster.h,
    })),
    selected: viewer.selected,
    matches: viewer.search.matches,
    found: byId("found").textContent,
    position: playback.position,
    phase: playback.phase,
    current: playback.current().map((node) => node.id),
    done: states("done"),
    now: states("now"),
    arrived: Object.fromEntries(
      model.nodes
        .filter((node) => node.kind === "parameter")
        .map((node) => [node.id, playback.phase === "backward" ? playback.arrived(node.id) : 0]),
    ),
    colours: Object.fromEntries(layout.nodes.map((node) => [node.id, viewer.colourOf(node)])),
    playing: viewer.timer !== null,
    view: { x: viewer.view.x, y: viewer.view.y, zoom: viewer.view.zoom },
    panel: byId("panel").innerText,
    documentTitle: document.title,
    note: byId("note").innerText,
    hash: location.hash,
    svg: viewer.savedSvg || "",
    saved: viewer.saved || [],
    notFinite: Object.fromEntries(layout.nodes.map((node) => [node.id, viewer.brokenNow(node)])),
    page: Object.fromEntries(
      ["header", "footer", "canvas", "#note", "#legend", "aside"].map((which) => {
        const { x, y, width: w, height: h } = document.querySelector(which).getBoundingClientRect();
        return [which, { x, y, w, h }];
      }),
    ),
    window: { x: 0, y: 0, w: innerWidth, h: innerHeight, inner: document.documentElement.scrollWidth },
    graphOnScreen: {
      x: (layout.bounds.x - viewer.view.x) * viewer.view.zoom,
      w: layout.bounds.w * viewer.view.zoom,
    },
    broken: byId("broken").hidden ? "" : byId("broken").innerText,
    brokenCount: model.broken.size,
    help: byId("help").open ? byId("help").innerText : "",
    readout: byId("readout").textContent,
    legend: !byId("legend").hidden,
    legendText: byId("legend").innerText,
    openTime: viewer.openTime,
    layoutTime: viewer.layoutTime,
    drawTime: viewer.drawTime,
  };
}
