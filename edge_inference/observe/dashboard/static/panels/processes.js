/** The processes of the pipeline: what they take of the machine, and what holds their threads. */

import { Table } from "../elements.js";
import { duration, number, percent } from "../format.js";

const STALE_S = 5;

export class ProcessesPanel {
  id = "processes";
  title = "Processes";

  constructor() {
    this.table = new Table("Processes, and what their threads wait for", [
      { title: "pid", text: (row) => String(row.pid) },
      { title: "CPU, of a core", text: (row) => percent(row.cpu_share), isNumber: true },
      { title: "memory", text: (row) => number(row.memory_mib, "MiB"), isNumber: true },
      { title: "lock", text: (row) => waitText(row.lock_ms_per_s), isNumber: true },
      { title: "core", text: (row) => waitText(row.run_queue_ms_per_s), isNumber: true },
      { title: "age", text: (row) => duration(row.age_s), isNumber: true },
      { title: "nodes", text: (row) => row.nodes.join(" "), isWide: true },
    ], (row) => String(row.pid), (row) => (row.age_s > STALE_S ? "stale" : ""));
    this.body = this.table.element;
  }

  /** @param {any} snapshot */
  render(snapshot) {
    this.table.update(snapshot.processes);
  }
}

/** @param {number | null} value */
function waitText(value) {
  return number(value, "ms/s");
}
