// One frame with its boxes: correct them, or say that there is no hand.

import {frameUrl} from "./api.js";
import {save} from "./answers.js";
import {at, button, element, say} from "./dom.js";
import {BoxEditor} from "./editor.js";
import {DISAGREEMENTS, LOOKING_ONLY, app, inWordsOf, keep, kept, parseBoxes} from "./state.js";

let item = null;
let earlier = []; // {boxes, kind}: the frame's boxes before each change
let onShown = () => {};
const editor = new BoxEditor(at("frame"), changed, () => onShown());

export const setOnShown = (told) => { onShown = told; };
export const current = () => item;
export const isDraft = () => Boolean(kept.drafts[item.item_id]);
export const canUndo = () => item && item.task === "box" && earlier.length > 0;
export const fit = () => editor.fit();
export const question = () => "Has every hand one tight box, with the action that it does?";
export const labels = () => app.line.labels.box;
export const isOn = () => false;
export const hintOf = () => "";

// Done when the picture is there.
export async function show(page) {
  [item] = page.items;
  const before = parseBoxes(item.decided || item.mine || (item.words[0] || [])[1] || item.suggested);
  const draft = kept.drafts[item.item_id];
  const boxes = structuredClone(draft || before);
  earlier = draft ? [{boxes: before, kind: "draft"}] : [];
  at("loading").hidden = false;
  const picture = new Image();
  picture.src = frameUrl(item.item_id, app.line.version);
  try {
    await picture.decode();
  } catch {
    const reply = await fetch(picture.src).catch(() => null);
    const told = reply && !reply.ok ? (await reply.json()).detail : "The frame cannot be shown. Is the command still running?";
    return say(told, true);
  } finally {
    at("loading").hidden = true;
  }
  at("frame").hidden = false;
  return editor.open(picture, boxes, labels(), app.line.simulated);
}

export function hide() {
  editor.close();
  item = null;
  earlier = [];
  at("frame").hidden = true;
}

function changed(boxesBefore, kind) {
  const last = earlier.at(-1);
  if (!(last && kind.startsWith("nudge") && last.kind === kind)) earlier.push({boxes: boxesBefore, kind});
  kept.drafts[item.item_id] = structuredClone(editor.boxes);
  keep();
  say("");
}

export function undoChange() {
  editor.boxes = earlier.pop().boxes;
  editor.selectOpen();
  if (earlier.length) kept.drafts[item.item_id] = structuredClone(editor.boxes);
  else delete kept.drafts[item.item_id];
  keep();
  editor.draw();
}

export function parts(whenFree) {
  const made = [
    button("new box", "+", {id: "add", onclick: () => withPicture(() => editor.add())}),
    button("remove box", "Del", {id: "remove", onclick: () => withBox(() => editor.remove())}),
    button("empty, checked", "E", {id: "empty", onclick: () => whenFree((done) => send("empty", done))}),
    button("save", "Enter", {id: "save", className: "save", onclick: () => whenFree(accept)}),
  ];
  for (const one of made) one.disabled = app.line.simulated;
  return made;
}

// The boxes as buttons, for those who do not point; of a disagreement what each reviewer drew.
export function list() {
  const said = item.words.map(([reviewer, text]) => button(`${reviewer}: ${inWordsOf("box", text)}`, "", {
    className: "word", onclick: () => take(parseBoxes(text)),
  }));
  const boxes = editor.boxes.map((box, index) => {
    const made = element("button", {
      className: index === editor.selected ? "box on" : "box", onclick: () => editor.select(index),
    }, `${index + 1}: ${box[4] || "action?"}`);
    made.setAttribute("aria-pressed", index === editor.selected);
    return made;
  });
  return [...said, ...boxes];
}

function take(boxes) {
  withPicture(() => {
    const before = structuredClone(editor.boxes);
    editor.boxes = boxes;
    changed(before, "take");
    editor.selectOpen();
    editor.draw();
  });
}

function withPicture(act) {
  if (app.line.simulated) return say(LOOKING_ONLY);
  if (!editor.picture) return say("The frame is not shown yet.", true);
  return act();
}

const withBox = (act) => withPicture(() => (editor.selected < 0 ? say("Click a box first.", true) : act()));

export const choose = (label) => withBox(() => editor.relabel(label));

export function accept(done) {
  return withPicture(() => {
    if (!editor.boxes.length) return say("No box: draw one round each hand, or say that there is no hand (E).", true);
    if (editor.boxes.some((box) => !box[4])) {
      editor.selectOpen();
      editor.draw();
      return say("A box has no action yet: give it one, or remove it.", true);
    }
    return send(JSON.stringify(editor.boxes), done);
  });
}

function send(decided, done) {
  return withPicture(async () => {
    const reply = await save([item], () => decided, app.name === DISAGREEMENTS);
    if (reply) await done(reply);
  });
}

export function key(name, event, step, done) {
  const arrows = {arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1]};
  if (name in arrows) withBox(() => editor.nudge(...arrows[name], event.shiftKey));
  else if (name === "b") editor.selectNext();
  else if (name === "+" || name === "=" || name === "insert") withPicture(() => editor.add());
  else if (name === "delete" || name === "backspace") withBox(() => editor.remove());
  else if (name === "e") return send("empty", done);
  else if (name === "enter") return accept(done);
  else if (name === "escape") editor.select(-1);
  return null;
}
