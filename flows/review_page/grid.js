// A page of crops: most doubtful first. One mark, moved by arrows; ranges of crops are selected and answered together.

import {save} from "./answers.js";
import {fitCells} from "./cells.js";
import {at, element, image, say} from "./dom.js";
import {pictureOf} from "./pages.js";
import {DISAGREEMENTS, app, setOf} from "./state.js";

let page = null;
let mark = 0;
let selected = new Set();
let anchor = -1; // where the range that the arrows stretch began
let pivot = 0; // where the mark was before a click: the browser moves the focus first
let before = new Set(); // what was selected when it began

const waits = (item) => item.asked && !item.decided && !item.words.length;

export function show(shown, place = -1) {
  page = shown;
  selected = new Set();
  anchor = -1;
  at("crops").className = "grid";
  at("crops").replaceChildren(...page.items.map(cellOf));
  const open = page.items.findIndex(waits);
  fit();
  moveTo(place >= 0 ? place : Math.max(open, 0));
}

function cellOf(item, index) {
  const cell = element("button", {
    id: `cell-${index}`, className: "cell", title: item.reason, tabIndex: -1, onfocus: () => { mark = index; drawMark(); },
  }, image(pictureOf(item.box_ids[0]), {
    alt: "", onerror: () => say("A crop cannot be shown. Is the command still running?", true),
  }), element("span", {className: "said"}), element("span", {className: "similarity"}));
  cell.onclick = (event) => pick(index, event);
  return cell;
}

function pick(index, event) {
  if (event.shiftKey) {
    begin(anchor < 0 ? pivot : anchor);
    stretchTo(index);
    anchor = -1;
  } else {
    anchor = -1;
    if (!selected.delete(index)) selected.add(index);
  }
  moveTo(index);
}

function drawCell(item, index) {
  const cell = at(`cell-${index}`);
  const [, said, similarity] = cell.children;
  const differ = item.words.length > 0;
  said.textContent = differ ? "differs" : item.decided || (item.asked ? "" : "not asked");
  similarity.textContent = item.similarity === null ? "" : item.similarity.toFixed(2);
  cell.classList.toggle("done", Boolean(item.decided));
  cell.classList.toggle("unasked", !item.asked);
  cell.classList.toggle("other", Boolean(item.decided) && Boolean(item.suggested) && item.decided !== item.suggested);
  cell.classList.toggle("differs", differ);
  cell.classList.toggle("selected", selected.has(index));
  cell.setAttribute("aria-pressed", selected.has(index));
  const state = differ ? "reviewers differ" : item.decided || (item.asked ? "not decided" : "not asked");
  cell.setAttribute("aria-label", `crop ${index + 1} of ${page.items.length}, similarity ${similarity.textContent}, ${state}`);
}

function drawMark() {
  page.items.forEach((_, index) => {
    at(`cell-${index}`).tabIndex = index === mark ? 0 : -1;
    at(`cell-${index}`).classList.toggle("marked", index === mark);
  });
  onMark(page.items[mark]);
}

let onMark = () => {};
export const setOnMark = (told) => { onMark = told; };
export const current = () => page.items[mark];
export const markPlace = () => mark;

function redraw() {
  page.items.forEach(drawCell);
  drawMark();
}

function moveTo(index) {
  mark = Math.min(Math.max(index, 0), page.items.length - 1);
  pivot = mark;
  redraw();
  at(`cell-${mark}`).focus({preventScroll: false});
}

function begin(from) {
  anchor = from;
  before = new Set(selected);
}

function stretchTo(index) {
  selected = new Set(before);
  for (let cell = Math.min(anchor, index); cell <= Math.max(anchor, index); cell += 1) selected.add(cell);
}

const columns = () => getComputedStyle(at("crops")).gridTemplateColumns.split(" ").length;

export function fit() {
  if (page && at("crops").className === "grid") fitCells(page.items.length);
}

export function question() {
  const {action, waiting} = setOf(page.name);
  if (action) return `Are these all ${action}? Correct those that are not, then accept the page.`;
  const needless = !waiting && page.items.some((item) => !item.asked);
  return `Which action does each hand do?${needless ? " (These are not asked; an answer counts all the same.)" : ""}`;
}
export const labels = () => app.line.labels.crop;
export const isOn = () => false;
export const hintOf = (label) => (page.name !== DISAGREEMENTS && setOf(page.name).action === label ? "suggested" : "");

async function saved(chosen, decidedOf, done) {
  const reply = await save(chosen.map((index) => page.items[index]), (item) => decidedOf(item));
  if (!reply) return;
  reply.items.forEach((item, place) => { page.items[chosen[place]] = item; });
  selected = new Set();
  anchor = -1;
  const next = [...page.items.keys()].map((step) => (mark + step) % page.items.length).find((at) => waits(page.items[at]));
  moveTo(next ?? mark);
  await done(reply, next === undefined && !reply.unseen);
}

export function choose(label, done) {
  const chosen = selected.size ? [...selected].sort((a, b) => a - b) : [mark];
  return saved(chosen, () => label, done);
}

export function accept(done) {
  if (!setOf(page.name).action) return say("There is no suggestion here: give each crop its action.", true);
  const open = [...page.items.keys()].filter((index) => waits(page.items[index]));
  if (!open.length) return say("Everything on this page is decided.");
  return saved(open, (item) => item.suggested, done);
}

export function key(name, event) {
  const steps = {arrowleft: -1, arrowright: 1, arrowup: -columns(), arrowdown: columns(), home: -mark, end: page.items.length};
  if (name in steps) {
    const target = Math.min(Math.max(mark + steps[name], 0), page.items.length - 1);
    if (event.shiftKey && anchor < 0) begin(mark);
    if (anchor >= 0) stretchTo(target);
    moveTo(target);
  } else if (name === "space") {
    if (anchor >= 0) anchor = -1;
    else {
      begin(mark);
      if (selected.has(mark)) { // a second range that begins in the first takes that crop out
        selected.delete(mark);
        anchor = -1;
      } else stretchTo(mark);
    }
    redraw();
  } else if (name === "escape") {
    selected = new Set();
    anchor = -1;
    redraw();
  }
}

export function keyUp(name) {
  if (name === "shift") anchor = -1;
}
