// How long an answer took: the time in which somebody was at work. A pause is no work.

const PAUSE_MS = 30000; // so long without a key or a movement is a pause

let active = 0;
let last = performance.now();

function note() {
  const now = performance.now();
  if (now - last <= PAUSE_MS && !document.hidden) active += now - last;
  last = now;
}

for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "focus"]) {
  addEventListener(kind, note, {capture: true, passive: true});
}
document.addEventListener("visibilitychange", () => { last = performance.now(); });

// The seconds since the last answer, however much was looked at in between: they are this answer's.
export function takeSeconds() {
  note();
  const seconds = active / 1000;
  active = 0;
  return seconds;
}

export function giveBack(seconds) {
  active += 1000 * seconds;
}

export function inWords(seconds) {
  if (seconds < 90) return `${Math.max(Math.round(seconds / 10) * 10, 10)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
