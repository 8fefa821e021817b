/** What the nodes say of themselves on /diagnostics, the worst first. */

import { Table } from "../elements.js";
import { duration, text } from "../format.js";

const LEVELS = ["error", "stale", "warn", "ok"];
const COLORS = { error: "bad", stale: "stale", warn: "attention", ok: "" };

export class HealthPanel {
  id = "health";
  title = "Health";

  constructor() {
    this.table = new Table("Nodes", [
      { title: "node", text: (row) => row.name },
      { title: "level", text: (row) => row.level },
      { title: "message", text: (row) => text(row.message), isWide: true },
      { title: "age", text: (row) => duration(row.age_s), isNumber: true },
    ], (row) => row.name, (row) => COLORS[row.level] ?? "");
    this.body = this.table.element;
  }

  /** @param {any} snapshot */
  render(snapshot) {
    const rows = [...snapshot.health];
    rows.sort((a, b) => rank(a) - rank(b) || compare(a.name, b.name));
    this.table.update(rows);
  }
}

/** @param {any} row */
function rank(row) {
  return LEVELS.indexOf(row.level);
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : Number(a > b);
}
