/** One chart of lines over time, with a legend that has the values as text. */

import { linesOf } from "./chart_list.js";
import { make, Rows, setText } from "./elements.js";
import { minute, number } from "./format.js";

// More lines than this cannot be told apart.
const MAX_LINES = 16;
const COLORS = 8;
const HEIGHT = 170;
const FONT = "11px system-ui, \"DejaVu Sans\", sans-serif";

/**
 * A line: the name of its series, its label in the legend, and how it is drawn.
 * @typedef {{name: string, label: string, color: number, isDashed: boolean, scale?: number}} Line
 */

export class Chart {
  /** @param {import("./chart_list.js").ChartRow} row */
  constructor(row) {
    this.row = row;
    /** @type {Line[]} */
    this.lines = [];
    /** @type {(number | null)[][]} the times, and the values of each line */
    this.data = [];
    this.shape = "";
    this.drawn = "";
    /** @type {any} */
    this.plot = null;
    const title = row.unit ? `${row.title} (${row.unit})` : row.title;
    this.area = make("div", { class: "plot", role: "img", "aria-label": `${title} over time` });
    this.legend = make("ul", { class: "legend" });
    this.more = make("p", { class: "nothing" });
    this.element = make("figure", {}, make("figcaption", {}, make("h3", {}, title)),
      this.area, this.legend, this.more);
    this.entries = new Rows(this.legend, (line) => line.name, () => this.showEntry());
    new ResizeObserver(() => this.resize()).observe(this.area);
  }

  /** @param {import("./series_store.js").SeriesStore} store */
  draw(store) {
    const all = linesOf(this.row, [...store.values.keys()]);
    this.lines = all.slice(0, MAX_LINES);
    this.element.hidden = this.lines.length === 0;
    if (this.element.hidden) return;
    setText(this.more, all.length > MAX_LINES ? `+${all.length - MAX_LINES} more` : "");
    const values = this.lines.map((line) => scaled(store.values.get(line.name), line));
    this.data = [store.times, ...values];
    this.entries.update(this.lines);
    const shape = JSON.stringify(this.lines);
    if (shape !== this.shape) this.build(shape);
    const end = store.times[store.times.length - 1];
    const moment = `${shape} ${store.rangeS} ${store.times.length} ${end}`;
    if (moment === this.drawn) return;
    this.drawn = moment;
    this.plot.batch(() => {
      this.plot.setData(this.data, false);
      this.plot.setScale("x", { min: end - store.rangeS, max: end });
    });
  }

  /** Draw again in the colors of another theme. */
  recolor() {
    this.plot?.redraw();
  }

  /** @param {string} shape what the plot is made for: its lines */
  build(shape) {
    this.shape = shape;
    this.plot?.destroy();
    const axis = {
      stroke: () => getComputedStyle(this.area).color,
      font: FONT,
      grid: { stroke: () => getComputedStyle(this.area).borderTopColor, width: 1 },
      ticks: { show: false },
    };
    const lines = this.lines.map((line, place) => ({
      // The colors are those of the style sheet, which knows the theme.
      stroke: () => getComputedStyle(this.legend.children[place].firstElementChild).color,
      width: line.isDashed ? 1 : 1.5,
      dash: line.isDashed ? [5, 3] : undefined,
      points: { show: false },
    }));
    this.plot = new uPlot({
      width: Math.max(100, this.area.clientWidth),
      height: HEIGHT,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, sync: { key: "time" } },
      hooks: { setCursor: [() => this.entries.update(this.lines)] },
      scales: { y: { range: (...limits) => rangeOf(limits[1], limits[2], this.row.minSpan) } },
      axes: [
        { ...axis, space: 40, size: 24, values: (_, times) => times.map(minute) },
        { ...axis, size: 46, values: (_, values) => values.map((value) => number(value)) },
      ],
      series: [{}, ...lines],
    }, this.data, this.area);
  }

  resize() {
    const width = this.area.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) {
      this.plot.setSize({ width, height: HEIGHT });
    }
  }

  showEntry() {
    const swatch = make("span", { "aria-hidden": "true" });
    const label = make("span");
    const value = make("b");
    const update = (/** @type {Line} */ line) => {
      swatch.className = `swatch color${line.color % COLORS}${line.isDashed ? " dashed" : ""}`;
      setText(label, line.label);
      setText(value, this.valueOf(line));
    };
    return { element: make("li", {}, swatch, label, value), update };
  }

  /** The value under the cursor, else the newest one. @param {Line} line */
  valueOf(line) {
    const values = this.data[1 + this.lines.indexOf(line)];
    const place = this.plot?.cursor.idx ?? values.length - 1;
    return number(values[place], this.row.unit);
  }
}

/**
 * Values in the unit of the axis; uPlot takes null for a gap.
 * @param {(number | null)[] | undefined} values @param {Line} line
 */
function scaled(values, line) {
  const scale = line.scale;
  if (!values || !scale) return values ?? [];
  return values.map((value) => (value === null ? null : value * scale));
}

/**
 * The range of the axis of values: from 0 on, or around the values and at least so wide.
 * @param {number | null} least @param {number | null} greatest @param {number | undefined} minSpan
 * @returns {[number, number]}
 */
function rangeOf(least, greatest, minSpan) {
  if (least === null || greatest === null) return [0, minSpan ?? 1];
  if (minSpan === undefined) return [Math.min(0, least), Math.max(greatest * 1.05, 1e-3)];
  const padding = Math.max((minSpan - (greatest - least)) / 2, (greatest - least) * 0.05);
  return [least - padding, greatest + padding];
}
