// What is learned so far: accuracy, its course, and each class.
import { element } from "./elements.js";

const SPACE = "http://www.w3.org/2000/svg", HUES = 7;
const percent = value => Math.round(100 * value) + " %";
const count = (number, what) => number.toLocaleString("en") + " " + what + (number === 1 ? "" : "s");

export function dot(place) {
  const made = element("span", "", "dot");
  made.style.background = place === null ? "var(--soft)" : "var(--hue" + place % HUES + ")";
  return made;
}

function drawing(tag, attributes) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// accuracy over labels, 0 to 100 % in height
function curve(history, chance) {
  const svg = drawing("svg", { viewBox: "0 0 240 84", class: "curve", role: "img" });
  const last = history[history.length - 1];
  svg.setAttribute("aria-label", "Accuracy from " + percent(history[0][1]) + " at " + history[0][0] + " labels to "
    + percent(last[1]) + " at " + last[0]);
  const most = Math.max(20, ...history.map(each => each[0]));
  const x = labels => (4 + 200 * labels / most).toFixed(1), y = share => (78 - 72 * share).toFixed(1);
  for (const share of [0, 0.5, 1]) {
    svg.append(drawing("line", { x1: 4, x2: 204, y1: y(share), y2: y(share), class: "grid" }));
    const text = drawing("text", { x: 209, y: Number(y(share)) + 3 });
    text.textContent = percent(share);
    svg.append(text);
  }
  svg.append(drawing("line", { x1: 4, x2: 204, y1: y(chance), y2: y(chance), class: "chance" }));
  svg.append(drawing("polyline", { points: history.map(each => x(each[0]) + "," + y(each[1])).join(" ") }));
  svg.append(drawing("circle", { cx: x(last[0]), cy: y(last[1]), r: 3.5 }));
  return svg;
}

function classRow(each, place, none) {
  const row = element("li"), name = element("bdi", each.name), bar = element("span", "", "recall");
  const key = element("kbd", none ? "0" : place < 9 ? String(place + 1) : "");
  const fill = element("i");
  fill.style.width = 100 * (each.recall || 0) + "%";
  bar.append(fill);
  bar.title = each.recall === null || each.recall === undefined ? "not tested yet" : percent(each.recall) + " right";
  const share = each.recall === null || each.recall === undefined ? "–" : percent(each.recall);
  row.append(key, dot(none ? null : place), name, element("span", String(each.count), "count"), bar, element("span", share, "share"));
  return row;
}

export function panel(root, state) {
  const parts = [], accuracy = state.accuracy;
  const figure = element("div", "", "figure");
  figure.append(element("b", accuracy ? percent(accuracy.value) : "–", accuracy ? "" : "waiting"));
  const said = element("p");
  if (accuracy) {
    said.append("right, by cross-validation", element("br"),
      element("span", "± " + Math.round(100 * accuracy.std) + " · " + accuracy.tested + " sounds, " + accuracy.how
        + " · chance " + percent(accuracy.chance), "soft"));
  } else said.append(element("span", "The accuracy shows after a few labels of two classes.", "soft"));
  figure.append(said);
  parts.push(figure);
  if (state.history.length > 1 && accuracy) parts.push(curve(state.history, accuracy.chance));
  const list = element("ul", "", "classes");
  list.append(...state.classes.map((each, place) => classRow(each, place, place === state.classes.length - 1)));
  parts.push(list);
  if (state.before !== null) {
    const ahead = state.by === "before" ? "still leads the queue" : "is behind your labels";
    parts.push(element("p", "The classifier you began with tells " + percent(state.before) + " of your labels right and " + ahead + ".", "soft"));
  }
  if (accuracy) parts.push(element("p", "Hard sounds are asked for first, so this estimate is rather low. Labels in random order make it honest.", "soft"));
  const notes = [...state.warnings];
  for (const each of state.failures) notes.push(each.name + ": " + each.reason);
  if (notes.length) {
    const more = element("details"), inside = element("ul", "", "notes");
    more.open = Boolean(root.querySelector("details.notes-box[open]"));
    more.className = "notes-box";
    inside.append(...notes.slice(0, 50).map(note => element("li", note)));
    more.append(element("summary", count(notes.length, "note")), inside);
    parts.push(more);
  }
  const place = element("p", "Labels: ", "soft place");
  place.append(element("bdi", state.table));
  parts.push(place);
  root.replaceChildren(...parts);
}
