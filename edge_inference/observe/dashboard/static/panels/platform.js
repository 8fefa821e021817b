/** The machine: temperatures, power, what throttles it, and every sensor. */

import { Facts, make, setText, Table } from "../elements.js";
import { duration, isKnown, number, percent, text } from "../format.js";
import { levelClass } from "./glance.js";

const STALE_S = 10;
// UCUM writes degrees Celsius as Cel.
const UNITS = { Cel: "°C" };

export class PlatformPanel {
  id = "platform";
  title = "Platform";

  constructor() {
    this.facts = new Facts();
    this.problem = make("p", { class: "problem" });
    this.sensors = new Table("Sensors", [
      { title: "sensor", text: (row) => row.name },
      { title: "value", text: (row) => readingText(row), isNumber: true },
      { title: "limit", text: (row) => number(row.limit, unitOf(row)), isNumber: true },
      { title: "role", text: (row) => (row.role === "none" ? "" : row.role.replaceAll("_", " ")) },
      { title: "state", text: (row) => row.status },
    ], keyOf, (row) => (row.status === "ok" ? "" : "stale"));
    this.nothing = make("p", { class: "nothing" }, "nothing is known of the machine");
    this.known = make("div", {}, this.facts.element, this.problem, this.sensors.element);
    this.body = make("div", {}, this.known, this.nothing);
  }

  /** @param {any} snapshot */
  render(snapshot) {
    const row = snapshot.platform;
    this.known.hidden = row === null;
    this.nothing.hidden = row !== null;
    if (row === null) return;
    const isThrottled = row.throttling.length > 0;
    this.facts.update([
      ["board", text(row.board)],
      ["power mode", text(row.mode)],
      ["hottest", isKnown(row.hottest_c) ? hottestText(row) : text("")],
      ["power", number(row.power_w, "W")],
      ["thermal limit in use", percent(row.headroom)],
      ["level", text(row.level), levelClass(row.level)],
      ["CPU, all cores", percent(row.cpu_share)],
      ["GPU", percent(row.gpu_share)],
      ["memory", percent(row.memory_share)],
      ["throttled by", row.throttling.join(", ") || "nothing", isThrottled ? "bad wide" : "wide"],
      ["reason", text(row.reason), "wide"],
      ["read by", text(row.source), "wide"],
      ["age", duration(row.age_s), row.age_s > STALE_S ? "attention" : ""],
    ]);
    this.known.classList.toggle("stale", row.age_s > STALE_S);
    this.problem.hidden = !row.problem;
    setText(this.problem, row.problem);
    this.sensors.update(row.readings);
  }
}

/** @param {any} row */
function keyOf(row) {
  return `${row.quantity} ${row.name} ${row.role}`;
}

/** @param {any} row */
function hottestText(row) {
  return `${number(row.hottest_c, "°C")} ${row.hottest_name}`;
}

/** @param {any} row */
function unitOf(row) {
  return UNITS[row.unit] ?? row.unit;
}

/** The text is for people; of an unknown value it is the reason. @param {any} row */
function readingText(row) {
  return row.text || number(row.value, unitOf(row));
}
