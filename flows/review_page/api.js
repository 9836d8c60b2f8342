// What the server tells and takes.

const OWN_HEADER = "X-Lineact-Review"; // a foreign form cannot send it
const SAVE_TIMEOUT_MS = 20000;

async function asked(url, options = {}) {
  const reply = await fetch(url, options);
  const answer = await reply.json().catch(() => ({detail: `unreadable reply (${reply.status})`}));
  const unseen = reply.status === 409 && !answer.stale; // answered in another window meanwhile
  if (reply.ok || unseen) return {...answer, unseen};
  const detail = typeof answer.detail === "string" ? answer.detail : `refused (${reply.status})`;
  throw Object.assign(new Error(detail), {told: true, status: reply.status});
}

function post(url, body, options = {}) {
  return asked(url, {
    method: "POST",
    headers: {"Content-Type": "application/json", [OWN_HEADER]: "1"},
    body: JSON.stringify(body),
    ...options,
  });
}

const query = (values) => new URLSearchParams(values).toString();

export const readLine = () => asked("/api/line");
// With the pictures of its crops: one request each would take longer than all the rest.
export const readItems = (name, place, count, waiting) => asked(`/api/items?${query({name, place, count, waiting, pictures: true})}`);
// The version tells the queue that the page shows: answers to another are refused.
export const sendAnswers = (answers, version) =>
  post("/api/decisions", {answers, version}, {signal: AbortSignal.timeout(SAVE_TIMEOUT_MS)});
export const readQuality = () => asked("/api/quality");
export const sendFinish = () => post("/api/finish", {}); // the gate labels the whole line: no time is too long
// The address tells the queue's version, so that a browser may keep the picture.
export const cropUrl = (boxId, version) => `/api/crop?${query({box_id: boxId, v: version})}`;
export const frameUrl = (itemId, version) => `/api/frame?${query({item_id: itemId, v: version})}`;
export const loopUrl = (itemId, version) => `/api/loop?${query({item_id: itemId, v: version})}`;
