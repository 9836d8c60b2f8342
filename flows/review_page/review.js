"use strict";

const VIEWS = {groups: ["group"], crops: ["crop", "audit"], frames: ["box"]};
const QUESTIONS = {
  group: "Which action do all these hands do?",
  crop: "Which action does this hand do?",
  audit: "Which action does this hand do?",
  box: "Has every hand one tight box, with the action that it does?",
};
const HELP = {
  group: "mixed: the hands do different actions. NG: all do something that is none of the line's actions.",
  crop: "NG: none of the line's actions.",
  audit: "NG: none of the line's actions.",
  box: "Drag to draw a box; click a box to select it, then give its action or remove it. A tight box holds glove and " +
    "fingers, no forearm, no tool. NG: a hand that does none of the line's actions.",
};
const KEYS = "1234567890qwrtyiopasdfghjklzxcvb"; // n, m, e and u have meanings of their own
const MIN_SCREEN_PX = 8; // a shorter drag is a click, or a fingertip that rolls
const LOOKING_ONLY = "Simulated reviewer: looking only.";
const SAVE_TIMEOUT_MS = 20000;
const COLOURS = ["#c0143a", "#1e7d32", "#2f4fc4", "#b35900", "#7a1fa0", "#00727a", "#8a6d00", "#b0179b", "#5b6100"];

const at = (id) => document.getElementById(id);
const canvas = at("frame");
let line = null;
let view = "groups";
let position = {groups: 0, crops: 0, frames: 0};
let shownSince = performance.now();
let saving = false;
let boxes = []; // [x1, y1, x2, y2, action], pixels of the frame
let earlier = []; // the frame's boxes before each change
let selected = -1;
let drag = null;
let picture = null;
let kept = {drafts: {}, saved: []}; // of this window, through a reload: unsaved boxes by item, and answers given

const itemsOf = (name) => line.items.filter((item) => VIEWS[name].includes(item.task));
const itemOf = (id) => line.items.find((item) => item.item_id === id);
const current = () => itemsOf(view)[position[view]];

function keep() {
  sessionStorage.setItem(`review of ${line.line}`, JSON.stringify(kept));
}

function element(kind, text, change = {}) {
  return Object.assign(document.createElement(kind), {textContent: text}, change);
}

function button(text, key, change) {
  const made = element("button", `${text} `, change);
  if (key) made.append(element("kbd", key));
  return made;
}

function say(text, bad = false) {
  at("message").textContent = text;
  at("message").className = bad ? "bad" : "";
}

function keyOf(label, index) {
  return {NG: "n", mixed: "m"}[label] || KEYS[index] || "";
}

function parseBoxes(text) {
  return !text || text === "empty" ? [] : JSON.parse(text);
}

function meaning(item, decided) {
  if (!decided || decided === "withdrawn") return "";
  return item.task === "box" ? JSON.stringify(parseBoxes(decided)) : decided;
}

function inWords(item, decided) {
  if (item.task !== "box") return decided;
  const actions = parseBoxes(decided).map((box) => box[4]);
  if (!actions.length) return "no hand on this frame";
  return `${actions.length} ${actions.length === 1 ? "hand" : "hands"} (${actions.join(", ")})`;
}

function showHeader() {
  const decided = line.items.filter((item) => item.decided).length;
  at("line").textContent = `Line ${line.line}, reviewer ${line.simulated ? "simulated" : line.reviewer}`;
  document.title = `Review of ${line.line}`;
  at("progress").firstChild.textContent = `${decided} of ${line.items.length} decided`;
  Object.assign(at("progress").lastElementChild, {max: Math.max(line.items.length, 1), value: decided});
  at("views").replaceChildren(...Object.keys(VIEWS).map((name) => {
    const items = itemsOf(name);
    const text = `${name} ${items.filter((item) => item.decided).length}/${items.length}`;
    const made = element("button", text, {
      id: `view-${name}`, className: name === view ? "on" : "", onclick: () => { view = name; show(); },
    });
    made.setAttribute("aria-pressed", name === view);
    return made;
  }));
  if (line.simulated) say(LOOKING_ONLY);
  else if (decided === line.items.length) say(`All decided. Now run: ${line.next}`);
}

function show() {
  const focused = document.activeElement.id;
  say("");
  showHeader();
  const item = current();
  picture = null;
  at("crops").replaceChildren();
  at("crops").className = "";
  at("loading").hidden = canvas.hidden = true;
  at("labels").replaceChildren();
  at("help").textContent = item ? HELP[item.task] : "";
  at("question").textContent = item ? QUESTIONS[item.task] : "Nothing to decide here.";
  if (item && item.task === "box") showFrame(item);
  else if (item) showCrops(item);
  if (item) showLabels(item);
  showState();
  if (focused && at(focused)) at(focused).focus(); // the buttons are new ones: a keyboard must not lose its place
  shownSince = performance.now();
}

function showState() {
  const item = current();
  const count = itemsOf(view).length;
  at("back").disabled = position[view] === 0;
  at("forward").disabled = position[view] >= count - 1;
  at("undo").disabled = line.simulated || !(kept.saved.length || (item && item.task === "box" && earlier.length));
  if (!item) return at("about").replaceChildren();
  let state = element("b", "not decided", {className: "open"});
  if (kept.drafts[item.item_id]) state = element("b", "changed, not saved", {className: "open"});
  else if (item.decided) state = element("b", `saved: ${inWords(item, item.decided)}`, {className: "done"});
  const before = item.outdated ? ` \u00b7 decided before, on other pictures: ${inWords(item, item.outdated)}` : "";
  at("about").replaceChildren(`${position[view] + 1} of ${count} \u00b7 `, state, `${before} \u00b7 ${item.reason}`);
  at("about").title = item.item_id;
}

function showCrops(item) {
  const count = item.box_ids.length;
  at("crops").className = count === 1 ? "single" : "";
  at("crops").style.maxWidth = count === 1 ? "" : `${count * 248}px`;
  at("crops").replaceChildren(...item.box_ids.map((id, index) => element("img", "", {
    src: `/api/crop?box_id=${encodeURIComponent(id)}`, alt: `crop ${index + 1} of ${count}`, title: id,
    onerror: () => say("A crop cannot be shown. Is the command still running?", true),
  })));
}

function showLabels(item) {
  const buttons = line.labels[item.task].map((label, index) => {
    const on = item.task !== "box" && item.decided === label;
    const hint = item.task !== "box" && !item.decided && item.suggested === label;
    return button(hint ? `${label} (suggested)` : label, keyOf(label, index).toUpperCase(), {
      id: `label-${index}`, className: on ? "on" : hint ? "hint" : "", onclick: () => choose(label),
    });
  });
  if (item.task === "box") {
    buttons.push(button("remove box", "Del", {id: "remove", onclick: removeBox}));
    buttons.push(button("no hand", "E", {id: "empty", onclick: () => save("empty")}));
    buttons.push(button("save", "Enter", {id: "save", className: "save", onclick: saveBoxes}));
  }
  for (const made of buttons) made.disabled = line.simulated;
  at("labels").replaceChildren(...buttons);
}

function showFrame(item) {
  const draft = kept.drafts[item.item_id];
  boxes = draft ? structuredClone(draft) : parseBoxes(item.decided || item.suggested);
  earlier = draft ? [parseBoxes(item.decided || item.suggested)] : [];
  selectOpenBox();
  drag = null;
  at("loading").hidden = false;
  const image = new Image();
  const shown = () => current() && current().item_id === item.item_id;
  image.onload = () => {
    if (!shown()) return;
    picture = image;
    at("loading").hidden = true;
    canvas.hidden = false;
    fit();
    shownSince = performance.now();
  };
  image.onerror = async () => {
    const reply = await fetch(image.src).catch(() => null);
    if (!shown() || (reply && reply.ok)) return;
    at("loading").hidden = true;
    say(reply ? (await reply.json()).detail : "The frame cannot be shown. Is the command still running?", true);
  };
  image.src = `/api/frame?item_id=${encodeURIComponent(item.item_id)}`;
}

function fit() {
  if (!picture) return;
  const place = canvas.parentElement;
  const {naturalWidth: width, naturalHeight: height} = picture;
  const zoom = Math.max(Math.min(3, (place.clientWidth - 36) / width, (place.clientHeight - 12) / height), 0.1);
  canvas.style.width = `${zoom * width}px`;
  canvas.style.height = `${zoom * height}px`;
  canvas.width = Math.round(zoom * width * devicePixelRatio); // of the screen, so that names are sharp on small frames
  canvas.height = Math.round(zoom * height * devicePixelRatio);
  draw();
}

const framePx = (screenPx) => screenPx * picture.naturalWidth / canvas.clientWidth;

function draw() {
  if (!picture) return;
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / picture.naturalWidth, 0, 0, canvas.height / picture.naturalHeight, 0, 0);
  context.drawImage(picture, 0, 0);
  boxes.forEach((box, index) => drawBox(context, box, index === selected));
  if (drag) drawBox(context, dragged(), true);
}

function drawBox(context, [x1, y1, x2, y2, action], isSelected) {
  const place = line.labels.box.indexOf(action);
  const colour = place < 0 ? "#222" : COLOURS[place % COLOURS.length];
  const edge = (style, px, dash = []) => {
    context.strokeStyle = style;
    context.lineWidth = framePx(px);
    context.setLineDash(dash.map(framePx));
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  };
  edge("#fff", isSelected ? 7 : 6); // told from any background
  edge(colour, isSelected ? 4 : 3);
  if (isSelected) edge("#fff", 2, [6, 6]);
  const text = action || "action?";
  const high = framePx(20);
  context.font = `${framePx(14)}px sans-serif`;
  const wide = context.measureText(text).width + framePx(8);
  const left = Math.min(x1, picture.naturalWidth - wide);
  const top = y1 > high ? y1 - high : Math.min(y2, picture.naturalHeight - high);
  context.fillStyle = colour;
  context.fillRect(left, top, wide, high);
  context.fillStyle = "#fff";
  context.fillText(text, left + framePx(4), top + framePx(15));
}

function pointOf(event) {
  const place = canvas.getBoundingClientRect();
  const inside = (value, size) => Math.min(Math.max(value, 0), size);
  return [
    inside(framePx(event.clientX - place.left), picture.naturalWidth),
    inside(framePx(event.clientY - place.top), picture.naturalHeight),
  ];
}

function dragged() {
  const [[ax, ay], [bx, by]] = drag;
  const edges = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
  return [...edges.map((edge) => Math.round(edge * 100) / 100), ""]; // as it is saved
}

function endDrag() {
  if (!drag) return;
  const box = dragged();
  const [x, y] = drag[0];
  drag = null;
  const least = framePx(MIN_SCREEN_PX);
  if (!line.simulated && box[2] - box[0] >= least && box[3] - box[1] >= least) {
    change(() => { selected = boxes.push(box) - 1; });
  } else {
    const area = (index) => (boxes[index][2] - boxes[index][0]) * (boxes[index][3] - boxes[index][1]);
    const hit = boxes.map((_, index) => index)
      .filter((index) => boxes[index][0] <= x && x <= boxes[index][2] && boxes[index][1] <= y && y <= boxes[index][3]);
    selected = hit.sort((a, b) => area(a) - area(b))[0] ?? -1;
  }
  draw();
}

function selectOpenBox() {
  selected = boxes.findIndex((box) => !box[4]);
  if (selected < 0) selected = boxes.length - 1;
}

function change(edit) {
  earlier.push(structuredClone(boxes));
  edit();
  kept.drafts[current().item_id] = structuredClone(boxes);
  keep();
  say("");
  showState();
  draw();
}

function removeBox() {
  if (!picture) return;
  if (selected < 0) return say("Click a box first.", true);
  change(() => {
    boxes.splice(selected, 1);
    selected = boxes.length - 1;
  });
}

function choose(label) {
  if (current().task !== "box") return save(label);
  if (!picture) return;
  if (selected < 0) return say("Click a box first.", true);
  change(() => {
    boxes[selected][4] = label;
    const open = boxes.findIndex((box) => !box[4]);
    if (open >= 0) selected = open;
  });
}

function saveBoxes() {
  if (!boxes.length) return say("No box: draw one round each hand, or say that there is no hand (E).", true);
  if (boxes.some((box) => !box[4])) {
    selectOpenBox();
    draw();
    return say("A box has no action yet: give it one, or remove it.", true);
  }
  save(JSON.stringify(boxes));
}

async function post(item, decided, shown) {
  if (saving) return;
  saving = true;
  try {
    const seconds = (performance.now() - shownSince) / 1000;
    const reply = await fetch("/api/decisions", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({item_id: item.item_id, decided, shown, seconds}),
      signal: AbortSignal.timeout(SAVE_TIMEOUT_MS),
    });
    const answer = await reply.json();
    if (reply.status === 409) return await showOther(item, decided);
    if (!reply.ok) return say(`Not saved: ${typeof answer.detail === "string" ? answer.detail : reply.status}`, true);
    line = answer;
    return itemOf(item.item_id);
  } catch (error) {
    say(`Not saved for certain: ${error.message}. Is the command still running? Start it again, then answer again.`, true);
  } finally {
    saving = false;
  }
}

async function showOther(item, wanted) {
  line = await (await fetch("/api/line")).json();
  const now = itemOf(item.item_id);
  const same = meaning(now, now.decided) === meaning(now, wanted);
  if (same) return now; // the reply to an earlier try was lost
  goTo(item.item_id);
  const other = now.decided ? `decided "${inWords(item, now.decided)}"` : "took the decision back";
  say(`Not saved: another window ${other}. Answer again to replace that.`, true);
}

async function save(decided) {
  const item = current();
  if (item.task === "box" && !picture) return say("The frame is not shown yet.", true);
  const now = await post(item, decided, item.decided);
  if (!now) return;
  delete kept.drafts[item.item_id];
  if (now.decided !== item.decided) kept.saved.push({id: item.item_id, before: item.decided, after: now.decided});
  keep();
  if (current().item_id === item.item_id) nextWaiting();
  else show();
  if (!at("message").textContent) say(`Saved: ${inWords(now, now.decided)}. Here is the next one.`);
}

async function undo() {
  const item = current();
  if (item && item.task === "box" && earlier.length) {
    boxes = earlier.pop();
    selectOpenBox();
    if (earlier.length) kept.drafts[item.item_id] = structuredClone(boxes);
    else delete kept.drafts[item.item_id];
    keep();
    showState();
    return draw();
  }
  const last = kept.saved.at(-1);
  if (!last) return say("Nothing to undo.", true);
  if (saving) return;
  const answered = itemOf(last.id);
  const now = answered && await post(answered, last.before || "withdrawn", last.after);
  if (answered && !now && itemOf(last.id).decided === last.after) return; // not saved: it can be undone still
  kept.saved.pop();
  keep();
  if (!now) return;
  if (now.task === "box" && last.after !== "empty") kept.drafts[last.id] = parseBoxes(last.after);
  keep();
  goTo(last.id);
  say(`Taken back: ${inWords(now, last.after)}.`);
}

function goTo(id) {
  view = Object.keys(VIEWS).find((name) => VIEWS[name].includes(itemOf(id).task));
  position[view] = itemsOf(view).findIndex((item) => item.item_id === id);
  show();
}

function nextWaiting() {
  const names = Object.keys(VIEWS);
  for (const name of [view, ...names.filter((other) => other !== view)]) {
    const items = itemsOf(name);
    const start = name === view ? position[name] : 0;
    const order = items.map((_, index) => (start + index) % items.length);
    const found = order.find((index) => !items[index].decided);
    if (found !== undefined) {
      view = name;
      position[name] = found;
      break;
    }
  }
  show();
}

function step(by) {
  const last = itemsOf(view).length - 1;
  position[view] = Math.min(Math.max(position[view] + by, 0), Math.max(last, 0));
  show();
}

document.addEventListener("keydown", (event) => {
  if (!line || event.altKey || event.repeat) return;
  // Where digits need Shift, their keys count all the same.
  const key = /^Digit\d$/.test(event.code) ? event.code.at(-1) : event.key.toLowerCase();
  const withControl = event.ctrlKey || event.metaKey;
  if (withControl && (key !== "z" || event.shiftKey)) return;
  if ((key === "enter" || key === " ") && event.target.closest("button")) return; // presses that button
  if (key === "arrowleft") return step(-1);
  if (key === "arrowright") return step(1);
  if (line.simulated) return say(LOOKING_ONLY);
  if (key === "u" || withControl) {
    event.preventDefault();
    return undo();
  }
  const item = current();
  if (!item) return;
  const label = line.labels[item.task].find((name, index) => keyOf(name, index) === key);
  if (label) choose(label);
  else if (item.task === "box" && key === "e") save("empty");
  else if (item.task === "box" && (key === "delete" || key === "backspace")) removeBox();
  else if (item.task === "box" && key === "enter") saveBoxes();
  else return;
  event.preventDefault();
});
// A button pressed by mouse must not take the Enter that is meant for "save".
document.addEventListener("mousedown", (event) => { if (event.target.closest("button")) event.preventDefault(); });

canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  drag = [pointOf(event), pointOf(event)];
});
canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag[1] = pointOf(event);
  draw();
});
canvas.addEventListener("pointerup", endDrag);
canvas.addEventListener("pointercancel", () => { drag = null; draw(); });
new ResizeObserver(fit).observe(canvas.parentElement);
at("back").onclick = () => step(-1);
at("forward").onclick = () => step(1);
at("waiting").onclick = () => nextWaiting();
at("undo").onclick = undo;

fetch("/api/line").then(async (reply) => {
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.detail);
  line = answer;
  kept = JSON.parse(sessionStorage.getItem(`review of ${line.line}`)) || kept;
  for (const name of Object.keys(VIEWS)) {
    position[name] = Math.max(itemsOf(name).findIndex((item) => !item.decided), 0);
  }
  nextWaiting();
}).catch((error) => say(`The line cannot be shown: ${error.message}`, true));
