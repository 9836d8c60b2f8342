// Pages of items together with their pictures, read two pages ahead.

import {cropUrl, frameUrl, readItems} from "./api.js";
import {app} from "./state.js";

const PAGES_AHEAD = 2;

let ahead = []; // {name, count, from, page: promise}
let pictures = {}; // of the shown page's crops, as addresses

export const sizeOf = (task) => (task === "crop" || task === "audit" ? app.line.page_items : 1);

export function forget() {
  ahead = [];
}

// Of a crop, wherever it is shown.
export const pictureOf = (boxId) => pictures[boxId] || cropUrl(boxId, app.line.version);

async function read(name, place, count, waiting) {
  const page = await readItems(name, place, count, waiting);
  for (const boxId of Object.keys(page.crops)) page.crops[boxId] = `data:image/png;base64,${page.crops[boxId]}`;
  return page;
}

function preload(page) {
  for (const item of page.items) {
    if (item.task === "box") new Image().src = frameUrl(item.item_id, app.line.version);
  }
  for (const address of Object.values(page.crops)) new Image().src = address;
}

// One after the other: where the next undecided page is, is known when the one before is there.
export async function lookAhead(page, count) {
  let last = page;
  for (let pages = 0; last && pages < PAGES_AHEAD; pages += 1) {
    const from = last.place + count;
    if (from >= last.total) return;
    last = await (ahead.find((one) => isOf(one, page.name, count, from)) || readAhead(page.name, count, from)).page;
  }
}

const isOf = (one, name, count, from) => one.name === name && one.count === count && one.from === from;

function readAhead(name, count, from) {
  const asked = read(name, from, count, true).then((next) => {
    preload(next);
    return {...next, progress: null}; // of an earlier moment
  }).catch(() => null);
  const one = {name, count, from, page: asked};
  ahead = [...ahead, one].slice(-PAGES_AHEAD);
  return one;
}

// The page at a place; the next undecided one from there where `waiting`.
export async function pageAt(name, place, count, waiting) {
  const mine = ahead.find((one) => isOf(one, name, count, place));
  const known = mine && await mine.page;
  // Behind the last undecided one the search went round to a page that may be decided by now.
  const fits = known && (waiting ? known.place >= place : known.place === place);
  const page = fits ? known : await read(name, place, count, waiting);
  ahead = ahead.filter((one) => one !== mine);
  pictures = page.crops;
  return page;
}
