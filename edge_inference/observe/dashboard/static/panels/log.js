/** What the robot, or its user, has changed, and why: the newest first. */

import { make, Rows, setText } from "../elements.js";
import { clock } from "../format.js";

const FEW = 12;

export class LogPanel {
  id = "log";
  title = "Decisions";

  constructor() {
    const list = make("ol", { class: "log" });
    this.nothing = make("p", { class: "nothing" }, "nothing has changed yet");
    this.more = make("button", { type: "button" });
    this.body = make("div", {}, list, this.nothing, this.more);
    this.showsAll = false;
    this.decisions = [];
    this.rows = new Rows(list, (row) => JSON.stringify(row), showDecision);
    this.more.addEventListener("click", () => {
      this.showsAll = !this.showsAll;
      this.renderRows();
    });
  }

  /** @param {any} snapshot */
  render(snapshot) {
    this.decisions = [...snapshot.decisions].reverse();
    this.renderRows();
  }

  renderRows() {
    const total = this.decisions.length;
    this.rows.update(this.showsAll ? this.decisions : this.decisions.slice(0, FEW));
    this.nothing.hidden = total > 0;
    this.more.hidden = total <= FEW;
    setText(this.more, this.showsAll ? `only the newest ${FEW}` : `all ${total}`);
  }
}

/** @param {any} row */
function showDecision(row) {
  const moment = new Date(row.at_s * 1000).toISOString();
  const element = make("li", {},
    make("time", { datetime: moment }, clock(row.at_s)),
    make("span", { class: "kind" }, row.kind),
    make("b", {}, row.subject),
    make("span", {}, row.text));
  return { element, update: () => {} };
}
