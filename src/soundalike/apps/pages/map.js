// The map: points, zoom, hover, keys, play. One function with elements.js before it and map_list.js after it.
const page = document.documentElement;
window.addEventListener("error", event => { page.dataset.error = event.message || "error"; });
const data = JSON.parse(byId("data").textContent);
const total = data.x.length;
const canvas = byId("canvas"), context = canvas.getContext("2d"), tip = byId("tip"), player = byId("player");
const HUES = 7, SHOWN_AT_ONCE = 300, MOST_LABELS = 14;
let colouring = data.colourings[data.colour];
let off = new Set(), query = "", pointed = -1, playing = -1, bright = -1, view = null, rows = 0, heard = null;
let across = data.x, up = data.y;
let width = 0, height = 0, asked = false, sprites = new Map(), colours = [], labels = [];
const shown = new Uint8Array(total).fill(1);
const searched = data.name.map((name, i) => (data.folder[i] + "/" + name).normalize("NFC").toLowerCase());

// ---- what a sound is called ----

function length(i) { return duration(data.seconds[i]); }
function group(i) { return colouring.groups[colouring.of[i]]; }
function details(i) {
  const parts = [data.folder[i], colouring.name === "cluster" ? "cluster: " + group(i).replace(/^cluster /, "") : "", length(i)];
  return parts.filter(part => part);
}
function mark(number) {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "-7 -7 14 14");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", data.shapes[shapeOf(number)]);
  path.style.fill = "var(--hue" + number % HUES + ")";
  svg.append(path);
  return svg;
}
// the shape shifts with each round through the hues, so that pairs of both differ
function shapeOf(number) { return (number + Math.floor(number / HUES)) % data.shapes.length; }

// ---- drawing ----

function radius() {
  const base = Math.min(6.5, Math.max(2.4, 8.4 - 1.5 * Math.log10(total)));
  return base * Math.min(2, Math.max(0.8, Math.pow(view.scale / view.whole, 0.35)));
}
function sprite(number, size) {
  const key = (number % HUES) * data.shapes.length + shapeOf(number);
  if (!sprites.has(key)) {
    const ratio = window.devicePixelRatio || 1, made = document.createElement("canvas");
    made.width = made.height = Math.ceil((2.6 * size + 2) * ratio);
    const pen = made.getContext("2d");
    pen.translate(made.width / 2, made.height / 2);
    pen.scale(ratio * size / 5, ratio * size / 5);
    const path = new Path2D(data.shapes[shapeOf(number)]);
    pen.fillStyle = colours[number % HUES];
    pen.fill(path);
    pen.lineWidth = 5 / size;
    pen.strokeStyle = colours.edge;
    pen.stroke(path);
    sprites.set(key, made);
  }
  return sprites.get(key);
}
function place(i) { return [across[i] * view.scale + view.x, view.y - up[i] * view.scale]; }
function draw() {
  asked = false;
  if (!width || !height) return;
  const ratio = window.devicePixelRatio || 1, size = Math.round(radius() * 4) / 4;
  if (sprites.size_ !== size) { sprites = new Map(); sprites.size_ = size; }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const edge = 1.3 * size + 1, side = 2 * edge;
  for (const pass of [0, 1]) {
    for (let i = 0; i < total; i++) {
      const front = shown[i] && (bright < 0 || colouring.of[i] === bright);
      if ((pass === 1) !== Boolean(front)) continue;
      if (!front && off.has(colouring.of[i])) continue;  // who is switched off is gone, who is not searched is faint
      const [x, y] = place(i);
      if (x < -edge || y < -edge || x > width + edge || y > height + edge) continue;
      context.globalAlpha = front ? 0.92 : 0.1;
      context.drawImage(sprite(colouring.of[i], size), x - edge, y - edge, side, side);
    }
  }
  write();
  for (const i of [playing, pointed]) {
    if (i < 0 || off.has(colouring.of[i])) continue;
    const [x, y] = place(i), large = size * 1.5, edge = 1.3 * large + 1;
    context.drawImage(sprite(colouring.of[i], size), x - edge, y - edge, 2 * edge, 2 * edge);
    context.lineWidth = 2;
    context.strokeStyle = i === playing ? colours.line : colours.ink;
    ring(x, y, large + 5, 1);
    if (i === playing) {
      context.lineWidth = 3;
      context.strokeStyle = colours.accent;
      ring(x, y, large + 5, player.duration ? player.currentTime / player.duration : 0);
    }
  }
  if (playing >= 0 && !player.paused) redraw();
}
function ring(x, y, size, share) {
  context.beginPath();
  context.arc(x, y, size, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * share);
  context.stroke();
}
function write() {
  context.font = "600 13px " + getComputedStyle(document.body).fontFamily;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  for (const label of labels) {
    if (off.has(label.group)) continue;
    const wide = context.measureText(label.text).width / 2 + 4;
    let [x, y] = place(label.at);
    if (x < 0 || y < 0 || x > width || y > height) continue;
    x = Math.min(width - wide, Math.max(wide, x));
    y = Math.max(12, y - 16);
    const box = [x - wide, y - 10, x + wide, y + 10];
    if (taken.some(other => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
    taken.push(box);
    context.globalAlpha = bright >= 0 && bright !== label.group ? 0.15 : 1;
    context.lineWidth = 4;
    context.strokeStyle = colours.page;
    context.strokeText(label.text, x, y);
    context.fillStyle = colours.ink;
    context.fillText(label.text, x, y);
  }
  context.globalAlpha = 1;
}
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(draw);
}
function restyle() {
  const style = getComputedStyle(page), read = name => style.getPropertyValue("--" + name).trim();
  colours = Array.from({ length: HUES }, (_, hue) => read("hue" + hue));
  for (const name of ["page", "ink", "line", "accent", "edge"]) colours[name] = read(name);
  sprites = new Map();
  redraw();
}
// names stand where a group has the most of its own close by
function name() {
  labels = [];
  if (colouring.groups.length < 2 || colouring.groups.length > MOST_LABELS) return;
  colouring.groups.forEach((text, number) => {
    const own = [];
    for (let i = 0; i < total; i++) if (colouring.of[i] === number) own.push(i);
    const step = Math.max(1, Math.floor(own.length / 150)), some = own.filter((_, k) => k % step === 0);
    let best = Infinity, at = some[0];
    for (const i of some) {
      const near = some.map(j => Math.hypot(data.x[i] - data.x[j], data.y[i] - data.y[j])).sort((a, b) => a - b);
      const reach = near[Math.floor(near.length / 4)];
      if (reach < best) { best = reach; at = i; }
    }
    if (own.length) labels.push({ text: text.length > 28 ? text.slice(0, 27) + "…" : text, group: number, at: at, size: own.length });
  });
  labels.sort((a, b) => b.size - a.size);
}

// ---- where the map is looked at ----

function fit() {
  const extent = values => values.reduce((ends, at) => [Math.min(ends[0], at), Math.max(ends[1], at)], [Infinity, -Infinity]);
  const x = extent(data.x), y = extent(data.y);
  // directions mean nothing: a wide map is turned on a tall screen
  const turned = (x[1] - x[0] > y[1] - y[0]) !== (width > height);
  [across, up] = turned ? [data.y, data.x] : [data.x, data.y];
  const [low, high] = [0, 1].map(end => turned ? [y[end], x[end]] : [x[end], y[end]]);
  const margin = Math.min(48, 0.1 * Math.min(width, height));
  const wide = Math.max(high[0] - low[0], 0.01), tall = Math.max(high[1] - low[1], 0.01);
  const scale = Math.min((width - 2 * margin) / wide, (height - 2 * margin) / tall);
  view = {
    scale: scale, whole: scale,
    x: width / 2 - scale * (low[0] + high[0]) / 2, y: height / 2 + scale * (low[1] + high[1]) / 2,
  };
  redraw();
}
function zoom(factor, x, y) {
  const scale = Math.min(400 * view.whole, Math.max(0.5 * view.whole, view.scale * factor)), by = scale / view.scale;
  view.x = x + (view.x - x) * by;
  view.y = y + (view.y - y) * by;
  view.scale = scale;
  point(pointed, false);
  redraw();
}
function resize() {
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  if (!box.width || !box.height) return;
  const before = view && view.scale !== view.whole ? [width, height] : null;
  [width, height] = [box.width, box.height];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  sprites = new Map();
  if (before) {
    view.x += (width - before[0]) / 2;
    view.y += (height - before[1]) / 2;
  } else fit();
  redraw();
}

// ---- pointing and playing ----

function nearest(x, y, reach) {
  let best = reach * reach, found = -1;
  for (let i = 0; i < total; i++) {
    if (!shown[i]) continue;
    const right = across[i] * view.scale + view.x - x, down = view.y - up[i] * view.scale - y;
    const distance = right * right + down * down;
    if (distance <= best) { best = distance; found = i; }
  }
  return found;
}
function point(i, say) {
  const changed = i !== pointed;
  pointed = i;
  tip.hidden = i < 0;
  canvas.classList.toggle("on", i >= 0);
  if (i >= 0) {
    if (changed) {
      tip.replaceChildren(element("b"), element("span"));
      tip.firstChild.append(element("bdi", data.name[i]));
      details(i).forEach((part, k) => tip.lastChild.append(k ? " · " : "", element("bdi", part)));
    }
    const [x, y] = place(i), gap = 1.5 * radius() + 10, wide = tip.offsetWidth, tall = tip.offsetHeight;
    const left = Math.min(Math.max(4, x - wide / 2), Math.max(4, width - wide - 4));
    const top = y - gap - tall < 4 ? Math.min(y + gap, height - tall - 4) : y - gap - tall;
    tip.hidden = x < 0 || y < 0 || x > width || y > height;
    tip.style.transform = "translate(" + Math.round(left) + "px," + Math.round(top) + "px)";
  }
  if (changed) {
    if (say) tell();
    redraw();
  }
}
function tell(problem) {
  const i = playing >= 0 ? playing : pointed, now = byId("now");
  if (i < 0) { now.replaceChildren(element("span", "Click a point to hear it.", "soft")); return; }
  const line = element("span", " · " + (problem || details(i).join(" · ")), "soft");
  line.dir = "auto";
  now.replaceChildren(playing >= 0 ? "▶ " : "", element("bdi", data.name[i]), line);
  now.title = data.name[i];
}
function source(i) {
  if (data.links) return data.links[i];
  if (heard === null) heard = JSON.parse(byId("heard").textContent);
  return heard[i] ? "data:audio/mpeg;base64," + heard[i] : "";
}
function stop() {
  const before = playing;
  playing = -1;
  player.pause();
  sign(before, false);
  tell();
  redraw();
}
function play(i) {
  if (playing === i && !player.paused) { stop(); return; }
  sign(playing, false);
  const from = source(i);
  playing = -1;
  player.pause();
  pointed = i;
  if (!from) { tell("its file could not be read"); redraw(); return; }
  playing = i;
  player.src = from;
  player.play().catch(error => {
    if (error.name === "AbortError" || playing !== i) return;  // another one was asked for meanwhile
    stop();
    tell(error.name === "NotAllowedError" ? "click a point once, then the browser lets sounds play" : "the browser cannot play it");
  });
  sign(i, true);
  tell();
  redraw();
}
function sign(i, on) {
  const row = i < 0 ? null : byId("row" + i);
  if (!row) return;
  row.classList.toggle("playing", on);
  row.querySelector("button").setAttribute("aria-label", (on ? "Stop " : "Play ") + data.name[i]);
}
player.addEventListener("ended", stop);

const fingers = new Map();
let start = null, moved = false;
canvas.addEventListener("pointerdown", event => {
  if (event.button !== 0) return;
  fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
  start = [event.offsetX, event.offsetY];
  if (fingers.size === 1) moved = false;
  try { canvas.setPointerCapture(event.pointerId); } catch (error) { /* the pointer has gone meanwhile */ }
});
canvas.addEventListener("pointermove", event => {
  const here = [event.offsetX, event.offsetY], before = fingers.get(event.pointerId);
  if (!before) {
    const i = nearest(here[0], here[1], radius() + 7);
    const fresh = i !== pointed;
    point(i, true);
    if (fresh && i >= 0 && byId("hover").checked && playing !== i) play(i);
    return;
  }
  if (!moved && fingers.size === 1 && Math.hypot(here[0] - start[0], here[1] - start[1]) < 6) return;
  moved = true;
  canvas.classList.add("moving");
  const others = Array.from(fingers.entries()).filter(entry => entry[0] !== event.pointerId).map(entry => entry[1]);
  fingers.set(event.pointerId, here);
  if (others.length) {
    const other = others[0], spread = at => Math.max(10, Math.hypot(at[0] - other[0], at[1] - other[1]));
    const middle = at => [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2], to = middle(here), from = middle(before);
    view.x += to[0] - from[0];
    view.y += to[1] - from[1];
    zoom(spread(here) / spread(before), to[0], to[1]);
  } else {
    view.x += here[0] - before[0];
    view.y += here[1] - before[1];
    point(-1, false);
  }
  redraw();
});
function lift(event) {
  if (!fingers.delete(event.pointerId)) return;
  if (fingers.size === 0) canvas.classList.remove("moving");
  if (moved || event.type === "pointercancel") return;
  const i = nearest(event.offsetX, event.offsetY, event.pointerType === "touch" ? 26 : radius() + 7);
  point(i, false);
  if (i >= 0) play(i);
  else if (playing >= 0) stop();
}
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
canvas.addEventListener("pointerleave", event => { if (!fingers.size && event.pointerType === "mouse") point(-1, true); });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const step = event.deltaMode === 1 ? 30 * event.deltaY : event.deltaY;
  zoom(Math.exp(-Math.max(-300, Math.min(300, step)) * (event.ctrlKey ? 0.01 : 0.002)), event.offsetX, event.offsetY);
}, { passive: false });

// ---- keys ----

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function neighbour(direction) {
  if (pointed < 0 || !shown[pointed]) return nearest(width / 2, height / 2, Infinity);
  const [x, y] = place(pointed);
  let best = Infinity, found = pointed;
  for (let i = 0; i < total; i++) {
    if (!shown[i] || i === pointed) continue;
    const [a, b] = place(i), along = (a - x) * direction[0] + (b - y) * direction[1];
    const aside = Math.abs((a - x) * direction[1]) + Math.abs((b - y) * direction[0]);
    if (along <= 0) continue;
    const cost = Math.hypot(along, aside) * (aside <= along ? 1 : 3 + 3 * aside / along);  // rather ahead than aside
    if (cost < best) { best = cost; found = i; }
  }
  return found;
}
canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (ARROWS[event.key]) {
    const i = neighbour(ARROWS[event.key]);
    if (i >= 0) {
      const [x, y] = place(i), margin = 40;
      view.x += Math.max(margin - x, 0) + Math.min(width - margin - x, 0);
      view.y += Math.max(margin - y, 0) + Math.min(height - margin - y, 0);
      if (playing >= 0) stop();
      point(i, true);
      if (byId("hover").checked) play(i);
    }
  } else if (event.key === "Enter" || event.key === " ") {
    if (pointed >= 0) play(pointed);
  } else if (event.key === "Escape") {
    if (playing >= 0) stop();
    else point(-1, true);
  } else if (event.key === "+" || event.key === "=") zoom(1.4, width / 2, height / 2);
  else if (event.key === "-") zoom(1 / 1.4, width / 2, height / 2);
  else if (event.key === "0") fit();
  else return;
  event.preventDefault();
  redraw();
});
document.addEventListener("keydown", event => {
  if (event.key !== "/" || event.target.matches("input")) return;
  event.preventDefault();
  byId("search").focus();
});
