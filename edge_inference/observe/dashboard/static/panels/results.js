/** The newest result of each kind, as lines for people. */

import { make, Rows, setText } from "../elements.js";
import { duration } from "../format.js";

const STALE_S = 3;

export class ResultsPanel {
  id = "results";
  title = "Results";

  constructor() {
    const list = make("div");
    this.nothing = make("p", { class: "nothing" }, "no result yet");
    this.body = make("div", {}, list, this.nothing);
    this.results = new Rows(list, (row) => row.topic, showResult);
  }

  /** @param {any} snapshot */
  render(snapshot) {
    this.nothing.hidden = snapshot.results.length > 0;
    this.results.update(snapshot.results);
  }
}

function showResult() {
  const name = make("h3");
  const note = make("p", { class: "note" });
  const list = make("ul", { class: "findings" });
  const element = make("div", {}, name, note, list);
  const lines = new Rows(list, (line) => line, () => {
    const item = make("li");
    return { element: item, update: (line) => setText(item, line) };
  });
  const update = (/** @type {any} */ row) => {
    setText(name, row.topic);
    setText(note, [row.kind, row.model, `${duration(row.age_s)} ago`].filter(Boolean).join(" · "));
    element.className = row.age_s > STALE_S ? "stale" : "";
    lines.update(row.lines.length > 0 ? row.lines : ["nothing found"]);
  };
  return { element, update };
}
