/** The newest part of the history: figures by name over a common axis of time, of bounded size. */

// The server sends at most so many points of a series; the page adds points at the same density.
const MAX_POINTS = 720;
const SHORTEST_STEP_S = 1;
// A longer pause, in steps, is a gap in the lines.
const GAP_STEPS = 4;
const MAX_SERIES = 1000;

export class SeriesStore {
  constructor() {
    this.setRange(300);
  }

  /**
   * Forget everything, and hold so many seconds from now on.
   * @param {number} seconds
   */
  setRange(seconds) {
    this.rangeS = seconds;
    this.stepS = Math.max(SHORTEST_STEP_S, seconds / MAX_POINTS);
    /** @type {number[]} seconds since 1970 */
    this.times = [];
    /** @type {Map<string, (number | null)[]>} */
    this.values = new Map();
    /** @type {Record<string, string>} in UCUM notation */
    this.units = {};
    /** @type {Map<string, number>} the worst values since the last point */
    this.worst = new Map();
  }

  /**
   * Take over the server's history.
   * @param {{names: string[], units: Record<string, string>, times: number[],
   *   values: Record<string, (number | null)[]>}} history
   */
  replace(history) {
    this.setRange(this.rangeS);
    this.units = history.units;
    this.times = history.times;
    for (const name of history.names.slice(0, MAX_SERIES)) {
      this.values.set(name, history.values[name]);
    }
  }

  /**
   * Add a point; where points are far apart, one stands for the worst of several.
   * @param {{at_s: number, values: Record<string, number>}} point
   * @returns {boolean} false where the clock went back: the history must be asked for again
   */
  append(point) {
    const last = this.times[this.times.length - 1] ?? NaN;
    if (point.at_s < last) return false;
    if (point.at_s === last) return true;
    for (const [name, value] of Object.entries(point.values)) this.note(name, value);
    // Tolerant, so that a point that comes a little early is not left out.
    if (point.at_s - last < this.stepS * 0.9) return true;
    if (point.at_s - last > this.stepS * GAP_STEPS) this.addPlace(last + this.stepS, new Map());
    this.addPlace(point.at_s, this.worst);
    this.worst = new Map();
    this.trim();
    return true;
  }

  /**
   * Keep the lowest of a rate, the highest of everything else.
   * @param {string} name @param {number} value
   */
  note(name, value) {
    const worst = this.units[name] === "Hz" ? Math.min : Math.max;
    this.worst.set(name, worst(value, this.worst.get(name) ?? value));
  }

  /** @param {number} time @param {Map<string, number>} values unknown where there is none */
  addPlace(time, values) {
    for (const name of values.keys()) {
      if (!this.values.has(name) && this.values.size < MAX_SERIES) {
        this.values.set(name, this.times.map(() => null));
      }
    }
    this.times.push(time);
    for (const [name, line] of this.values) line.push(values.get(name) ?? null);
  }

  /** Remove what is too old, in portions, because that moves all that stays. */
  trim() {
    const portion = MAX_POINTS / 10;
    const oldest = this.times[this.times.length - 1] - this.rangeS;
    if (this.times.length <= portion || this.times[portion] >= oldest) return;
    this.times.splice(0, portion);
    for (const [name, line] of this.values) {
      line.splice(0, portion);
      if (line.every((value) => value === null)) this.values.delete(name);
    }
  }
}
