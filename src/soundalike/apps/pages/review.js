// Labelling: the queue, the sound that is shown, keys. Names and labels are put in as text.
import { byId, duration, element } from "./elements.js";
import { List } from "./list.js";
import { Player } from "./player.js";
import { dot, panel } from "./review_panel.js";
import { levelsAt, show } from "./spectrogram.js";

const NONE = "none", AHEAD = 4, LEAST = 16, PAUSE = 1000, MOST_UNDONE = 200;
let state = null, order = "unsure", likely = "", view = "queue", queued = null, sending = Promise.resolve(), waiting = 0;
const UNDO = "undo " + location.pathname;  // of this run of the program
let undone = JSON.parse(sessionStorage.getItem(UNDO) || "[]");
const gone = new Set();  // keys of sounds that this page has labelled, until the server says so
const page = document.documentElement;
window.addEventListener("error", event => { page.dataset.error = event.message || "error"; });
window.addEventListener("unhandledrejection", event => { page.dataset.error = String(event.reason); });

const wav = entry => "sounds/" + entry.key + ".wav";
const levels = entry => "sounds/" + entry.key + ".levels";

// ---- the server ----

async function ask(address, body) {
  let answer;
  try {
    answer = await fetch(address, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch (error) {
    throw new Error("The program has stopped. Your labels are kept in " + (state ? state.table : "their table")
      + ": start it again, and open the address that it shows.");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}
function notice(text, good) {
  const place = byId("notice");
  place.hidden = !text;
  place.textContent = text || "";
  place.classList.toggle("good", Boolean(good));
}

async function look() {
  try {
    const fresh = await ask("state?version=" + (state ? state.version : 0));
    if (byId("notice").dataset.from === "look") { notice(""); byId("notice").dataset.from = ""; }
    if (fresh.total === undefined) return;
    const before = state;
    answered = fresh;
    state = withMade();
    showState();
    const sorted = !before || before.learned !== state.learned || before.by !== state.by;
    const others = before && before.here !== state.here && !waiting;
    const more = list.entries.length < LEAST && before && before.embedded !== state.embedded;
    if (sorted || others || more) await refresh();
  } catch (error) {
    notice(error.message);
    byId("notice").dataset.from = "look";
  }
}
// New classes that the program has not answered to yet: their keys work at once.
let made = [], answered = null;
function withMade() {
  const known = answered.classes.map(each => each.name);
  made = made.filter(each => !known.includes(each));
  const rows = made.map(each => ({ name: each, count: 0, recall: null }));
  return { ...answered, classes: [...answered.classes.slice(0, -1), ...rows, ...answered.classes.slice(-1)] };
}
async function watch() {
  if (!document.hidden) await look();
  setTimeout(watch, PAUSE);
}

// ---- the queue ----

const list = new List(byId("list"), entry => {
  const picture = element("canvas"), name = element("bdi", entry.name.split("/").pop(), "name"), tick = element("span", "", "tick");
  const text = element("span", "", "told"), told = entry.label !== null ? entry.label : entry.guess.length ? entry.guess[0][0] : "";
  picture.setAttribute("aria-hidden", "true");
  tick.title = "Select";
  if (told) {
    const share = entry.label !== null ? "" : Math.round(100 * entry.guess[0][1]) + " %";
    text.append(dot(hue(told)), element("bdi", told), element("span", share, "share"));
  }
  eager.observe(picture);
  picture.entry = entry;
  return [picture, tick, name, text];
}, () => shown());
const eager = new IntersectionObserver(seen => {
  for (const each of seen) {
    if (!each.isIntersecting) continue;
    eager.unobserve(each.target);
    show(each.target, levels(each.target.entry)).catch(error => { each.target.title = error.message; });
  }
}, { rootMargin: "200px" });

function hue(label) {
  const place = state.classes.findIndex(each => each.name === label);
  return label === NONE || place < 0 ? null : place;
}

// the queue anew; the sound that is shown stays, since the next key is meant for it
async function refresh(start) {
  if (view === "alike" || (list.selected.size && !start)) { queued = "later"; return; }
  const asked = order + likely;
  const label = order === "likely" || order === "labelled" ? likely : "";
  const entries = await ask("queue?most=60&order=" + order + "&label=" + encodeURIComponent(label));
  if (asked !== order + likely || view === "alike") return;
  const fresh = entries.filter(entry => order === "labelled" || !gone.has(entry.key));
  const here = start ? null : list.entry, at = here ? fresh.findIndex(entry => entry.key === here.key) : -1;
  if (order === "labelled") list.fill(fresh, Math.max(0, at));
  else if (!here || gone.has(here.key)) list.fill(fresh);
  else list.fill([at < 0 ? here : fresh[at], ...fresh.filter(entry => entry.key !== here.key)]);
  queued = null;
}
async function similar() {
  const entry = list.entry;
  if (!entry) return;
  const entries = (await ask("alike?most=24&key=" + entry.key)).filter(each => !gone.has(each.key));
  if (list.entry !== entry) return;
  view = "alike";
  list.selected = new Set([entry.key]);
  list.fill([entry, ...entries]);
}
async function back() {
  view = "queue";
  list.none();
  await refresh();
}

// ---- what is shown ----

let before = null;
function shown() {
  const entry = list.entry, key = entry ? entry.key : null, chosen = list.selected.size;
  byId("queue").classList.toggle("selecting", chosen > 0);
  byId("chosen").textContent = chosen ? chosen + " selected: a key labels all of them" : "";
  byId("list-name").textContent = view === "alike" ? "Most like this one" : order === "labelled" ? "Labelled" : "Next";
  byId("back").hidden = view !== "alike";
  byId("alike").hidden = view === "alike";
  if (state) choices(entry);
  if (key === before) return;
  before = key;
  player.stop();
  byId("name").textContent = entry ? entry.name.split("/").pop() : "";
  byId("name").title = entry ? entry.name : "";
  const folder = entry && entry.name.includes("/") ? entry.name.slice(0, entry.name.lastIndexOf("/")) : "";
  const times = entry && entry.start !== null ? clock(entry.start) + " to " + clock(entry.end) : "";
  byId("where").textContent = [folder, times].filter(part => part).join(" · ");
  byId("empty").hidden = Boolean(entry);
  byId("empty").textContent = state && !entry ? (order === "labelled" ? "Nothing is labelled yet." : "Everything is labelled.") : "";
  byId("seconds").textContent = "";
  const canvas = byId("spectrogram");
  if (!entry) { canvas.width = 1; canvas.dataset.address = ""; return; }
  show(canvas, levels(entry)).then(drawn => {
    if (before === key) byId("seconds").textContent = (drawn.whole ? "" : "the first ") + duration(drawn.seconds);
  }).catch(error => notice(entry.name + ": " + error.message));
  for (const next of list.entries.slice(list.current, list.current + AHEAD)) {
    player.ahead(wav(next)).catch(() => {});
    levelsAt(levels(next)).catch(() => {});
  }
  if (byId("each").checked) play();
}
function clock(seconds) {
  const whole = Math.floor(seconds), rest = (seconds - whole).toFixed(2).slice(1).replace(/\.?0+$/, "");
  const two = n => String(n).padStart(2, "0");
  return [Math.floor(whole / 3600), two(Math.floor(whole / 60) % 60), two(whole % 60)].join(":") + rest;
}
function choices(entry) {
  const guess = new Map(entry ? entry.guess : []);
  byId("choices").replaceChildren(...state.classes.map((each, place) => {
    const button = element("button"), none = place === state.classes.length - 1, share = guess.get(each.name) || 0;
    const fill = element("i");
    fill.style.width = 100 * share + "%";
    button.type = "button";
    button.append(fill, element("kbd", none ? "0" : place < 9 ? String(place + 1) : ""), dot(none ? null : place), element("bdi", each.name));
    if (share >= 0.005) button.append(element("span", Math.round(100 * share) + " %", "share"));
    button.setAttribute("aria-pressed", String(Boolean(entry) && entry.label === each.name));
    button.addEventListener("click", () => label(each.name));
    return button;
  }), newClass());
}
function newClass() {
  const button = element("button", "", "new");
  button.type = "button";
  button.append(element("kbd", "n"), element("span", "New class"));
  button.addEventListener("click", name);
  return button;
}
function showState() {
  byId("folder").textContent = state.folder;
  document.title = state.folder + ": review";
  byId("counts").textContent = state.labelled.toLocaleString("en") + " labelled, " + state.left.toLocaleString("en") + " to go"
    + (state.pending ? " · " + state.pending.toLocaleString("en") + " still to be heard" : "") + (state.learning ? " · learning" : "");
  byId("save").disabled = state.classes.filter(each => each.count > 0).length < 2;
  page.dataset.labelled = state.labelled;
  page.dataset.learned = state.learned;
  if (state.problem) notice(state.problem);
  const names = ["", ...state.classes.map(each => each.name)], choice = byId("likely");
  if (choice.dataset.names !== names.join("\n")) {
    choice.dataset.names = names.join("\n");
    choice.replaceChildren(...names.map(each => {
      const option = element("option", each || "any class");
      option.value = each;
      return option;
    }));
    choice.value = likely;
  }
  panel(byId("panel"), state);
  choices(list.entry);
  byId("undo").disabled = !undone.length;
}

// ---- labels ----

function send(changes) {
  waiting++;
  for (const each of changes) if (each.label !== null) gone.add(each.key); else gone.delete(each.key);
  sending = sending.then(() => ask("labels", { changes: changes })).then(answer => {
    if (answer.kept.length) {
      notice(answer.kept.length + " kept the label that another page gave: " + answer.kept.map(each => each.name).join(", "));
    }
  }, error => {
    notice(error.message);
    for (const each of changes) gone.delete(each.key);
    made = made.filter(name => !changes.some(each => each.label === name));
    undone = undone.filter(each => each !== changes);
  }).then(async () => {
    waiting--;
    if (!waiting) {
      await look();
      if (!waiting) gone.clear();
    }
  });
  return sending;
}
function keep(changes) {
  undone.push(changes);
  undone = undone.slice(-MOST_UNDONE);
  try { sessionStorage.setItem(UNDO, JSON.stringify(undone)); } catch (error) { /* full: this page still knows */ }
}
// gives the sound that is shown, or all that are selected, a label: one, or each its own
function label(given) {
  const own = typeof given === "function" ? given : () => given;
  const chosen = list.entries.filter(entry => list.selected.has(entry.key));
  const entries = chosen.length ? chosen : list.entry ? [list.entry] : [];
  const changes = entries.map(entry => ({ key: entry.key, label: own(entry), before: entry.label }))
    .filter(each => each.label !== null && each.label !== each.before);
  if (!changes.length) return;
  notice("");
  keep(changes);
  byId("undo").disabled = false;
  const keys = new Map(changes.map(each => [each.key, each.label])), at = list.current;
  const passed = list.entries.slice(0, at).filter(entry => keys.has(entry.key)).length;
  list.selected.clear();
  if (order === "labelled") {
    list.fill(list.entries.map(entry => keys.has(entry.key) ? { ...entry, label: keys.get(entry.key) } : entry), at + (chosen.length ? 0 : 1));
  } else if (view === "alike") {
    view = "queue";
    list.fill(list.entries.filter(entry => !keys.has(entry.key)));
    send(changes).then(() => refresh(true));
    return;
  } else list.fill(list.entries.filter(entry => !keys.has(entry.key)), at - passed);
  send(changes).then(() => { if (queued || list.entries.length < LEAST) return refresh(); });
}
async function undo() {
  const changes = undone.pop();
  byId("undo").disabled = !undone.length;
  sessionStorage.setItem(UNDO, JSON.stringify(undone));
  if (!changes) return;
  view = "queue";
  list.selected.clear();
  await send(changes.map(each => ({ key: each.key, label: each.before, before: each.label })));
  await refresh(true);
  const again = await ask("sounds/" + changes[0].key);
  list.fill([again, ...list.entries.filter(entry => entry.key !== again.key)]);
}
function name() {
  if (!list.entry) return;
  const many = list.selected.size;
  byId("naming-what").textContent = many ? many + " selected sounds get it as their label." : list.entry.name + " gets it as its label.";
  byId("new-name").value = "";
  byId("naming").showModal();
  byId("new-name").focus();
}
function named() {
  const text = byId("new-name").value.trim().replace(/\s+/g, " ");
  if (!text) { byId("new-name").focus(); return; }
  byId("naming").close();
  if (!made.includes(text)) made.push(text);
  state = withMade();
  label(text);
  showState();
}
async function save() {
  byId("save").disabled = true;
  notice("Saving …", true);
  try {
    const done = await ask("save", {});
    notice("Saved. To use it: soundalike classify FILES --with " + done.out, true);
  } catch (error) { notice(error.message); }
  byId("save").disabled = false;
}

// ---- playing ----

const player = new Player((key, share) => {
  const here = key !== null && list.entry && list.entry.key === key;
  byId("picture").classList.toggle("playing", Boolean(here));
  byId("head").style.left = 100 * share + "%";
  byId("play").setAttribute("aria-label", here ? "Stop" : "Play");
  byId("play").classList.toggle("on", Boolean(here));
});
function play(from) {
  const entry = list.entry;
  if (!entry) return;
  const done = from === undefined ? player.toggle(entry.key, wav(entry)) : player.play(entry.key, wav(entry), from);
  done.catch(error => notice(entry.name + ": " + error.message));
}

// ---- keys and buttons ----

const KEYS = {
  " ": () => play(), u: undo, n: name, s: similar, x: () => list.toggle(), a: () => list.all(),
  "?": () => byId("keys").showModal(), Escape: () => (view === "alike" ? back() : list.none()), 0: () => label(NONE),
  Enter: () => label(entry => (entry.guess.length ? entry.guess[0][0] : null)),
};
const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -list.across, ArrowDown: () => list.across };
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]") || !state) return;
  if (event.target.matches("input[type=text], select")) return;
  if ((event.key === " " || event.key === "Enter") && event.target.matches("button, summary, input")) return;
  if (STEPS[event.key]) {
    const to = list.current + STEPS[event.key]();
    if (to < 0 || to >= list.entries.length) return;
    if (event.shiftKey) list.extend(to); else list.go(to);
  } else if (/^[1-9]$/.test(event.key)) {
    const each = state.classes[Number(event.key) - 1];
    if (!each || each.name === NONE) return;
    label(each.name);
  } else if (KEYS[event.key.length > 1 ? event.key : event.key.toLowerCase()]) {
    Promise.resolve(KEYS[event.key.length > 1 ? event.key : event.key.toLowerCase()]()).catch(error => notice(error.message));
  } else return;
  event.preventDefault();
});
function sort(next) {
  order = next;
  view = "queue";
  list.selected.clear();
  byId("orders").querySelectorAll("button").forEach(each => each.setAttribute("aria-pressed", String(each.dataset.order === order)));
  byId("likely").hidden = order !== "likely" && order !== "labelled";
  if (order === "likely" && !likely) {
    likely = (state.classes[0] || { name: "" }).name;
    byId("likely").value = likely;
  }
  refresh(true).catch(error => notice(error.message));
}
byId("orders").addEventListener("click", event => { if (event.target.dataset.order) sort(event.target.dataset.order); });
byId("likely").addEventListener("change", event => { likely = event.target.value; sort(order); });
byId("picture").addEventListener("click", event => {
  const box = byId("picture").getBoundingClientRect();
  play(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
});
const clicks = {
  play: () => play(), undo: undo, save: save, alike: similar, all: () => list.all(), back: back,
  help: () => byId("keys").showModal(), "keys-close": () => byId("keys").close(),
  "naming-no": () => byId("naming").close(), "naming-yes": named,
};
for (const [id, act] of Object.entries(clicks)) {
  byId(id).addEventListener("click", () => Promise.resolve(act()).catch(error => notice(error.message)));
}
// a button that the mouse has pressed leaves the space bar to the player
document.addEventListener("click", event => { if (event.detail && event.target.closest("button")) document.activeElement.blur(); });
byId("new-name").addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault(); named(); } });
byId("orders").querySelector("[data-order=unsure]").setAttribute("aria-pressed", "true");
byId("each").checked = localStorage.getItem("play each") === "yes";
byId("each").addEventListener("change", event => localStorage.setItem("play each", event.target.checked ? "yes" : "no"));
watch();
