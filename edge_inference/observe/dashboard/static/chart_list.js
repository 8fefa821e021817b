/** Which figures of the history each chart shows. */

/**
 * A chart. ``figures`` are the names of its figures, up to the colon in "rate_hz:/ai/decode", with
 * what the legend says after the subject, or instead of one, and whether the line is dashed.
 * @typedef {{title: string, unit: string, scale?: number, minSpan?: number,
 *   figures: Record<string, {label: string, isDashed?: boolean}>}} ChartRow
 */

/** @type {ChartRow[]} */
export const CHARTS = [
  {
    title: "End to end",
    unit: "ms",
    figures: { end_p50_ms: { label: "p50" }, end_p99_ms: { label: "p99", isDashed: true } },
  },
  {
    title: "Processing",
    unit: "ms",
    figures: { process_p50_ms: { label: "p50" }, process_p99_ms: { label: "p99", isDashed: true } },
  },
  { title: "Queue", unit: "ms", figures: { queue_p99_ms: { label: "p99" } } },
  {
    title: "Rates",
    unit: "Hz",
    figures: { rate_hz: { label: "" }, engine_max_rate_hz: { label: "limit", isDashed: true } },
  },
  { title: "Dropped since the start", unit: "", figures: { drops: { label: "" } } },
  {
    title: "Load of the machine",
    unit: "%",
    scale: 100,
    figures: {
      cpu_share: { label: "CPU" },
      gpu_share: { label: "GPU" },
      memory_share: { label: "memory", isDashed: true },
      headroom: { label: "thermal limit in use", isDashed: true },
    },
  },
  {
    title: "CPU of the processes",
    unit: "%",
    scale: 100,
    figures: { process_cpu_share: { label: "" } },
  },
  { title: "Memory of the processes", unit: "MiB", figures: { process_memory_mib: { label: "" } } },
  {
    title: "Temperatures",
    unit: "°C",
    minSpan: 10,
    figures: { temperature_c: { label: "" }, hottest_c: { label: "hottest", isDashed: true } },
  },
  {
    title: "Power",
    unit: "W",
    figures: { power_w: { label: "whole board" }, sensor_power_w: { label: "", isDashed: true } },
  },
];

/**
 * The lines of a chart among the series that there are; those of one subject have one color.
 * @param {ChartRow} row
 * @param {string[]} names
 * @returns {import("./chart.js").Line[]}
 */
export function linesOf(row, names) {
  const found = names.map((name) => ({ name, figure: name.split(":", 1)[0] }))
    .filter(({ figure }) => Object.hasOwn(row.figures, figure))
    .map(({ name, figure }) => ({ name, figure, subject: name.slice(figure.length + 1) }))
    .sort((a, b) => order(a.subject, b.subject) || order(a.figure, b.figure));
  // A node has the same color in all charts; of the machine, each figure or sensor has one.
  const nodes = [...new Set(names.map((name) => name.slice(name.indexOf(":") + 1)))]
    .filter(isNode).sort();
  const others = [...new Set(found.map((line) => line.subject || line.figure))];
  return found.map(({ name, figure, subject }) => ({
    name,
    label: [shortName(subject), row.figures[figure].label].filter(Boolean).join(" "),
    color: isNode(subject) ? nodes.indexOf(subject) : others.indexOf(subject || figure),
    isDashed: row.figures[figure].isDashed ?? false,
    scale: row.scale,
  }));
}

/** @param {string} subject */
function isNode(subject) {
  return subject.startsWith("/");
}

/** A node without its namespace. @param {string} subject */
function shortName(subject) {
  return isNode(subject) ? subject.slice(subject.lastIndexOf("/") + 1) : subject;
}

/** @param {string} a @param {string} b */
function order(a, b) {
  return a < b ? -1 : Number(a > b);
}
