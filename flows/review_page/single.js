// One item on a page: a group to name, or a group or crop whose answers differ between reviewers.

import {save} from "./answers.js";
import {fitCells} from "./cells.js";
import {at, image, say} from "./dom.js";
import {pictureOf} from "./pages.js";
import {DISAGREEMENTS, app} from "./state.js";

let item = null;

export function show(page) {
  [item] = page.items;
  const count = item.box_ids.length;
  at("crops").className = count === 1 ? "single" : "group";
  at("crops").replaceChildren(...item.box_ids.map((id, index) => image(pictureOf(id), {
    alt: `crop ${index + 1} of ${count}`, title: id,
    onerror: () => say("A crop cannot be shown. Is the command still running?", true),
  })));
  fit();
}

export function fit() {
  if (item && at("crops").className === "group") fitCells(item.box_ids.length);
}

export const question = () => (item.task === "group"
  ? "Which action do all these hands do?"
  : "Which action does this hand do?");

export const current = () => item;
export const labels = () => app.line.labels[item.task];
export const isOn = (label) => item.decided === label;
export const hintOf = (label) => {
  const who = item.words.filter(([, said]) => said === label).map(([reviewer]) => reviewer);
  return who.length ? who.join(", ") : item.suggested === label && !item.decided ? "suggested" : "";
};

export async function choose(label, done) {
  const reply = await save([item], () => label, app.name === DISAGREEMENTS);
  if (reply) await done(reply);
}

export function accept(done) {
  if (!item.suggested || item.decided) return say("There is no suggestion here: choose an action.", true);
  return choose(item.suggested, done);
}

export function key(name, event, step) {
  if (name === "arrowleft") return step(-1);
  return name === "arrowright" ? step(1) : null;
}
