// How large square cells can be so that all of them fit the stage.

import {at} from "./dom.js";

const LEAST_CELL_PX = 72;
const MOST_CELL_PX = 220;
const LEAST_ACROSS = 3; // on a narrow window, too, several are beside each other
const GAP_PX = 6;
const EDGE_PX = 8;

export function fitCells(count) {
  const wide = at("stage").clientWidth - EDGE_PX;
  const high = at("stage").clientHeight - EDGE_PX;
  let best = LEAST_CELL_PX;
  for (let across = 1; across <= count; across += 1) {
    const side = Math.min(wide / across - GAP_PX, high / Math.ceil(count / across) - GAP_PX);
    best = Math.max(best, Math.min(side, MOST_CELL_PX));
  }
  const most = wide / Math.min(count, LEAST_ACROSS) - GAP_PX;
  at("crops").style.setProperty("--cell", `${Math.floor(Math.min(best, most))}px`);
}
