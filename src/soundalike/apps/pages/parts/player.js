// One sound at a time, fetched ahead so that it plays at once.
const KEPT = 24;

export class Player {
  // told(key, share): a sound plays, and how much of it has been heard; key is null when nothing plays any more
  constructor(told) {
    this.told = told;
    this.key = null;
    this.audio = new Audio();
    this.fetched = new Map();  // address -> promise of an address within the page
    this.audio.addEventListener("ended", () => this.stop());
  }

  ahead(address) {
    if (!this.fetched.has(address)) {
      const made = fetch(address).then(async answer => {
        if (!answer.ok) throw new Error(await answer.text());
        return URL.createObjectURL(await answer.blob());
      });
      made.catch(() => this.fetched.delete(address));
      this.fetched.set(address, made);
      if (this.fetched.size > KEPT) {
        const [oldest, old] = this.fetched.entries().next().value;
        this.fetched.delete(oldest);
        old.then(made => URL.revokeObjectURL(made), () => {});
      }
    }
    return this.fetched.get(address);
  }

  // plays from a part of the sound on, 0 to 1; rejects with a sentence where it cannot
  async play(key, address, from = 0) {
    this.stop();
    this.key = key;
    const here = await this.ahead(address);
    if (this.key !== key) return;  // another one was asked for meanwhile
    this.audio.src = here;
    try {
      if (from > 0) {
        await new Promise(ready => this.audio.addEventListener("loadedmetadata", ready, { once: true }));
        this.audio.currentTime = from * this.audio.duration;
      }
      await this.audio.play();
    } catch (error) {
      if (error.name === "AbortError" || this.key !== key) return;
      this.stop();
      throw new Error(error.name === "NotAllowedError" ? "Click anywhere once, then the browser lets sounds play."
        : "The browser cannot play this sound.");
    }
    const show = () => {
      if (this.key !== key || this.audio.paused) return;
      this.told(key, this.audio.duration ? this.audio.currentTime / this.audio.duration : 0);
      requestAnimationFrame(show);
    };
    show();
  }

  stop() {
    if (this.key === null) return;
    this.key = null;
    this.audio.pause();
    this.told(null, 0);
  }

  toggle(key, address) {
    if (this.key === key) { this.stop(); return Promise.resolve(); }
    return this.play(key, address);
  }
}
