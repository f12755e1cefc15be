// A list of which one entry is current and any number are selected, by keys, clicks and clicks with Shift.
export class List {
  // make(entry): the inside of an entry; changed(): another one is current, or others are selected
  constructor(root, make, changed) {
    this.root = root;
    this.make = make;
    this.changed = changed;
    this.entries = [];
    this.current = -1;
    this.selected = new Set();  // keys
    this.anchor = -1;
    root.setAttribute("role", "listbox");
    root.setAttribute("aria-multiselectable", "true");
    root.addEventListener("click", event => {
      const at = [...root.children].indexOf(event.target.closest("[role=option]"));
      if (at < 0) return;
      if (event.shiftKey) this.extend(at);
      else if (event.target.closest(".tick")) this.toggle(at);
      else this.go(at);
    });
  }

  get entry() { return this.entries[this.current] || null; }

  fill(entries, current = 0) {
    const kept = new Map([...this.root.children].map(each => [each.dataset.key, each]));
    this.entries = entries;
    this.current = entries.length ? Math.min(Math.max(0, current), entries.length - 1) : -1;
    this.anchor = -1;
    const keys = new Set(entries.map(entry => entry.key));
    for (const key of this.selected) if (!keys.has(key)) this.selected.delete(key);
    this.root.replaceChildren(...entries.map(entry => {
      const told = JSON.stringify(entry);
      if (kept.has(entry.key) && kept.get(entry.key).told === told) return kept.get(entry.key);
      const made = document.createElement("li");
      made.dataset.key = entry.key;
      made.told = told;
      made.setAttribute("role", "option");
      made.append(...this.make(entry));
      return made;
    }));
    this.mark();
    this.changed();
  }

  mark() {
    [...this.root.children].forEach((each, at) => {
      each.setAttribute("aria-selected", String(this.selected.has(each.dataset.key)));
      if (at === this.current) each.setAttribute("aria-current", "true");
      else each.removeAttribute("aria-current");
    });
  }

  go(at) {
    if (!this.entries.length) return;
    this.current = Math.min(Math.max(0, at), this.entries.length - 1);
    this.anchor = this.current;
    this.mark();
    this.root.children[this.current].scrollIntoView({ block: "nearest", inline: "nearest" });
    this.changed();
  }

  // entries in a row of the grid
  get across() {
    const [first, ...rest] = this.root.children;
    const next = rest.findIndex(each => each.offsetTop > first.offsetTop);
    return next < 0 ? this.entries.length : next + 1;
  }

  toggle(at = this.current) {
    const entry = this.entries[at];
    if (!entry) return;
    if (!this.selected.delete(entry.key)) this.selected.add(entry.key);
    this.anchor = at;
    this.mark();
    this.changed();
  }

  extend(to) {
    const from = this.anchor < 0 ? this.current : this.anchor;
    for (let at = Math.min(from, to); at <= Math.max(from, to); at++) this.selected.add(this.entries[at].key);
    this.current = to;
    this.mark();
    this.changed();
  }

  all() {
    for (const entry of this.entries) this.selected.add(entry.key);
    this.mark();
    this.changed();
  }

  none() {
    this.selected.clear();
    this.mark();
    this.changed();
  }
}
