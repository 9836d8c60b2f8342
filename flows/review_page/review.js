"use strict";

const VIEWS = {groups: ["group"], crops: ["crop", "audit"], frames: ["box"]};
const KEYS = "1234567890qwrtyuiopasdfghjklzxcvb"; // n, m and e have meanings of their own
const MIN_PX = 4; // a shorter drag is a click
const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008b8b", "#d4a000", "#f032e6", "#808000"];

const at = (id) => document.getElementById(id);
let line = null;
let view = "groups";
let position = {groups: 0, crops: 0, frames: 0};
let shownSince = performance.now();
let saving = false;
let boxes = []; // [x1, y1, x2, y2, action], pixels of the frame
let selected = -1;
let drag = null;
let picture = null;

const itemsOf = (name) => line.items.filter((item) => VIEWS[name].includes(item.task));
const current = () => itemsOf(view)[position[view]];
const canvas = () => at("frame");

function element(kind, text, change = {}) {
  return Object.assign(document.createElement(kind), {textContent: text}, change);
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

function showHeader() {
  const decided = line.items.filter((item) => item.decided).length;
  at("line").textContent = `${line.line} (${line.reviewer})`;
  document.title = `Review of ${line.line}`;
  at("progress").textContent = `${decided} of ${line.items.length} decided`;
  at("views").replaceChildren(...Object.keys(VIEWS).map((name) => {
    const items = itemsOf(name);
    const text = `${name} ${items.filter((item) => item.decided).length}/${items.length}`;
    return element("button", text, {className: name === view ? "on" : "", onclick: () => { view = name; show(); }});
  }));
  if (line.simulated) say("simulated reviewer: looking only");
  else if (decided === line.items.length) say(`All decided. Now run: ${line.next}`);
}

function show() {
  say("");
  showHeader();
  const item = current();
  at("crops").replaceChildren();
  canvas().hidden = true;
  at("labels").replaceChildren();
  at("help").replaceChildren();
  if (!item) {
    at("about").textContent = "Nothing to decide here.";
    return;
  }
  const parts = [`${position[view] + 1} of ${itemsOf(view).length}`, item.item_id, item.reason];
  if (item.decided) parts.push(`decided: ${item.decided}`);
  if (item.outdated) parts.push(`decided before, on other pictures: ${item.outdated}`);
  at("about").textContent = parts.join(" | ");
  if (item.task === "box") showFrame(item);
  else showCrops(item);
  showLabels(item);
  shownSince = performance.now();
}

function showCrops(item) {
  at("crops").className = item.box_ids.length === 1 ? "single" : "";
  at("crops").replaceChildren(...item.box_ids.map((id) =>
    element("img", "", {src: `/api/crop?box_id=${encodeURIComponent(id)}`, alt: id})));
  at("help").textContent = "Press a label's key. Left and right arrows go through the items.";
}

function showLabels(item) {
  const buttons = line.labels[item.task].map((label, index) => {
    const on = item.task !== "box" && item.decided === label;
    const hint = item.task !== "box" && item.suggested === label;
    const button = element("button", `${label} `, {
      className: `${on ? "on" : ""} ${hint ? "hint" : ""}`, onclick: () => choose(label), title: hint ? "suggested" : "",
    });
    button.append(element("kbd", keyOf(label, index).toUpperCase()));
    return button;
  });
  if (item.task === "box") {
    buttons.push(element("button", "remove box (Delete)", {onclick: removeBox}));
    buttons.push(element("button", "empty frame (E)", {onclick: () => save("empty")}));
    buttons.push(element("button", "save (Enter)", {onclick: saveBoxes}));
  }
  at("labels").replaceChildren(...buttons);
}

function showFrame(item) {
  boxes = parseBoxes(item.decided || item.suggested);
  selected = boxes.findIndex((box) => !box[4]);
  if (selected < 0) selected = boxes.length - 1;
  drag = null;
  picture = null;
  at("help").textContent = "One tight box per hand: glove and fingers, no forearm, no tool. Drag draws a box, a click " +
    "selects one, Delete removes it, a label's key names it. E: no hand on this frame. Enter saves.";
  const image = new Image();
  image.onload = () => {
    if (current() !== item) return;
    picture = image;
    canvas().width = image.naturalWidth;
    canvas().height = image.naturalHeight;
    const zoom = Math.min(2, (window.innerWidth - 40) / image.naturalWidth, (window.innerHeight - 260) / image.naturalHeight);
    canvas().style.width = `${Math.max(zoom, 0.25) * image.naturalWidth}px`;
    canvas().hidden = false;
    draw();
    shownSince = performance.now();
  };
  image.onerror = async () => {
    const reply = await fetch(image.src);
    if (current() === item && !reply.ok) say((await reply.json()).detail, true);
  };
  image.src = `/api/frame?item_id=${encodeURIComponent(item.item_id)}`;
}

function draw() {
  if (!picture) return;
  const context = canvas().getContext("2d");
  const labels = line.labels.box;
  context.drawImage(picture, 0, 0);
  const all = drag ? [...boxes, dragged()] : boxes;
  context.font = "14px sans-serif";
  all.forEach(([x1, y1, x2, y2, action], index) => {
    context.strokeStyle = context.fillStyle = action ? COLOURS[labels.indexOf(action) % COLOURS.length] : "#fff";
    context.lineWidth = index === selected ? 4 : 2;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.fillText(action || "?", x1 + 2, y1 > 16 ? y1 - 4 : y2 + 14);
  });
}

function pointOf(event) {
  const place = canvas().getBoundingClientRect();
  const inside = (value, size) => Math.min(Math.max(value, 0), size);
  return [
    inside((event.clientX - place.left - canvas().clientLeft) * canvas().width / canvas().clientWidth, canvas().width),
    inside((event.clientY - place.top - canvas().clientTop) * canvas().height / canvas().clientHeight, canvas().height),
  ];
}

function dragged() {
  const [[ax, ay], [bx, by]] = drag;
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by), ""];
}

function endDrag() {
  if (!drag) return;
  const box = dragged();
  const [x, y] = drag[0];
  drag = null;
  if (box[2] - box[0] >= MIN_PX && box[3] - box[1] >= MIN_PX) {
    boxes.push(box);
    selected = boxes.length - 1;
  } else {
    const area = (index) => (boxes[index][2] - boxes[index][0]) * (boxes[index][3] - boxes[index][1]);
    const hit = boxes.map((_, index) => index)
      .filter((index) => boxes[index][0] <= x && x <= boxes[index][2] && boxes[index][1] <= y && y <= boxes[index][3]);
    selected = hit.sort((a, b) => area(a) - area(b))[0] ?? -1;
  }
  draw();
}

function removeBox() {
  if (selected < 0) return say("Click a box first.", true);
  boxes.splice(selected, 1);
  selected = boxes.length - 1;
  draw();
}

function choose(label) {
  if (current().task !== "box") return save(label);
  if (selected < 0) return say("Click a box first.", true);
  boxes[selected][4] = label;
  const unnamed = boxes.findIndex((box) => !box[4]);
  if (unnamed >= 0) selected = unnamed;
  say("");
  draw();
}

function saveBoxes() {
  if (!boxes.length) return say("No box: press E where the frame shows no hand.", true);
  if (boxes.some((box) => !box[4])) return say("A box has no action yet.", true);
  save(JSON.stringify(boxes));
}

async function save(decided) {
  const item = current();
  if (saving || !item) return;
  if (item.task === "box" && !picture) return say("The frame is not shown yet.", true);
  if (line.simulated) return say("simulated reviewer: looking only", true);
  saving = true;
  try {
    const seconds = (performance.now() - shownSince) / 1000;
    const reply = await fetch("/api/decisions", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({item_id: item.item_id, decided, seconds}),
    });
    const answer = await reply.json();
    if (!reply.ok) return say(`Not saved: ${typeof answer.detail === "string" ? answer.detail : reply.status}`, true);
    line = answer;
    nextWaiting();
  } catch (error) {
    say(`Not saved: ${error.message}. Is the command still running?`, true);
  } finally {
    saving = false;
  }
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
  if (!line || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "ArrowLeft") return step(-1);
  if (event.key === "ArrowRight") return step(1);
  const item = current();
  if (!item) return;
  const key = event.key.toLowerCase();
  const labels = line.labels[item.task];
  const label = labels.find((name, index) => keyOf(name, index) === key);
  if (label) choose(label);
  else if (item.task === "box" && key === "e") save("empty");
  else if (item.task === "box" && (key === "delete" || key === "backspace")) removeBox();
  else if (item.task === "box" && key === "enter") saveBoxes();
  else return;
  event.preventDefault();
});

canvas().addEventListener("pointerdown", (event) => {
  canvas().setPointerCapture(event.pointerId);
  drag = [pointOf(event), pointOf(event)];
});
canvas().addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag[1] = pointOf(event);
  draw();
});
canvas().addEventListener("pointerup", endDrag);
canvas().addEventListener("pointercancel", () => { drag = null; draw(); });
at("back").onclick = () => step(-1);
at("forward").onclick = () => step(1);
at("waiting").onclick = nextWaiting;

fetch("/api/line").then(async (reply) => {
  if (!reply.ok) throw new Error((await reply.text()).slice(0, 300));
  line = await reply.json();
  nextWaiting();
}).catch((error) => say(`The line cannot be shown: ${error.message}`, true));
