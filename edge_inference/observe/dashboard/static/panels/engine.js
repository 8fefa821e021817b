/** The engines: what runs, what is being prepared, and within which limits, with the reason. */

import { Facts, make, Rows, setText } from "../elements.js";
import { count, isKnown, number, percent, text } from "../format.js";
import { levelClass } from "./glance.js";

export class EnginePanel {
  id = "engine";
  title = "Engine";

  constructor() {
    const list = make("div");
    this.nothing = make("p", { class: "nothing" }, "no inference node has reported yet");
    this.body = make("div", {}, list, this.nothing);
    this.engines = new Rows(list, (row) => row.node, showEngine);
  }

  /** @param {any} snapshot */
  render(snapshot) {
    this.nothing.hidden = snapshot.engines.length > 0;
    this.engines.update(snapshot.engines);
  }
}

function showEngine() {
  const name = make("h3");
  const facts = new Facts();
  const preparing = document.createTextNode("");
  const progress = make("progress", { max: "1", "aria-label": "preparation" });
  const preparation = make("p", { class: "note" }, preparing, progress);
  const problem = make("p", { class: "problem" });
  const update = (/** @type {any} */ row) => {
    setText(name, row.node);
    facts.update([
      ["model", text(row.model)],
      ["precision", text(row.precision)],
      ["backend", text(row.backend)],
      ["batch", count(row.batch)],
      ["rate", number(row.rate_hz, "Hz")],
      ["demand", number(row.demand_hz, "Hz")],
      ["level", text(row.level), levelClass(row.level)],
      ["limit of the rate", isKnown(row.max_rate_hz) ? number(row.max_rate_hz, "Hz") : "none"],
      ["limit of the precision", row.precision_ceiling || "none"],
      ["reason", text(row.reason), "wide"],
      ["engine", text(row.engine), "wide"],
    ]);
    preparation.hidden = !row.preparing;
    preparing.data = `preparing ${row.preparing}: ${percent(row.progress)} `;
    if (isKnown(row.progress)) progress.setAttribute("value", String(row.progress));
    else progress.removeAttribute("value");
    problem.hidden = !row.problem;
    setText(problem, row.problem);
  };
  return { element: make("div", {}, name, facts.element, preparation, problem), update };
}
