// Receives snapshots and hands them to the page.

import { byId, make, number, setText } from "./dom.js";
import { View, log } from "./view.js";

const SEARCH_EVERY_MS = 1_000;
const AGAIN_MS = 3_000;
const HIDDEN_MS = 30_000;
const SHOWN = 25;

const view = new View();
let source = null;
let newest = null;
let paused = false;
let hiding = 0;

function say(state, text) {
  byId("connection").dataset.state = state;
  setText(byId("connection-text"), text);
}

function connect() {
  if (source) return;
  source = new EventSource("/api/stream");
  source.addEventListener("state", ({ data }) => {
    newest = JSON.parse(data);
    if (paused) return;
    say(newest.kafka.up ? "live" : "old", newest.kafka.up ? "Live" : "Figures are old");
    show();
  });
  source.addEventListener("error", () => {
    say("lost", "Connection lost, trying again");
    if (source?.readyState !== EventSource.CLOSED) return;
    // The server has said no: it is full, or wants the token again.
    disconnect();
    setTimeout(async () => {
      const answer = await fetch("/api/stats").catch(() => null);
      if (answer?.status === 401) location.assign("/login");
      else connect();
    }, AGAIN_MS);
  });
}

function disconnect() {
  source?.close();
  source = null;
}

function show() {
  view.show(newest);
  const select = byId("type");
  const known = new Set([...select.options].map((option) => option.value));
  for (const { name } of newest.types.top) if (!known.has(name)) select.append(make("option", { value: name }, name));
  if (!searching()) {
    const held = newest.log.slice(0, SHOWN);
    log(held, "the newest events", "Events show here as they come. None has yet.");
  }
}

const searching = () => byId("q").value.trim() !== "" || byId("type").value !== "";

async function search() {
  if (!searching()) {
    if (newest) show();
    return;
  }
  const asked = new URLSearchParams({ q: byId("q").value.trim(), type: byId("type").value, limit: SHOWN });
  const answer = await fetch(`/api/events?${asked}`).catch(() => null);
  if (!answer?.ok || !searching()) return;
  const { events, searched } = await answer.json();
  log(events, `${events.length < SHOWN ? events.length : `first ${SHOWN}`} of the latest ${number(searched)} events match`,
    "None of the latest events matches.");
}

byId("filter").addEventListener("input", search);
byId("filter").addEventListener("submit", (event) => { event.preventDefault(); search(); });
setInterval(() => { if (!paused && !document.hidden && searching()) search(); }, SEARCH_EVERY_MS);

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  setText(byId("pause"), paused ? "Go on" : "Pause");
  if (paused) say("paused", "Paused");
  else if (newest) { say("live", "Live"); show(); }
});

// Nobody looks at a hidden page.
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(disconnect, HIDDEN_MS);
  else connect();
});

connect();
