/** From capture to the result, and stage by stage: how long, how often, and what was lost. */

import { make, setText, Table } from "../elements.js";
import { count, counts, duration, isKnown, number, percent } from "../format.js";

const PARTS = ["transport", "queue", "process"];
// A stage that reports no frame for so long is shown as silent.
const SILENT_S = 3;

export class LatencyPanel {
  id = "latency";
  title = "Latency";

  constructor() {
    this.window = make("p", { class: "note" });
    this.ends = new Table("From capture to the published result (ms)", [
      { title: "last stage", text: (row) => row.stage },
      ...percentileColumns("", (row) => row.recent),
      { title: "p99 since the start", text: (row) => number(row.whole.p99), isNumber: true },
      { title: "frames", text: (row) => count(row.count), isNumber: true },
      { title: "deadline misses", text: (row) => missesOf(row, this.hasDeadline), isNumber: true },
    ], keyOf);
    this.stages = new Table("Stages (ms)", [
      { title: "stage", draw: drawName },
      { title: "rate", text: (row) => number(row.rate_hz, "Hz"), isNumber: true },
      ...percentileColumns("process ", (row) => row.process),
      { title: "queue p50", text: (row) => number(row.queue.p50), isNumber: true },
      { title: "queue p99", text: (row) => number(row.queue.p99), isNumber: true },
      { title: "device p50", text: (row) => number(row.device.p50), isNumber: true },
      { title: "dropped", text: (row) => counts(row.drops), isWide: true },
      { title: "share of the time", draw: (cell, row) => this.drawShare(cell, row), isWide: true },
    ], keyOf, (row) => (row.silent_s > SILENT_S ? "stale" : ""));
    const key = make("p", { class: "note" }, "Mean of each stage: ",
      ...PARTS.map((part) => make("span", { class: `key ${part}` }, part)));
    this.body = make("div", {}, this.window, this.ends.element, this.stages.element, key);
    this.hasDeadline = false;
    this.totalMs = 0;
  }

  /** @param {any} snapshot */
  render(snapshot) {
    this.hasDeadline = isKnown(snapshot.deadline_ms);
    const deadline = this.hasDeadline ? `, deadline ${number(snapshot.deadline_ms, "ms")}` : "";
    setText(this.window, isKnown(snapshot.window_s)
      ? `over the last ${duration(snapshot.window_s)}${deadline}` : "");
    this.totalMs = snapshot.stages.reduce((sum, row) => sum + meanOf(row), 0);
    this.ends.update(snapshot.ends);
    this.stages.update(snapshot.stages);
  }

  /**
   * Draw a bar: how much of the time of all stages this one takes, and with what.
   * @param {HTMLElement} cell @param {any} row
   */
  drawShare(cell, row) {
    if (!cell.firstElementChild) {
      const bar = make("span", { class: "bar", "aria-hidden": "true" },
        ...PARTS.map((part) => make("span", { class: part })));
      cell.append(make("span", { class: "share" }, bar, make("span")));
    }
    const [bar, label] = cell.firstElementChild.children;
    PARTS.forEach((part, place) => {
      const share = this.totalMs > 0 ? Math.max(0, row[part].mean ?? 0) / this.totalMs : 0;
      bar.children[place].style.width = `${(share * 100).toFixed(1)}%`;
    });
    setText(label, percent(this.totalMs > 0 ? meanOf(row) / this.totalMs : null));
  }
}

/** @param {any} row */
function keyOf(row) {
  return `${row.node} ${row.stage}`;
}

/** The mean time of a frame in a stage and on the way to it. @param {any} row */
function meanOf(row) {
  return PARTS.reduce((sum, part) => sum + Math.max(0, row[part].mean ?? 0), 0);
}

/** @param {string} title @param {(row: any) => any} of */
function percentileColumns(title, of) {
  return ["p50", "p95", "p99"].map((name) => ({
    title: title + name, text: (row) => number(of(row)[name]), isNumber: true,
  }));
}

/** @param {any} row @param {boolean} hasDeadline */
function missesOf(row, hasDeadline) {
  return count(hasDeadline ? row.deadline_misses : null);
}

/** The stage, its node, and what is wrong with it. @param {HTMLElement} cell @param {any} row */
function drawName(cell, row) {
  if (!cell.firstElementChild) cell.append(make("span"), make("small"));
  const notes = [row.node];
  if (row.silent_s > SILENT_S) notes.push(`no frame for ${duration(row.silent_s)}`);
  if (Object.keys(row.clock_faults).length > 0) notes.push(`clocks: ${counts(row.clock_faults)}`);
  setText(cell.firstElementChild, row.stage);
  setText(cell.lastElementChild, notes.join(" · "));
}
