// What is shown, as legend and as list, and the buttons. Follows map.js.
// ---- what is shown ----

function filter() {
  let many = 0;
  const words = query.normalize("NFC").toLowerCase().split(/\s+/).filter(word => word);
  for (let i = 0; i < total; i++) {
    shown[i] = !off.has(colouring.of[i]) && words.every(word => searched[i].includes(word)) ? 1 : 0;
    many += shown[i];
  }
  page.dataset.shown = many;
  byId("shown").textContent = many < total ? ", " + many.toLocaleString("en") + " shown" : "";
  byId("none").hidden = many > 0;
  if (pointed >= 0 && !shown[pointed]) point(-1, true);
  if (!byId("list").hidden) fill();
  redraw();
}
function legend() {
  const counts = new Array(colouring.groups.length).fill(0);
  for (const number of colouring.of) counts[number]++;
  byId("legend").replaceChildren(...colouring.groups.map((text, number) => {
    const item = element("li"), button = element("button"), label = element("bdi", text);
    button.type = "button";
    button.title = text;
    button.append(mark(number), label, element("span", counts[number].toLocaleString("en"), "count"));
    button.setAttribute("aria-pressed", String(!off.has(number)));
    button.addEventListener("click", () => {
      if (!off.delete(number)) off.add(number);
      button.setAttribute("aria-pressed", String(!off.has(number)));
      filter();
    });
    button.addEventListener("mouseenter", () => { bright = off.has(number) ? -1 : number; redraw(); });
    button.addEventListener("mouseleave", () => { bright = -1; redraw(); });
    item.append(button);
    return item;
  }));
  byId("group-head").textContent = colouring.name === "folder" ? "Group" : "Cluster";
}
function choose(number) {
  colouring = data.colourings[number];
  off = new Set();
  bright = -1;
  point(-1, false);
  byId("by").querySelectorAll("button").forEach((button, k) => button.setAttribute("aria-pressed", String(k === number)));
  name();
  legend();
  filter();
  tell();
}
data.colourings.forEach((each, number) => {
  if (data.colourings.length < 2) return;
  const button = element("button", each.name === "folder" ? "Folders" : "Clusters");
  button.type = "button";
  button.addEventListener("click", () => choose(number));
  byId("by").append(button);
});
function all(on) {
  off = new Set(on ? [] : colouring.groups.keys());
  legend();
  filter();
}

// ---- the list ----

function fill(further) {
  const body = byId("rows"), order = [];
  for (let i = 0; i < total; i++) if (shown[i]) order.push(i);
  if (!further) { rows = 0; body.replaceChildren(); }
  for (const i of order.slice(rows, rows + SHOWN_AT_ONCE)) {
    const row = element("tr"), cells = Array.from({ length: 5 }, () => element("td")), button = element("button", "", "play");
    row.id = "row" + i;
    button.type = "button";
    button.disabled = !source(i);
    button.addEventListener("click", () => play(i));
    cells[0].append(button);
    cells[1].append(element("bdi", data.name[i]));
    cells[2].append(element("bdi", data.folder[i]));
    cells[2].className = "folder";
    const sort = element("span", "", "sort");
    sort.append(mark(colouring.of[i]), element("bdi", group(i)));
    cells[3].append(sort);
    cells[4].append(length(i));
    cells[4].className = "length";
    row.append(...cells);
    body.append(row);
    sign(i, i === playing);
  }
  rows = Math.min(order.length, rows + SHOWN_AT_ONCE);
  byId("more").hidden = rows >= order.length;
  byId("more").textContent = "Show more (" + (order.length - rows).toLocaleString("en") + ")";
}
function turn(list) {
  byId("list").hidden = !list;
  byId("map").hidden = list;
  byId("as-list").setAttribute("aria-pressed", String(list));
  byId("as-map").setAttribute("aria-pressed", String(!list));
  point(-1, true);
  if (list) fill();
  else resize();
}

byId("search").addEventListener("input", event => { query = event.target.value; filter(); });
byId("as-map").addEventListener("click", () => turn(false));
byId("as-list").addEventListener("click", () => turn(true));
byId("more").addEventListener("click", () => fill(true));
byId("all").addEventListener("click", () => all(true));
byId("nothing").addEventListener("click", () => all(false));
byId("in").addEventListener("click", () => zoom(1.5, width / 2, height / 2));
byId("out").addEventListener("click", () => zoom(1 / 1.5, width / 2, height / 2));
byId("fit").addEventListener("click", fit);
window.addEventListener("resize", resize);
if (window.ResizeObserver) new ResizeObserver(resize).observe(canvas);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);

const bytes = byId("heard").textContent.length + byId("data").textContent.length;
byId("size").textContent = (bytes / 1e6).toFixed(1) + " MB";
restyle();
resize();
choose(data.colour);
page.dataset.points = total;
window.soundMap = { place: place, play: play };  // where a sound is drawn (pixels of the canvas), and to play it
