// The numbers of what is being computed, beside it.

// The number of nodes that a rectangle would hide.
function covered(layout, { x, y, w, h }, own) {
  let count = 0;
  for (const box of layout.boxes.values()) {
    if (box !== own && box.x < x + w && box.x + box.w > x && box.y < y + h && box.y + box.h > y) count++;
  }
  return count;
}

// The numbers of what is being computed, under it or above.
function drawCallout(drawing, node, box) {
  const { context: c, zoom, window: sight } = drawing;
  const { phase, layout } = drawing.scene;
  const numbers = phase === "backward" ? numbersOf(node, "grad") : numbersOf(node, "value");
  const word = phase === "backward" ? "gradient" : "value";
  const scalar = numbers && numbers.norm !== null && numbers.array !== null && !Array.isArray(numbers.array);
  const text = !numbers
    ? `${word} not kept`
    : scalar
      ? `${word} ${numberText(numbers.array)}`
      : `${word} ‖·‖ = ${numberText(numbers.norm)}`;
  const rows = numbers && Array.isArray(numbers.array) ? rowsOf(numbers.array) : [];
  c.save();
  const scale = 1 / Math.min(zoom, 1);
  c.font = `12px ${FONT}`;
  const cell = 9;
  const width = Math.max(c.measureText(text).width, rows.length ? rows[0].length * cell : 0) + 16;
  const height = 22 + (rows.length ? rows.length * cell + 6 : 0);
  const x = box.x + box.w / 2;
  const below = box.y + box.h + 8 * scale;
  const above = box.y - (8 + height) * scale;
  const hidden = (y) => covered(layout, { x: x - (width / 2) * scale, y, w: width * scale, h: height * scale }, box);
  c.translate(x, above > sight.y && hidden(above) < hidden(below) ? above : below);
  c.scale(scale, scale);
  roundRect(c, -width / 2, 0, width, height, 5);
  c.fillStyle = themed("#FFFFFF");
  c.fill();
  c.strokeStyle = phase === "backward" ? PALETTE.scale[6] : themed(FORWARD);
  c.lineWidth = 1.2;
  c.stroke();
  c.fillStyle = themed(INK);
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.fillText(text, 0, 11.5);
  const largest = Math.max(
    0,
    ...rows
      .flat()
      .map((n) => Math.abs(Number(n)))
      .filter(Number.isFinite),
  );
  rows.forEach((row, i) =>
    row.forEach((number, j) => {
      c.fillStyle = signedColour(Number(number), largest);
      c.fillRect((j - row.length / 2) * cell, 21 + i * cell, cell - 0.5, cell - 0.5);
      c.strokeStyle = "#DADADA";
      c.lineWidth = 0.5;
      c.strokeRect((j - row.length / 2) * cell, 21 + i * cell, cell - 0.5, cell - 0.5);
    }),
  );
  c.restore();
}

// Of a node with several outputs, the first is shown first.
function numbersOf(node, which) {
  if (node[which]) return node[which];
  const first = (node.outputs || []).find((output) => output[which]);
  return first ? first[which] : null;
}

// Nested lists of any depth as rows of numbers.
function rowsOf(array) {
  if (!Array.isArray(array)) return [[array]];
  if (!array.length || !Array.isArray(array[0])) return [array];
  return array.flatMap(rowsOf);
}
