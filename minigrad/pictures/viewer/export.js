// Files of what is shown: SVG, PNG, and a film (WebM, or MP4) of the playback.

const FILMS = ["webm", "mp4"]; // not every browser can make the first

// The part of a canvas's context that Drawing uses, which writes SVG instead of pixels.
class SvgContext {
  constructor() {
    this.parts = [];
    this.path = [];
    this.stack = [];
    this.matrix = [1, 0, 0, 1, 0, 0];
    Object.assign(this, { fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, globalAlpha: 1, dash: [] });
    Object.assign(this, { font: SMALL, textAlign: "left", textBaseline: "middle" });
  }

  save() {
    this.stack.push({ matrix: this.matrix, clipped: this.clipped, alpha: this.globalAlpha });
  }

  restore() {
    const { matrix, clipped, alpha } = this.stack.pop();
    Object.assign(this, { matrix, clipped, globalAlpha: alpha });
  }

  setTransform() {} // the file has units of the graph

  translate(x, y) {
    const [a, b, c, d, e, f] = this.matrix;
    this.matrix = [a, b, c, d, a * x + c * y + e, b * x + d * y + f];
  }

  rotate(angle) {
    const [a, b, c, d, e, f] = this.matrix;
    const [s, t] = [Math.sin(angle), Math.cos(angle)];
    this.matrix = [a * t + c * s, b * t + d * s, c * t - a * s, d * t - b * s, e, f];
  }

  scale(x, y) {
    const [a, b, c, d, e, f] = this.matrix;
    this.matrix = [a * x, b * x, c * y, d * y, e, f];
  }

  beginPath() {
    this.path = [];
  }

  moveTo(x, y) {
    this.path.push(`M${short(x)} ${short(y)}`);
  }

  lineTo(x, y) {
    this.path.push(`L${short(x)} ${short(y)}`);
  }

  bezierCurveTo(...points) {
    this.path.push(`C${points.map(short).join(" ")}`);
  }

  arc(x, y, r) {
    this.path.push(`M${short(x - r)} ${short(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`);
  }

  ellipse(x, y, a, b) {
    const half = (dx) => `a${short(a)} ${short(b)} 0 1 0 ${short(dx)} 0`;
    this.path.push(`M${short(x - a)} ${short(y)}${half(2 * a)}${half(-2 * a)}Z`);
  }

  roundRect(x, y, w, h, r) {
    const [i, j] = [w - 2 * r, h - 2 * r];
    const turn = (dx, dy) => `a${short(r)} ${short(r)} 0 0 1 ${short(dx)} ${short(dy)}`;
    this.path.push(`M${short(x + r)} ${short(y)}h${short(i)}${turn(r, r)}v${short(j)}${turn(-r, r)}`);
    this.path.push(`h${short(-i)}${turn(-r, -r)}v${short(-j)}${turn(r, -r)}Z`);
  }

  setLineDash(dash) {
    this.dash = dash;
  }

  clip() {
    this.clipped = true; // what is clipped on a canvas is small, and left out here
  }

  fill() {
    this.add(`<path d="${this.path.join("")}" fill="${this.fillStyle}"`);
  }

  stroke() {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    const line = `stroke="${this.strokeStyle}" stroke-width="${short(this.lineWidth)}"`;
    this.add(`<path d="${this.path.join("")}" fill="none" ${line}${dash}`);
  }

  fillRect(x, y, w, h) {
    this.add(`<rect x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}" fill="${this.fillStyle}"`);
  }

  strokeRect(x, y, w, h) {
    const size = `width="${short(w)}" height="${short(h)}"`;
    this.add(`<rect x="${short(x)}" y="${short(y)}" ${size} fill="none" stroke="${this.strokeStyle}"`);
  }

  measureText(text) {
    ruler.font = this.font;
    return ruler.measureText(text);
  }

  fillText(text, x, y) {
    const [, style, size] = /^((?:italic |bold )*)([\d.]+)px/.exec(this.font);
    const anchor = this.textAlign === "center" ? "middle" : "start";
    const slanted = style.includes("italic") ? ' font-style="italic"' : "";
    const look = slanted + (style.includes("bold") ? ' font-weight="bold"' : "");
    const at = `x="${short(x)}" y="${short(y + 0.35 * size)}" font-size="${size}" text-anchor="${anchor}"`;
    this.add(`<text ${at}${look} fill="${this.fillStyle}"`, `${escaped(text)}</text>`);
  }

  add(open, inside = null) {
    if (this.clipped) return;
    const moved = this.matrix.some((value, k) => value !== [1, 0, 0, 1, 0, 0][k]);
    const matrix = moved ? ` transform="matrix(${this.matrix.map(short).join(" ")})"` : "";
    const alpha = this.globalAlpha < 1 ? ` opacity="${short(this.globalAlpha)}"` : "";
    this.parts.push(`${open}${alpha}${matrix}${inside === null ? "/>" : `>${inside}`}`);
  }
}

const short = (number) => String(Math.round(Number(number) * 100) / 100);
const escaped = (text) => text.replace(/[\u0000-\u001f]/g, " ").replaceAll("&", "&amp;").replaceAll("<", "&lt;");

class Exports {
  constructor(viewer) {
    this.viewer = viewer;
    byId("export").addEventListener("change", (event) => {
      const kind = event.target.value;
      event.target.value = "";
      this[kind]?.();
    });
  }

  // All of the graph as it is now, as the text of a file.
  svgText() {
    const { viewer } = this;
    const { x, y, w, h } = viewer.layout.bounds;
    const context = new SvgContext();
    const whole = { x: x - 20, y: y - 20, zoom: 1 };
    viewer.drawing.paint(viewer.scene(), context, whole, w + 40, h + 40);
    const box = [whole.x, whole.y, w + 40, h + 40].map(short).join(" ");
    const family = FONT.replaceAll('"', "'");
    const name = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
    const head = `<svg xmlns="${name}" viewBox="${box}" font-family="${family}">`;
    return `${head}\n${context.parts.join("\n")}\n</svg>\n`;
  }

  svg() {
    this.save(new Blob([this.svgText()], { type: "image/svg+xml" }), "svg");
  }

  png() {
    this.viewer.draw();
    this.viewer.canvas.toBlob((blob) => this.save(blob, "png"), "image/png");
  }

  // Plays from the start to the end, as it is seen.
  film() {
    const { viewer } = this;
    const ending = FILMS.find((kind) => MediaRecorder.isTypeSupported(`video/${kind}`));
    if (!ending) return viewer.say("this browser records no films");
    const type = `video/${ending}`;
    const recorder = new MediaRecorder(viewer.canvas.captureStream(30), { mimeType: type });
    const pieces = [];
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = () => this.save(new Blob(pieces, { type }), ending);
    viewer.goTo(0);
    recorder.start();
    viewer.play();
    viewer.whenPaused = () => setTimeout(() => recorder.stop(), 600);
    return viewer.say("recording");
  }

  save(blob, ending) {
    const link = element("a", { href: URL.createObjectURL(blob), download: `${document.title}.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    this.viewer.say(`saved ${link.download}`);
  }
}
