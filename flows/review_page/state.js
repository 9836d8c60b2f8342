// What this window knows of the line, and what it keeps through a reload.

import {at, button, element, say} from "./dom.js";
import {inWords} from "./pace.js";

export const LOOKING_ONLY = "Simulated reviewer: looking only.";
export const DISAGREEMENTS = "disagreements";
export const VIEWS = {groups: ["group"], crops: ["crop", "audit"], frames: ["box"], disagreements: []};

export const app = {line: null, progress: null, name: "", place: 0};
let toldOfBadRows = false;
export let kept = {drafts: {}, saved: []}; // unsaved boxes by item, and answers given, the last one last

// A frame is the same in every queue, but a group's number names other pictures: answers to it are not taken back here.
const draftsKey = () => `unsaved boxes of ${app.line.line} by ${app.line.reviewer}`;
const savedKey = () => `review of ${app.line.line} by ${app.line.reviewer} of queue ${app.line.version}`;

// Where the storage is full a reload begins anew: what was kept before is outdated.
export function keep() {
  try {
    for (const key of [draftsKey(), savedKey()]) sessionStorage.removeItem(key);
    sessionStorage.setItem(draftsKey(), JSON.stringify(kept.drafts));
    sessionStorage.setItem(savedKey(), JSON.stringify(kept.saved));
  } catch (error) {
    console.info(`Not kept for a reload: ${error.message}`);
  }
}

export function recall() {
  const recalled = (key) => JSON.parse(sessionStorage.getItem(key));
  kept = {drafts: recalled(draftsKey()) || {}, saved: recalled(savedKey()) || []};
}

export const setOf = (name) => app.progress.sets.find((one) => one.name === name);
export const setsOf = (view) => app.progress.sets.filter((one) => VIEWS[view].includes(one.task));
export const viewOf = (name) => Object.keys(VIEWS).find((view) => setsOf(view).some((one) => one.name === name)) || DISAGREEMENTS;
export const names = () => [...app.progress.sets.map((one) => one.name), ...(app.progress.disputed ? [DISAGREEMENTS] : [])];

export function titleOf(one) {
  if (one.task === "audit") return "random audit";
  return one.action || "no suggestion";
}

export const certifiedInWords = () => `The bound is met (${app.progress.certified}): ${app.progress.unasked} random crops are no longer asked.`;

export function parseBoxes(text) {
  return !text || text === "empty" ? [] : JSON.parse(text);
}

export function inWordsOf(task, decided) {
  if (task !== "box" || decided === "withdrawn") return decided;
  const actions = parseBoxes(decided).map((box) => box[4]);
  if (!actions.length) return "no hand on this frame";
  return `${actions.length} ${actions.length === 1 ? "hand" : "hands"} (${actions.join(", ")})`;
}

export function badRowsInWords() {
  const [first, ...more] = app.progress.bad;
  if (!first) return "";
  const said = `decisions.csv, row ${first.row}, column "${first.column}": ${first.found}; left out`;
  return more.length ? `${said}, with ${more.length} more rows` : said;
}

export function showProgress(open) {
  const {total, decided, unasked, seconds_left: left, unknown, disputed, bad} = app.progress;
  const who = app.line.simulated ? "simulated" : app.line.reviewer;
  at("line").textContent = `Line ${app.line.line}, reviewer ${who}`;
  document.title = `Review of ${app.line.line}`;
  let text = `${decided} of ${total} decided`;
  if (left !== null) text += `, ${unknown ? "at least" : "about"} ${inWords(left)} left`;
  const unpaced = unknown ? `time left at your own pace, without ${unknown} items of tasks whose pace is not known yet` : "";
  at("progress").title = [unpaced, unasked ? `${unasked} random crops are not asked` : ""].filter(Boolean).join("; ");
  at("progress").firstElementChild.textContent = text;
  Object.assign(at("progress").lastElementChild, {max: Math.max(total, 1), value: decided});
  const views = Object.keys(VIEWS).filter((view) => view !== DISAGREEMENTS || disputed || app.name === DISAGREEMENTS);
  at("views").replaceChildren(...views.map((view) => viewButton(view, disputed, open)));
  showSets(open);
  at("line").title = badRowsInWords();
  if (bad.length && !toldOfBadRows) say(badRowsInWords(), true);
  toldOfBadRows = true;
}

function viewButton(view, disputed, open) {
  const sets = setsOf(view);
  const total = sets.reduce((sum, one) => sum + one.total, 0);
  const waiting = sets.reduce((sum, one) => sum + one.waiting, 0);
  const isOpen = view === viewOf(app.name);
  const text = view === DISAGREEMENTS ? `${view} ${disputed}` : `${view} ${total - waiting}/${total}`;
  const target = view === DISAGREEMENTS ? DISAGREEMENTS : (sets.find((one) => one.waiting) || sets[0] || {}).name;
  const made = button(text, "", {
    id: `view-${view}`, className: isOpen ? "on" : "", disabled: !target,
    onclick: () => open(target),
  });
  made.setAttribute("aria-pressed", isOpen);
  return made;
}

function showSets(open) {
  const sets = setsOf("crops");
  at("sets").hidden = viewOf(app.name) !== "crops" || sets.length < 2;
  at("sets").replaceChildren(...sets.map((one) => {
    const made = element("button", {
      id: `set-${one.name}`, className: one.name === app.name ? "on" : "", onclick: () => open(one.name),
    }, `${titleOf(one)} ${one.total - one.waiting}/${one.total}`);
    made.setAttribute("aria-pressed", one.name === app.name);
    return made;
  }));
}
