// Asks for the state a few times a second; the picture comes by itself, as one endless reply.
const EVERY_MS = 300;
const part = (id) => document.getElementById(id);

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function handShown(hand) {
  const shown = element("div", "", "hand");
  shown.append(element("strong", `${hand.hand}: ${hand.action}`));
  for (const [action, probability] of hand.top) {
    const row = element("div", "", "top");
    const meter = element("meter", "");
    meter.value = probability;
    row.append(element("span", action), meter, element("span", probability.toFixed(2)));
    shown.append(row);
  }
  return shown;
}

function eventShown(event) {
  const row = document.createElement("tr");
  const said = event.kind === "action" ? [event.action, event.hand, event.confidence.toFixed(2)] : [event.words, "", ""];
  const cells = [event.start_s.toFixed(2), event.end_s.toFixed(2), ...said];
  row.append(...[...cells, event.product].map((text) => element("td", text)));
  row.className = event.kind === "action" || event.kind === "cycle" ? event.kind : "deviation";
  return row;
}

function show(state) {
  part("heading").textContent = `${state.line}, ${state.camera}, bundle ${state.bundle}`;
  const { p50, p95, p99 } = state.latency_ms;
  if (state.media_s !== null) {
    part("figures").textContent =
      `${state.media_s.toFixed(1)} s; latency p50 ${p50} ms, p95 ${p95} ms, p99 ${p99} ms; ` +
      `${state.frames} frames, ${state.dropped} dropped, ${state.broken} broken, ${state.reconnects} reconnects`;
  }
  part("hands").replaceChildren(...state.hands.map(handShown));
  part("events").replaceChildren(...state.events.map(eventShown));
}

async function ask() {
  try {
    const reply = await fetch("state.json");
    show(await reply.json());
    part("figures").className = "";
  } catch {
    part("figures").textContent = "the recogniser does not answer";
    part("figures").className = "stale";
  }
  setTimeout(ask, EVERY_MS);
}

ask();
