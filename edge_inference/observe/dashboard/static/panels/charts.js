/** The history as charts, over a range that the user chooses. */

import { Chart } from "../chart.js";
import { CHARTS, linesOf } from "../chart_list.js";
import { make } from "../elements.js";

const RANGES = [[300, "5 min"], [900, "15 min"], [3600, "1 h"]];

export class ChartsPanel {
  id = "charts";
  title = "History";

  /**
   * @param {import("../series_store.js").SeriesStore} store
   * @param {(seconds: number) => void} request asks for the history of another range
   */
  constructor(store, request) {
    this.store = store;
    this.charts = CHARTS.map((row) => new Chart(row));
    this.nothing = make("p", { class: "nothing" }, "no history yet");
    const choices = RANGES.map(([seconds, name]) => {
      const input = make("input", { type: "radio", name: "range", value: String(seconds) });
      input.checked = seconds === store.rangeS;
      input.addEventListener("change", () => request(seconds));
      return make("label", {}, input, name);
    });
    this.body = make("div", {},
      make("fieldset", { class: "choices" }, make("legend", {}, "range"), ...choices),
      this.nothing,
      make("div", { class: "charts" }, ...this.charts.map((chart) => chart.element)));
  }

  render() {
    this.nothing.hidden = this.store.times.length > 0;
    if (this.nothing.hidden) for (const chart of this.charts) chart.draw(this.store);
  }

  recolor() {
    for (const chart of this.charts) chart.recolor();
  }
}
