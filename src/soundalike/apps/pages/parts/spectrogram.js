// Spectrograms on canvases, in the colours of the page. Levels are bytes, column by column, low bands first.
const BANDS = 96, KEPT = 600;
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const STOPS = {
  light: [[255, 255, 255], [221, 232, 247], [142, 180, 230], [52, 110, 200], [16, 44, 110], [8, 16, 48]],
  dark: [[20, 24, 30], [26, 40, 68], [36, 78, 148], [86, 148, 226], [176, 214, 250], [250, 252, 255]],
};

function colours() {
  const stops = STOPS[DARK.matches ? "dark" : "light"], made = new Uint8ClampedArray(4 * 256);
  for (let level = 0; level < 256; level++) {
    const place = level / 255 * (stops.length - 1), at = Math.min(stops.length - 2, Math.floor(place));
    for (let part = 0; part < 3; part++) {
      made[4 * level + part] = stops[at][part] + (place - at) * (stops[at + 1][part] - stops[at][part]);
    }
    made[4 * level + 3] = 255;
  }
  return made;
}

let palette = colours();
const fetched = new Map();  // address -> promise of levels
const drawn = new Map();  // canvas -> levels, for the other theme

function paint(canvas, levels) {
  const columns = Math.max(1, Math.floor(levels.length / BANDS));
  canvas.width = columns;
  canvas.height = BANDS;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, BANDS);
  for (let x = 0; x < columns; x++) {
    for (let band = 0; band < BANDS; band++) {
      const from = 4 * levels[x * BANDS + band], to = 4 * ((BANDS - 1 - band) * columns + x);
      image.data.set(palette.subarray(from, from + 4), to);
    }
  }
  context.putImageData(image, 0, 0);
}

export function levelsAt(address) {
  if (!fetched.has(address)) {
    const made = fetch(address).then(async answer => {
      if (!answer.ok) throw new Error(await answer.text());
      const levels = new Uint8Array(await answer.arrayBuffer());
      levels.seconds = Number(answer.headers.get("Seconds"));
      levels.whole = answer.headers.get("Whole") !== "no";
      return levels;
    });
    made.catch(() => fetched.delete(address));
    fetched.set(address, made);
    if (fetched.size > KEPT) fetched.delete(fetched.keys().next().value);
  }
  return fetched.get(address);
}

// shows the sound at an address, and gives its levels, with how long it is and whether that is all of it; a canvas that is asked for another one meanwhile shows that
export async function show(canvas, address) {
  canvas.dataset.address = address;
  const levels = await levelsAt(address);
  if (canvas.dataset.address !== address) return levels;
  for (const old of drawn.keys()) if (!old.isConnected) drawn.delete(old);
  drawn.set(canvas, levels);
  paint(canvas, levels);
  canvas.dataset.drawn = address;
  return levels;
}

DARK.addEventListener("change", () => {
  palette = colours();
  for (const [canvas, levels] of drawn) paint(canvas, levels);
});
