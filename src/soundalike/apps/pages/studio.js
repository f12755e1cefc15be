// One pair of a voice: what is asked for lies in `asked`, and everything that is shown is an answer to it.
import { byId, duration, element } from "./elements.js";
import { Player } from "./player.js";
import { show } from "./spectrogram.js";
import { Knobs, changes, likeness, signed } from "./studio_knobs.js";

const SOUNDS = ["patch", "a", "b"], GROWING = [0.01, 0.03, 0.1, 0.2, 0.4, 1], PAUSE = 350, MOST_UNDONE = 200;
const page = document.documentElement;
let asked = { voice: "", seed: 0, knobs: {}, delta: {} }, about = null, version = 0, busy = false, changed = false, timer = 0;
let undone = [], lastKey = "";
window.addEventListener("error", event => { page.dataset.error = event.message || "error"; });
window.addEventListener("unhandledrejection", event => { page.dataset.error = String(event.reason); });

// ---- the server ----

const text = (delta = asked.delta) => JSON.stringify({ ...asked, delta: delta });
const address = (what, question = text()) => what + "?q=" + encodeURIComponent(question);
async function answer(what, question) {
  let given;
  try {
    given = await fetch(address(what, question));
  } catch (error) {
    throw new Error("The program has stopped: start it again, and open the address that it shows.");
  }
  if (!given.ok) throw new Error((await given.text()).trim());
  return given.json();
}
function notice(said) {
  byId("notice").hidden = !said;
  byId("notice").textContent = said || "";
}

// ---- what is asked for ----

const knobs = new Knobs(byId("panel"), (name, position) => change("knob " + name, next => {
  if (position === null) delete next.knobs[name]; else next.knobs[name] = position;
}), (group, delta) => change("delta " + group, next => {
  if (delta === null) delete next.delta[group]; else next.delta[group] = delta;
}));

// steps on one slider are undone together
function change(key, act) {
  const next = structuredClone(asked);
  act(next);
  if (JSON.stringify(next) === JSON.stringify(asked)) return;
  if (key !== lastKey || key === "random") undone.push(structuredClone(asked));
  undone = undone.slice(-MOST_UNDONE);
  lastKey = key;
  go(next);
}
function undo() {
  const before = undone.pop();
  lastKey = "";
  if (before) go(before);
}
function go(next) {
  const same = about && next.voice === asked.voice;
  asked = next;
  if (!same) { about = null; }
  version++;
  byId("undo").disabled = !undone.length;
  history.replaceState(null, "", "#" + encodeURIComponent(text()));
  byId("voice").value = asked.voice;
  byId("seed").value = asked.seed;
  if (about) knobs.show(asked.knobs, asked.delta);
  for (const [id, what] of [["save-a", "a.wav"], ["save-b", "b.wav"], ["save-recipe", "recipe.yaml"]]) byId(id).href = address(what);
  render();
}

// one question at a time: while a slider moves, the newest is asked when the last one is answered
async function render() {
  if (busy) { changed = true; return; }
  busy = true;
  do {
    changed = false;
    const question = text();
    try {
      if (!about) {
        const told = await answer("about", question);
        if (told.voice !== asked.voice) { changed = true; continue; }
        about = told;
        knobs.build(about);
        knobs.show(asked.knobs, asked.delta);
        byId("axis").textContent = about.knobs + " knobs · " + duration(about.seconds) + " · 50 Hz to 8 kHz";
      }
      const pair = await answer("pair", question);
      await Promise.all(SOUNDS.map(sound => show(canvas(sound), address(sound + ".levels", question))));
      if (pair.patch.length === knobs.knobs.length && question === text()) knobs.fill(pair, asked.knobs);
      notice("");
    } catch (error) {
      notice(error.message);
    }
  } while (changed);
  busy = false;
  page.dataset.rendered = version;
  clearTimeout(timer);
  timer = setTimeout(() => settle(version).catch(error => notice(error.message)), PAUSE);
}

// what takes longer, once nothing moves any more
async function settle(of) {
  if (!byId("notice").hidden) return;
  if (byId("each").checked) playBoth();
  const question = text(), still = () => of === version;
  const alike = await answer("likeness", question);
  if (!still()) return;
  likeness(alike);
  const words = await answer("changes", question);
  if (!still()) return;
  changes(words);
  page.dataset.settled = of;
  for (const [place, delta] of GROWING.entries()) {
    const cell = byId("row").children[place], own = text(grown(delta));
    cell.question = own;
    await answer("pair", own);
    if (!still()) return;
    const told = await answer("likeness", own);
    if (!still()) return;
    await Promise.all([...cell.querySelectorAll("canvas")].map(each => show(each, address(each.dataset.sound + ".levels", own))));
    cell.querySelector(".similarity").textContent = signed(told[0].similarity);
  }
  page.dataset.row = of;
}

// δ where every group that is nudged has this one; all of them where none is
function grown(delta) {
  const own = Object.fromEntries(about.groups.map(group => [group.name, asked.delta[group.name] === undefined ? group.delta : asked.delta[group.name]]));
  const nudged = Object.keys(own).filter(name => own[name] !== "new" && own[name] > 0);
  for (const name of nudged.length ? nudged : Object.keys(own)) own[name] = delta;
  return own;
}

// ---- playing ----

const figure = sound => document.querySelector("figure[data-sound=" + sound + "]");
const canvas = sound => figure(sound).querySelector("canvas");
let then = null;
const player = new Player((key, share) => {
  for (const box of document.querySelectorAll("figure, #row li")) {
    const here = key !== null && box.dataset.key !== undefined && key.startsWith(box.dataset.key + " ");
    box.classList.toggle("playing", here);
    if (here && box.querySelector("i")) box.querySelector("i").style.left = 100 * share + "%";
  }
  byId("both").textContent = key === null ? "Play A, then B" : "Stop";
  if (key === null && then) {
    const next = then;
    then = null;
    if (!stopped) next();
  }
});
let stopped = false;
function stop() {
  stopped = true;
  then = null;
  player.stop();
  stopped = false;
}
function play(box, sound, question = text()) {
  const key = box + " " + sound;
  if (player.key === key) { stop(); return; }
  stop();
  player.play(key, address(sound + ".wav", question)).catch(error => notice(error.message));
}
// A, then B
function pair(boxes, question) {
  stop();
  player.play(boxes[0] + " a", address("a.wav", question)).catch(error => notice(error.message));
  player.ahead(address("b.wav", question)).catch(() => {});
  then = () => player.play(boxes[1] + " b", address("b.wav", question)).catch(error => notice(error.message));
}
function playBoth() { if (about) pair(["a", "b"], text()); }
function playRow(place) {
  const cell = byId("row").children[place];
  if (cell.question) pair([cell.dataset.key, cell.dataset.key], cell.question);
}

// ---- keys and buttons ----

function random() {
  change("random", next => {
    next.seed = crypto.getRandomValues(new Uint32Array(1))[0];
    next.knobs = {};
  });
}
const KEYS = {
  r: random, u: undo, p: () => play("patch", "patch"), a: () => play("a", "a"), b: () => play("b", "b"),
  " ": () => (player.key === null ? playBoth() : stop()), "?": () => byId("keys").showModal(),
};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.target.matches("select, input[type=number]")) return;
  if ((event.key === " " || event.key === "Enter") && event.target.matches("button, summary, a, input[type=checkbox]")) return;
  const key = event.key.length > 1 ? event.key : event.key.toLowerCase();
  if (/^[1-6]$/.test(key)) playRow(Number(key) - 1);
  else if (KEYS[key]) KEYS[key]();
  else return;
  event.preventDefault();
});
for (const sound of SOUNDS) {
  figure(sound).dataset.key = sound;
  figure(sound).querySelector(".play").addEventListener("click", () => play(sound, sound));
  figure(sound).querySelector(".picture").addEventListener("click", () => play(sound, sound));
}
byId("row").append(...GROWING.map((delta, place) => {
  const cell = element("li"), button = element("button"), name = element("span", "", "name"), pictures = element("span", "", "pictures");
  cell.dataset.key = "row" + place;
  button.type = "button";
  name.append(element("kbd", String(place + 1)), element("span", "δ " + delta), element("b", "", "similarity"));
  for (const sound of ["a", "b"]) {
    const made = element("canvas");
    made.dataset.sound = sound;
    made.setAttribute("aria-hidden", "true");
    pictures.append(made);
  }
  button.append(pictures, name);
  button.addEventListener("click", () => playRow(place));
  cell.append(button);
  return cell;
}));
byId("random").addEventListener("click", random);
byId("undo").addEventListener("click", undo);
byId("both").addEventListener("click", KEYS[" "]);
byId("help").addEventListener("click", KEYS["?"]);
byId("keys-close").addEventListener("click", () => byId("keys").close());
byId("voice").addEventListener("change", event => change("random", next => {
  Object.assign(next, { voice: event.target.value, knobs: {}, delta: {} });
}));
byId("seed").addEventListener("change", event => change("random", next => {
  next.seed = Math.min(4294967295, Math.max(0, Math.round(Number(event.target.value)) || 0));
  next.knobs = {};
}));
// a button that the mouse has pressed leaves the space bar to the player
document.addEventListener("click", event => { if (event.detail && event.target.closest("button")) document.activeElement.blur(); });

async function start() {
  const told = await (await fetch("start")).json();
  byId("voice").replaceChildren(...told.voices.map(name => {
    const option = element("option", name);
    option.value = name;
    return option;
  }));
  let first = { voice: told.voice, seed: 1, knobs: {}, delta: {} };
  try {
    const kept = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (told.voices.includes(kept.voice)) first = { ...first, ...kept };
  } catch (error) { /* no pair in the address */ }
  go(first);
}
start().catch(error => notice(error.message));
