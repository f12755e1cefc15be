// The knobs of a voice by group, each with where the views have it, and δ of each group.
import { byId, element } from "./elements.js";

const STEPS = 1000, LEAST = 0.001, NEW = "new";
// small δ get most of a slider's way: its position is the cube root
const place = delta => Math.round(100 * Math.cbrt(delta));
const size = at => at === 0 ? 0 : Number(Math.max(LEAST, (at / 100) ** 3).toPrecision(2));

export class Knobs {
  // moved(name, position or null), nudged(group, δ or null): a person has changed one; null is back to the start
  constructor(root, moved, nudged) {
    this.root = root;
    this.moved = moved;
    this.nudged = nudged;
    this.knobs = [];  // in the order of a patch
    this.groups = [];
  }

  build(about) {
    const open = new Set([...this.root.querySelectorAll("details[open]")].map(each => each.dataset.group));
    this.knobs = [];
    this.groups = [];
    const made = about.groups.map((group, at) => this.group(group, this.voice === about.voice ? open.has(group.name) : at < 2));
    this.voice = about.voice;
    this.root.replaceChildren(...made);
    return this;
  }

  group(group, open) {
    const box = element("details"), head = element("summary"), within = element("span", "", "within");
    box.open = open;
    box.dataset.group = group.name;
    head.append(element("b", group.name), element("span", group.knobs.length + (group.knobs.length === 1 ? " knob" : " knobs"), "soft"), within);
    const row = element("div", "", "delta"), slider = element("input"), fresh = element("button", NEW), said = element("output");
    slider.type = "range";
    slider.min = 0;
    slider.max = 100;
    slider.setAttribute("aria-label", "δ of " + group.name);
    fresh.type = "button";
    fresh.title = "Draw this group anew for each view";
    fresh.setAttribute("aria-label", "Draw " + group.name + " anew for each view");
    row.append(element("label", "δ"), slider, said, fresh);
    const entry = { name: group.name, start: group.delta, box: box, slider: slider, fresh: fresh, said: said, within: within, last: group.delta === NEW ? 0.1 : group.delta };
    const turn = () => this.nudged(group.name, fresh.getAttribute("aria-pressed") === "true" ? entry.last : NEW);
    slider.addEventListener("input", () => { entry.last = size(Number(slider.value)); this.nudged(group.name, entry.last); });
    fresh.addEventListener("click", turn);
    row.addEventListener("keydown", event => {
      if (event.key === "n") turn();
      else if (event.key === "Backspace" || event.key === "Delete") this.nudged(group.name, null);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.groups.push(entry);
    const knobs = element("div", "", "knobs");
    knobs.append(...group.knobs.map(knob => this.knob(knob, group.name)));
    box.append(head, element("p", group.about, "soft"), row, knobs);
    return box;
  }

  knob(knob, group) {
    const row = element("div", "", "knob"), name = element("label", knob.label), way = element("span", "", "way"), slider = element("input");
    const said = element("output"), a = element("i", "", "a"), b = element("i", "", "b");
    slider.type = "range";
    slider.id = "knob-" + knob.name;
    slider.min = 0;
    slider.max = STEPS;
    name.htmlFor = slider.id;
    row.title = knob.name;
    way.append(slider, a, b);
    row.append(name, way, said);
    slider.addEventListener("input", () => this.moved(knob.name, Number(slider.value) / STEPS));
    slider.addEventListener("dblclick", () => this.moved(knob.name, null));
    slider.addEventListener("keydown", event => {
      if (event.key !== "Backspace" && event.key !== "Delete") return;
      event.preventDefault();
      this.moved(knob.name, null);
    });
    this.knobs[knob.place] = { name: knob.name, row: row, slider: slider, said: said, a: a, b: b };
    return row;
  }

  // δ as a person has set them, at once
  show(knobs, delta) {
    for (const each of this.groups) {
      const value = delta[each.name] === undefined ? each.start : delta[each.name], fresh = value === NEW;
      each.fresh.setAttribute("aria-pressed", String(fresh));
      each.box.classList.toggle("anew", fresh);
      if (document.activeElement !== each.slider || fresh) each.slider.value = fresh ? 100 : place(value);
      each.said.textContent = fresh ? "" : String(value);
      each.slider.setAttribute("aria-valuetext", fresh ? "drawn anew" : String(value));
      each.within.textContent = fresh ? "new" : value === 0 ? "same" : "δ " + value;
    }
    for (const each of this.knobs) each.row.classList.toggle("moved", knobs[each.name] !== undefined);
  }

  // where the server says that everything stands
  fill(pair, knobs) {
    this.knobs.forEach((each, at) => {
      if (knobs[each.name] === undefined || document.activeElement !== each.slider) each.slider.value = Math.round(STEPS * pair.patch[at]);
      each.said.textContent = pair.words[at];
      each.slider.setAttribute("aria-valuetext", pair.words[at]);
      each.a.style.setProperty("--at", pair.a[at]);
      each.b.style.setProperty("--at", pair.b[at]);
    });
    for (const each of this.groups) each.box.querySelector("summary").title = pair.within[each.name];
  }
}

export function changes(told) {
  const most = told.most.length ? "Differs most in " + told.most.join(", then ") + "." : "Hardly anything differs.";
  byId("most").textContent = most;
  byId("changes").replaceChildren(...told.changes.map(each => {
    const item = element("li"), said = element("span");
    said.append(element("b", each.label), ": " + each.words + " ", element("span", each.group, "tag"));
    item.append(said, element("span", each.heard.toFixed(1) + " dB", "db"));
    return item;
  }), ...(told.others ? [element("li", told.others + (told.others === 1 ? " other knob moves and is" : " other knobs move and are") + " heard less.", "soft")] : []));
}

export const signed = value => value.toFixed(2).replace("-", "−");

export function likeness(told) {
  byId("likeness").replaceChildren(...told.map(each => {
    const item = element("li"), line = element("p", "", "line"), scale = element("span", "", "scale"), range = element("i", "", "range"), dot = element("i", "", "dot");
    line.append(element("span", each.name), element("b", signed(each.similarity)));
    const across = value => 50 * (1 + value) + "%";
    range.style.left = across(each.unrelated[0]);
    range.style.width = 50 * (each.unrelated[1] - each.unrelated[0]) + "%";
    dot.style.left = across(each.similarity);
    scale.append(range, dot);
    scale.setAttribute("aria-hidden", "true");
    const nearer = each.closer ? each.closer + (each.closer === 1 ? " is" : " are") + " nearer than B" : "B is the nearest";
    item.append(line, scale, element("p", "Nearer than " + Math.floor(100 * each.nearer) + " % of unrelated pairs of this voice. Of " + each.others + " other patches, " + nearer + " to A.", "soft"));
    return item;
  }));
}
