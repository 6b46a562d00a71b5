// The start: the graph is in the page, as JSON.

const viewer = new Viewer(unpacked(JSON.parse(byId("graph").textContent)));
