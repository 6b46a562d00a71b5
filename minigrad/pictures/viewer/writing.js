// The texts in a node.

// The name of a node, in its box, with a smaller line below it or beside it, and the sign that opens it.
function writeNode(drawing, node, box, ink) {
  const { context: c, zoom } = drawing;
  const { look } = drawing.scene;
  const { head, small, circle } = look.text(node);
  const opens = node.inner || node.members;
  const x = box.x + box.w / 2 - (opens ? 9 : 0);
  const y = box.y + box.h / 2;
  c.fillStyle = ink;
  c.textAlign = "center";
  c.textBaseline = "middle";
  if (circle) {
    c.font = `15px ${FONT}`;
    c.fillText(head, x, y + 0.5);
    return;
  }
  const below = zoom * 10.5 > 4.5 ? small : "";
  if (look.textbook) writeScripted(c, look.fitting(head), look.fitting(below), x, y);
  else if (node.kind === "parameter") writeBeside(c, head, below, box, x, y);
  else writeBelow(c, head, below, box, x, y, node);
  if (opens) drawing.marker(box.x + box.w - 13, y, true);
}

function writeScripted(c, head, small, x, y) {
  drawScripted(c, head, x, small ? y - 6.5 : y + 0.5, 13);
  if (small) drawScripted(c, small, x, y + 9, 11);
}

function writeBeside(c, head, small, box, x, y) {
  const title = shortened(head, TITLE, box.w - 14);
  const end = shortened(small, SMALL, box.w - 14);
  c.font = TITLE;
  c.textAlign = "left";
  const width = c.measureText(title).width + (end ? 8 : 0);
  const start = x - (width + textWidth(end, SMALL)) / 2;
  c.fillText(title, start, y + 0.5);
  c.font = SMALL;
  if (end) c.fillText(end, start + width, y + 1);
}

function writeBelow(c, head, small, box, x, y, node) {
  const room = box.w - (node.kind === "input" ? 2 : 14) - (node.inner || node.members ? 22 : 0);
  c.font = node.kind === "output" ? `bold ${TITLE}` : TITLE;
  c.fillText(shortened(head, TITLE, room), x, small ? y - 6.5 : y + 0.5);
  c.font = SMALL;
  c.globalAlpha *= 0.85;
  if (small) c.fillText(shortened(small, SMALL, room), x, y + 9);
}
