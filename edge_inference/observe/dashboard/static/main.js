/** The page: connects, keeps the newest snapshot, and draws what is on the screen. */

import { Connection } from "./connection.js";
import { make, setText } from "./elements.js";
import { clock, duration } from "./format.js";
import { Panel } from "./panel.js";
import { ChartsPanel } from "./panels/charts.js";
import { EnginePanel } from "./panels/engine.js";
import { GlancePanel } from "./panels/glance.js";
import { HealthPanel } from "./panels/health.js";
import { ImagePanel } from "./panels/image.js";
import { LatencyPanel } from "./panels/latency.js";
import { LogPanel } from "./panels/log.js";
import { ParametersPanel } from "./panels/parameters.js";
import { PlatformPanel } from "./panels/platform.js";
import { ProcessesPanel } from "./panels/processes.js";
import { ResultsPanel } from "./panels/results.js";
import { TargetsPanel } from "./panels/targets.js";
import { VoicePanel } from "./panels/voice.js";
import { SeriesStore } from "./series_store.js";
import { startTheme } from "./theme.js";

// However often data comes, the page is drawn twice a second.
const DRAW_MS = 500;
const SILENT_MS = 3000;
const NOTICE_MS = 15000;

export const store = new SeriesStore();
const connection = new Connection({ onState: changeState, onMessage: receive, onImage });
const charts = new ChartsPanel(store, askForHistory);
const image = new ImagePanel((isOn) => connection.send({ type: "image", on: isOn }));
const parameters = new ParametersPanel((message) => connection.send(message));
const places = {
  first: [new GlancePanel(), new TargetsPanel(), new LatencyPanel(), charts],
  left: [image, new ResultsPanel(), new VoicePanel(), new LogPanel()],
  right: [new EnginePanel(), new PlatformPanel(), new ProcessesPanel(), new HealthPanel()],
  last: [parameters],
};

/** @type {Panel[]} */
const panels = [];
/** @type {any} */
let snapshot = null;
let heardAt = 0;
let noticedAt = 0;
let state = "connecting";
let reason = "";
let version = "";
let isReadOnly = true;

/** @param {string} id */
function byId(id) {
  return /** @type {any} */ (document.getElementById(id));
}

/** @param {string} newState @param {string} newReason */
function changeState(newState, newReason) {
  state = newState;
  reason = newReason;
  byId("token-form").hidden = state !== "refused";
  if (state === "refused") byId("token").focus();
  draw();
}

/** @param {any} message */
function receive(message) {
  if (message.type === "welcome") welcome(message);
  else if (message.type === "snapshot") takeSnapshot(message);
  else if (message.type === "history") store.replace(message);
  else if (message.type === "parameters") parameters.receive(message);
  else if (message.type === "set_result") parameters.receiveAnswer(message);
  else if (message.type === "error") showNotice(message.message);
}

/** @param {{read_only: boolean, version: string}} message */
function welcome(message) {
  // After an update of the robot, this page may not understand its server.
  if (version && version !== message.version) location.reload();
  version = message.version;
  isReadOnly = message.read_only;
  showNotice("");
  askForHistory(store.rangeS);
  image.reconnect();
  parameters.reconnect(isReadOnly);
}

/** @param {{data: any, point?: any}} message */
function takeSnapshot(message) {
  snapshot = message.data;
  heardAt = performance.now();
  if (message.point && !store.append(message.point)) askForHistory(store.rangeS);
}

/** @param {number} seconds */
function askForHistory(seconds) {
  store.setRange(seconds);
  connection.send({ type: "history", since_s: seconds });
}

/** @param {ArrayBuffer} data */
function onImage(data) {
  image.receive(data);
}

/** @param {string} text */
function showNotice(text) {
  noticedAt = performance.now();
  byId("notice").hidden = !text;
  setText(byId("notice"), text);
}

/** What the page shows, in one sentence, and whether that is good. @returns {[string, string]} */
function describe() {
  const why = reason ? `: ${reason}` : "";
  if (state === "connecting") return ["connecting", "attention"];
  if (state === "refused") return [reason || "the token is not accepted", "bad"];
  if (state === "lost") return [`the connection is lost${why}; trying again`, "bad"];
  if (!snapshot) return ["connected, waiting for data", "attention"];
  if (performance.now() - heardAt > SILENT_MS) return ["the dashboard sends no data", "bad"];
  if (snapshot.status) return [snapshot.status, "attention"];
  return ["observing", "good"];
}

function draw() {
  const [sentence, color] = describe();
  setText(byId("status"), sentence);
  byId("status").className = color;
  byId("panels").classList.toggle("stale", color !== "good");
  if (performance.now() - noticedAt > NOTICE_MS) showNotice("");
  if (!snapshot) return;
  const names = [snapshot.namespace, snapshot.platform?.board, isReadOnly ? "read-only" : ""];
  setText(byId("where"), names.filter(Boolean).join(" · "));
  const silentMs = performance.now() - heardAt;
  const isOld = silentMs > SILENT_MS;
  setText(byId("age"), isOld ? `${duration(silentMs / 1000)} old` : clock(snapshot.at_s));
  for (const panel of panels) panel.draw(snapshot);
}

for (const [place, contents] of Object.entries(places)) {
  for (const content of contents) {
    const panel = new Panel(content);
    panels.push(panel);
    byId(place).append(panel.element);
    const link = make("a", { href: `#${content.id}` }, content.title);
    link.addEventListener("click", () => panel.open());
    byId("links").append(make("li", {}, link));
  }
}
byId("token-form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  connection.useToken(byId("token").value.trim());
  byId("token").value = "";
});
startTheme(byId("theme"), () => charts.recolor());
setInterval(draw, DRAW_MS);
connection.open();
