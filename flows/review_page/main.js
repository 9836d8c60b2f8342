// The review page: which view is open, and what its keys do. Each view is a module with the same functions.

import {loopUrl, readLine, readQuality, sendFinish} from "./api.js";
import {undoSaved} from "./answers.js";
import {at, button, element, image, said, say} from "./dom.js";
import * as frames from "./frames.js";
import * as grid from "./grid.js";
import {HELP, keyOf, keyOfLabel, labelOfKey} from "./keys.js";
import {forget, lookAhead, pageAt, pictureOf, sizeOf} from "./pages.js";
import * as single from "./single.js";
import {
  DISAGREEMENTS, LOOKING_ONLY, app, badRowsInWords, certifiedInWords, inWordsOf, kept, names, recall, setOf, showProgress, titleOf, viewOf,
} from "./state.js";

const SCROLLING = /^(space|arrow.*|page.*|home|end|backspace|['/])$/; // the browser has meanings of its own for these
const ANSWERING = /^[aeu]$|^enter$/;

let view = null;
let page = null;
let busy = 0;
let working = Promise.resolve();

const countOf = (name) => (name === DISAGREEMENTS ? 1 : sizeOf(setOf(name).task));

// What is pressed while something is under way comes after it.
function inTurn(act) {
  busy += 1;
  at("stage").setAttribute("aria-busy", "true");
  working = working.then(act)
    .catch((error) => say(`Something went wrong: ${error.message}. Reload the page; what was saved is saved.`, true))
    .finally(() => {
      busy -= 1;
      at("stage").setAttribute("aria-busy", String(busy > 0));
    });
}

// An answer is no such thing: it would be given to a picture that is not shown yet.
const unlessBusy = (act) => { if (!busy) inTurn(act); };

async function open(name, place = 0, {waiting = false, message = "", itemId = ""} = {}) {
  let asked;
  try {
    asked = await pageAt(name, place, countOf(name), waiting);
  } catch (error) {
    return say(`The page cannot be shown: ${error.message}${error.told ? "" : ". Is the command still running?"}`, true);
  }
  page = asked;
  if (page.progress) app.progress = page.progress;
  Object.assign(app, {name, place: page.place});
  const shown = show(page.items.findIndex((item) => item.item_id === itemId));
  if (message) say(message);
  await shown;
  if (name !== DISAGREEMENTS) lookAhead(page, countOf(name));
  return null;
}

const openSet = (name) => inTurn(() => open(name, 0, {waiting: true}));

function show(mark = -1) {
  const focused = document.activeElement.id;
  if (view) frames.hide();
  say("");
  at("crops").replaceChildren();
  at("crops").className = "";
  at("loading").hidden = true;
  at("details").replaceChildren();
  const [item] = page.items;
  view = !item ? null : item.task === "box" ? frames : page.total && countOf(app.name) > 1 ? grid : single;
  showProgress(openSet);
  const shown = view && view.show(page, mark);
  at("question").textContent = view ? view.question() : "Nothing to decide here.";
  showLabels();
  showState();
  if (view !== grid && focused && at(focused)) at(focused).focus(); // a keyboard must not lose its place
  if (app.line.simulated) say(LOOKING_ONLY);
  else if (app.progress.decided === app.progress.total) say(endInWords());
  return shown;
}

function endInWords() {
  const all = app.progress.unasked ? "All that is asked is decided." : "All decided.";
  return `${all} ${app.progress.certified ? `${certifiedInWords()} ` : ""}Finish (F) writes decisions.csv.`;
}

function showLabels() {
  const made = !view ? [] : view.labels().map((label, index) => {
    const hint = view.hintOf(label);
    return button(hint ? `${label} (${hint})` : label, keyOfLabel(label, index).toUpperCase(), {
      id: `label-${index}`, className: view.isOn(label) ? "on" : hint ? "hint" : "", onclick: () => unlessBusy(() => choose(label)),
    });
  });
  if (view === grid && setOf(app.name).action) {
    made.push(button("accept the page", "A", {id: "accept", className: "save", onclick: () => unlessBusy(accept)}));
  }
  for (const one of made) one.disabled = app.line.simulated;
  if (view === frames) made.push(...frames.parts((act) => unlessBusy(() => act(afterSaving))));
  at("labels").replaceChildren(...made);
}

function stateOf(item) {
  if (view === frames && frames.isDraft()) return ["open", "changed, not saved"];
  if (item.words.length) {
    return ["open", `reviewers differ: ${item.words.map(([who, what]) => `${who}: ${inWordsOf(item.task, what)}`).join(" · ")}`];
  }
  if (item.decided) return ["done", `saved: ${inWordsOf(item.task, item.decided)}`];
  if (!item.asked) return ["done", "not asked"];
  return ["open", "not decided"];
}

function showState() {
  const count = page.items.length;
  at("back").disabled = page.place === 0;
  at("forward").disabled = page.place + count >= page.total;
  at("undo").disabled = app.line.simulated || !(kept.saved.length || frames.canUndo());
  at("finish").disabled = app.line.simulated;
  const item = view && view.current();
  if (!item) return at("about").replaceChildren();
  const [kind, text] = stateOf(item);
  const place = count > 1 ? `${page.place + 1} to ${page.place + count} of ${page.total}` : `${page.place + 1} of ${page.total}`;
  const before = item.outdated ? ` · decided before, on other pictures: ${inWordsOf(item.task, item.outdated)}` : "";
  const about = view === grid ? `${titleOf(setOf(app.name))}, ` : "";
  at("about").replaceChildren(`${about}${place} · `, element("b", {className: kind}, text), `${before} · ${item.reason}`);
  at("about").title = item.item_id;
  showDetails(item);
  return null;
}

function showDetails(item) {
  const parts = [];
  if (view === grid) parts.push(image(pictureOf(item.box_ids[0]), {className: "large", alt: "the marked crop"}));
  if (item.similarity !== null && item.task !== "group") parts.push(element("p", {}, `similarity ${item.similarity.toFixed(3)}`));
  if (item.task !== "group" && !(item.task === "box" && item.box_ids.length > 99)) {
    parts.push(button("neighbouring frames", "L", {id: "neighbours", onclick: showLoop}));
  }
  if (view === frames) parts.push(element("div", {id: "boxes"}, ...frames.list()));
  const templates = app.line.templates[item.group] || [];
  if (templates.length) {
    parts.push(
      element("p", {}, item.suggested ? `templates of ${item.suggested}` : "nearest templates, not named"),
      element("div", {className: "templates"}, ...templates.slice(0, 3).map((id) => image(pictureOf(id), {alt: "template"}))),
    );
  }
  at("details").replaceChildren(...parts);
}

async function afterSaving(reply, pageDone = true) {
  if (reply.asksOthers || reply.items.some((item) => item.task === "group")) forget(); // what was read ahead is outdated
  if (reply.unseen) {
    if (view === grid) return refreshHead();
    const told = said();
    await open(app.name, app.place);
    return say(told, true);
  }
  const waiting = view === grid && setOf(app.name).waiting;
  if (waiting && reply.asksOthers) return open(app.name, app.place, {waiting: true, message: said()}); // of this page, too
  if (waiting && !pageDone) return refreshHead();
  return nextWaiting(said());
}

function refreshHead() {
  const told = [said(), at("message").className === "bad"];
  showProgress(openSet);
  showState();
  say(...told);
}

async function nextWaiting(message = "") {
  const here = app.name === DISAGREEMENTS ? app.progress.disputed : (setOf(app.name) || {}).waiting;
  if (here) {
    const place = app.place + (app.name === DISAGREEMENTS && message ? 0 : countOf(app.name));
    return open(app.name, place, {waiting: true, message});
  }
  const all = app.progress.sets.map((one) => one.name);
  const start = Math.max(all.indexOf(app.name), 0);
  const next = [...all.slice(start), ...all.slice(0, start)].find((name) => setOf(name).waiting);
  if (next) return open(next, 0, {waiting: true, message});
  if (app.progress.disputed) return open(DISAGREEMENTS, 0, {message});
  return open(setOf(app.name) ? app.name : all[0], setOf(app.name) ? app.place : 0);
}

const step = (by) => {
  const place = page.place + by * countOf(app.name);
  return place >= 0 && place < page.total ? open(app.name, place) : null;
};

function stepSet(by) {
  const all = names();
  const place = all.indexOf(app.name) + by;
  return all[place] ? open(all[place], 0, {waiting: true}) : null;
}

async function undo() {
  if (app.line.simulated) return say(LOOKING_ONLY);
  if (frames.canUndo()) {
    frames.undoChange();
    return showState();
  }
  const last = await undoSaved();
  if (!last) return null;
  const told = [said(), at("message").className === "bad"];
  forget();
  const name = setOf(last.name) || last.name === DISAGREEMENTS ? last.name : app.name;
  await open(name, last.place, {itemId: last.items[0].item_id});
  return say(...told);
}

async function finish() {
  if (app.line.simulated) return say(LOOKING_ONLY);
  say("Writing decisions.csv, then asking the gate: of a long line that takes a minute or more …");
  try {
    const reply = await sendFinish();
    app.progress = reply.progress;
    showProgress(openSet);
    const waits = app.progress.total - app.progress.decided;
    const still = waits ? ` ${waits} items still wait.` : "";
    return say(`${app.line.decisions}: ${reply.rows} rows, ${reply.added} of them new.${still} Next: ${reply.next}`);
  } catch (error) {
    return say(`Not written${error.told ? "" : " for certain"}: ${error.message}. The answers are kept in the journal.`, true);
  }
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

async function showQuality() {
  const [, text, table] = at("quality").children;
  text.textContent = "Labelling the rest by what is decided so far …";
  table.replaceChildren();
  at("quality").showModal();
  try {
    const told = await readQuality();
    text.textContent = told.words;
    const row = (kind, texts) => element("tr", {}, ...texts.map((one) => element(kind, {}, one)));
    table.append(row("th", ["", "accepted", "looked at", "wrong", "wrong at most (95 %)", `looks needed for ${percent(told.max_label_error)}`]));
    table.append(...told.bounds.filter((one) => one.population).map((one) => row("td", [
      one.label, `${one.population}`, `${one.looked}`, `${one.wrong}`, percent(one.upper),
      one.met ? "none" : one.needed === null ? "all" : `${one.needed}`,
    ])));
  } catch (error) {
    text.textContent = `The certificate cannot be told: ${error.message}`;
  }
}

function choose(label) {
  if (app.line.simulated) return say(LOOKING_ONLY);
  return view === frames ? frames.choose(label) : view.choose(label, afterSaving);
}

function accept() {
  return app.line.simulated ? say(LOOKING_ONLY) : view.accept(afterSaving);
}

function showLoop() {
  const item = view && view.current();
  if (!item || item.task === "group") return say("A group is of many moments: it has no neighbouring frames.", true);
  const [text, picture] = at("loop").children;
  text.textContent = "Decoding the recording …";
  picture.onload = () => { text.textContent = "One second before to one second after; the moment asked about stays longest."; };
  picture.onerror = () => { text.textContent = "The neighbouring frames cannot be shown: is the recording still there?"; };
  picture.src = loopUrl(item.item_id, app.line.version);
  at("loop").showModal();
  return null;
}

function pressed(event) {
  if (!page || event.altKey) return;
  const key = keyOf(event);
  if (document.querySelector("dialog[open]")) {
    if (["l", "q", "?"].includes(key)) for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    return;
  }
  const withControl = event.ctrlKey || event.metaKey;
  if (withControl && (key !== "z" || event.shiftKey)) return;
  const onButton = event.target.closest && event.target.closest("button");
  if ((key === "enter" || key === "space") && onButton && !onButton.classList.contains("cell")) return; // presses it
  if (event.repeat && !key.startsWith("arrow")) return;
  if (SCROLLING.test(key) || withControl) event.preventDefault();
  const act = actOf(withControl ? "u" : key, event);
  if (!act) return;
  if (ANSWERING.test(key) || labelOfKey(view ? view.labels() : [], key)) unlessBusy(act);
  else inTurn(act);
}

function actOf(key, event) {
  const general = {
    pageup: () => step(-1), pagedown: () => step(1), w: () => nextWaiting(), u: undo, f: finish, q: showQuality, l: showLoop, a: accept,
    ",": () => stepSet(-1), ".": () => stepSet(1), "?": () => at("help").showModal(),
  };
  const label = view && labelOfKey(view.labels(), key);
  if (label) return () => choose(label);
  return general[key] || (view && (() => view.key(key, event, step, afterSaving)));
}

document.addEventListener("keydown", pressed);
document.addEventListener("keyup", (event) => {
  if (view !== grid) return;
  grid.keyUp(keyOf(event));
  if (keyOf(event) === "space" && event.target.closest(".cell")) event.preventDefault(); // it is no click
});
// A button pressed by mouse must not take the Enter that is meant for "save".
document.addEventListener("mousedown", (event) => { if (event.target.closest("button:not(.cell)")) event.preventDefault(); });
new ResizeObserver(() => { for (const one of [frames, grid, single]) one.fit(); }).observe(at("stage"));
grid.setOnMark(() => { if (view === grid) showState(); });
frames.setOnShown(() => { if (view === frames && frames.current()) showState(); });
Object.assign(at("back"), {onclick: () => inTurn(() => step(-1))});
Object.assign(at("forward"), {onclick: () => inTurn(() => step(1))});
Object.assign(at("waiting"), {onclick: () => inTurn(() => nextWaiting())});
Object.assign(at("undo"), {onclick: () => unlessBusy(undo)});
Object.assign(at("finish"), {onclick: () => unlessBusy(finish)});
Object.assign(at("quality-button"), {onclick: () => unlessBusy(showQuality)});
Object.assign(at("help-button"), {onclick: () => at("help").showModal()});
for (const name of ["help", "quality", "loop"]) at(`${name}-close`).onclick = () => at(name).close();
at("help").querySelector("table").append(...HELP.map(([keys, text]) => element("tr", {},
  element("th", {scope: "row"}, element("kbd", {}, keys)), element("td", {}, text))));

inTurn(() => readLine().then(async (line) => {
  app.line = line;
  app.progress = line;
  recall();
  const first = app.progress.sets.find((one) => one.waiting) || app.progress.sets[0];
  const bad = badRowsInWords();
  await open(first.name, 0, {waiting: true});
  if (line.carried.length) say([bad, ...line.carried].filter(Boolean).join(". "), Boolean(bad));
}).catch((error) => say(`The line cannot be shown: ${error.message}`, true)));
