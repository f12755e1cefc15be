// Elements of pages, and how lengths of time are written. Names come in as text, never as HTML.
export const byId = id => document.getElementById(id);

export function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.1) return Math.max(1, Math.round(1000 * seconds)) + " ms";
  if (seconds < 60) return (seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)) + " s";
  const whole = Math.round(seconds), two = n => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60) + (hours ? " h" : " min");
}
