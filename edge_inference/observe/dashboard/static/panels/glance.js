/** The figures that tell at a glance whether the robot is well. */

import { Facts } from "../elements.js";
import { count, number, percent, text } from "../format.js";

export class GlancePanel {
  id = "glance";
  title = "At a glance";

  constructor() {
    this.facts = new Facts();
    this.facts.element.classList.add("tiles");
    this.body = this.facts.element;
  }

  /** @param {any} snapshot */
  render(snapshot) {
    const platform = snapshot.platform;
    const engine = snapshot.engines[0];
    // Of several last stages the one that most frames reach: a branch is there for some of them.
    const end = snapshot.ends.reduce(
      (busiest, row) => (busiest && busiest.count >= row.count ? busiest : row), null);
    const last = end && snapshot.stages.find(
      (row) => row.node === end.node && row.stage === end.stage);
    const isLate = snapshot.deadline_ms !== null && end?.recent.p99 > snapshot.deadline_ms;
    this.facts.update([
      ["end to end, p50", number(end?.recent.p50, "ms")],
      ["end to end, p99", number(end?.recent.p99, "ms"), isLate ? "bad" : ""],
      ["deadline misses", snapshot.deadline_ms === null ? text("") : count(end?.deadline_misses)],
      ["results", number(last?.rate_hz, "Hz")],
      ["precision", text(engine?.precision)],
      ["hottest", number(platform?.hottest_c, "°C")],
      ["power", number(platform?.power_w, "W")],
      ["CPU", percent(platform?.cpu_share)],
      ["GPU", percent(platform?.gpu_share)],
      ["level", text(platform?.level), levelClass(platform?.level)],
    ]);
  }
}

/** @param {string | undefined} level */
export function levelClass(level) {
  return !level || level === "full" ? "" : "attention";
}
