// Which key means what.

const LABEL_KEYS = "1234567890rtyiopsdghjkzxcv"; // the other letters have meanings of their own

const OWN_KEYS = new Map([["NG", "n"], ["mixed", "m"]]); // of an object an action "constructor" would be found, too

export const keyOfLabel = (label, index) => OWN_KEYS.get(label) || LABEL_KEYS[index] || "";

export const labelOfKey = (labels, key) => labels.find((label, index) => keyOfLabel(label, index) === key);

// Where digits need Shift, their keys count all the same.
export function keyOf(event) {
  if (/^Digit\d$/.test(event.code)) return event.code.at(-1);
  return event.key === " " ? "space" : event.key.toLowerCase();
}

export const HELP = [
  ["1 2 3 … N M", "the action with this key; NG: none of the line's actions; mixed: a group of several actions"],
  ["← → ↑ ↓", "crops: move the mark · groups: the one before, the next · frames: move the selected box"],
  ["Space", "crops: begins a range of selected crops; the arrows stretch it, Space ends it (Shift + arrows does the same)"],
  ["Shift + arrows", "frames: resize the selected box"],
  ["A", "crops: accepts the page: each undecided crop gets the suggested action · frames: saves the boxes"],
  ["U, Ctrl Z", "takes back: the last change of boxes, else the last answer (a new decision; nothing is erased)"],
  ["PgUp PgDn", "the page before, the next page"],
  ["W", "the next page with something undecided"],
  [", .", "the crops of the action before, of the next action; also groups, audit, frames, disagreements"],
  ["L", "the neighbouring frames as a loop"],
  ["+ or Ins", "frames: a new box; B: selects the next box; Del: removes the selected one"],
  ["E", "frames: empty, checked: there is no hand"],
  ["Enter", "frames: saves the boxes"],
  ["Esc", "selects nothing; closes a window"],
  ["Q", "quality: how many of the labels that nobody decides are wrong at most, and how many looks are still needed"],
  ["F", "finish: writes decisions.csv and starts the training, or tells what it waits for"],
  ["?", "these keys"],
];
