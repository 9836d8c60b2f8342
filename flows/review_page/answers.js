// Answers: saved before they show as given, and taken back by a new one.

import {sendAnswers} from "./api.js";
import {say} from "./dom.js";
import {giveBack, takeSeconds} from "./pace.js";
import {app, certifiedInWords, inWordsOf, keep, kept} from "./state.js";

const MOST_UNDONE = 200; // answers that can be taken back: the browser's storage holds 5 MB
const REFUSED_FOR_GOOD = [404, 422]; // no such item, no such label

let saving = false;

async function send(answers, onRefusedForGood = () => {}) {
  if (saving) return null;
  saving = true;
  try {
    const reply = await sendAnswers(answers, app.line.version);
    if (reply.progress) app.progress = reply.progress;
    return reply;
  } catch (error) {
    if (REFUSED_FOR_GOOD.includes(error.status)) onRefusedForGood();
    if (error.told) say(`Not saved: ${error.message}`, true);
    else say(`Not saved for certain: ${error.message}. Is the command still running? Start it again, then answer again.`, true);
    return null;
  } finally {
    saving = false;
  }
}

// Gives items as they are now where the answers were saved; where another window answered first `unseen` is set.
export async function save(items, decidedOf, settles = false) {
  const seconds = takeSeconds();
  const before = app.progress;
  const reply = await send(items.map((item) => ({
    item_id: item.item_id, decided: decidedOf(item), seconds: seconds / items.length, settles,
    seen: settles ? item.seen : item.seen_mine,
  })));
  if (!reply || reply.unseen) giveBack(seconds);
  if (!reply) return null;
  if (reply.unseen) {
    say(`Not saved: ${reply.detail}. Answer again to replace that.`, true);
    return reply;
  }
  kept.saved.push({
    name: app.name,
    place: app.place,
    items: reply.items.map((item, index) => ({
      item_id: item.item_id, task: item.task, before: settles ? "" : items[index].mine, seen: item.seen_mine,
      decided: item.mine,
    })),
  });
  kept.saved = kept.saved.slice(-MOST_UNDONE);
  for (const item of items) delete kept.drafts[item.item_id];
  keep();
  const differ = reply.items.filter((item) => item.words.length).length;
  const said = inWordsOf(items[0].task, decidedOf(items[0]));
  const told = differ ? ` ${differ} differ from another reviewer's answer: see disagreements.` : "";
  const met = app.progress.certified && !before.certified ? ` ${certifiedInWords()}` : "";
  say(`Saved: ${items.length > 1 ? `${items.length} crops as ` : ""}${said}.${told}${met}`);
  return {...reply, asksOthers: app.progress.unasked !== before.unasked};
}

function forgetLast() {
  kept.saved.pop();
  keep();
}

// Takes back the last answers of this window; gives where they were given.
export async function undoSaved() {
  const last = kept.saved.at(-1);
  if (!last) {
    say("Nothing to undo.", true);
    return null;
  }
  const reply = await send(last.items.map((item) => ({
    item_id: item.item_id, decided: item.before || "withdrawn", seconds: 0, settles: false, seen: item.seen,
  })), forgetLast);
  if (!reply) return null;
  forgetLast();
  if (reply.unseen) {
    say(`Not taken back: ${reply.detail}.`, true);
    return last;
  }
  // A second undo of the same item must tell that this one was seen.
  for (const earlier of kept.saved) {
    for (const item of earlier.items) {
      const now = reply.items.find((one) => one.item_id === item.item_id);
      if (now) item.seen = now.seen_mine;
    }
  }
  const [first] = last.items;
  if (first.task === "box" && first.decided !== "empty") kept.drafts[first.item_id] = JSON.parse(first.decided);
  keep();
  say(`Taken back: ${last.items.length > 1 ? `${last.items.length} answers` : inWordsOf(first.task, first.decided)}.`);
  return last;
}
