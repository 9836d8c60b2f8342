// Pages of items, read one page ahead together with their pictures.

import {cropUrl, frameUrl, readItems} from "./api.js";
import {app} from "./state.js";

let ahead = null; // {name, count, from, page: promise}

export const sizeOf = (task) => (task === "crop" || task === "audit" ? app.line.page_items : 1);

export function forget() {
  ahead = null;
}

function preload(page) {
  for (const item of page.items) {
    const urls = item.task === "box"
      ? [frameUrl(item.item_id, app.line.version)]
      : item.box_ids.map((id) => cropUrl(id, app.line.version));
    for (const url of urls) new Image().src = url;
  }
}

export function lookAhead(page, count) {
  const from = page.place + count;
  if (from >= page.total || (ahead && ahead.name === page.name && ahead.from === from)) return;
  const asked = readItems(page.name, from, count, true).then((next) => {
    preload(next);
    return {...next, progress: null}; // of an earlier moment
  }).catch(() => null);
  ahead = {name: page.name, count, from, page: asked};
}

// The page at a place; the next undecided one from there where `waiting`.
export async function pageAt(name, place, count, waiting) {
  const mine = ahead && ahead.name === name && ahead.count === count && ahead.from === place ? ahead : null;
  const known = mine && await mine.page;
  // Behind the last undecided one the search went round to a page that may be decided by now.
  const fits = known && (waiting ? known.place >= place : known.place === place);
  const page = fits ? known : await readItems(name, place, count, waiting);
  if (mine) forget();
  return page;
}
