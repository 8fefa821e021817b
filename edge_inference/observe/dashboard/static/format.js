/** Values as texts. What is unknown is a dash, never 0. */

export const UNKNOWN = "–";

/** @param {any} value */
export function isKnown(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/**
 * A number with about three digits.
 * @param {number | null | undefined} value
 * @param {string} [unit]
 */
export function number(value, unit = "") {
  if (!isKnown(value)) return UNKNOWN;
  const size = Math.abs(value);
  const digits = size >= 99.95 || Number.isInteger(value) ? 0 : size >= 9.995 ? 1 : 2;
  return withUnit(value.toFixed(digits), unit);
}

/**
 * A number of things.
 * @param {number | null | undefined} value
 */
export function count(value) {
  return isKnown(value) ? String(Math.round(value)) : UNKNOWN;
}

/**
 * A share from 0 to 1 as a percentage.
 * @param {number | null | undefined} value
 */
export function percent(value) {
  if (!isKnown(value)) return UNKNOWN;
  const hundredths = value * 100;
  const digits = hundredths > 0 && hundredths < 9.95 ? 1 : 0;
  return `${hundredths.toFixed(digits)} %`;
}

/** @param {string | null | undefined} value */
export function text(value) {
  return value ? String(value) : UNKNOWN;
}

/**
 * The time of day of a moment.
 * @param {number | null | undefined} seconds since 1970
 */
export function clock(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  const date = new Date(seconds * 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}

/**
 * The time of day without its seconds.
 * @param {number | null | undefined} seconds since 1970
 */
export function minute(seconds) {
  return isKnown(seconds) ? clock(seconds).slice(0, 5) : UNKNOWN;
}

/**
 * A duration in its largest unit.
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.round(whole / 60)} min`;
  return `${Math.round(whole / 3600)} h`;
}

/**
 * Counts by name: "superseded 12, too_old 3".
 * @param {Record<string, number>} counts
 */
export function counts(counts) {
  const parts = Object.entries(counts).map(([name, number]) => `${name} ${number}`);
  return parts.join(", ") || "0";
}

/** @param {string} digits @param {string} unit */
function withUnit(digits, unit) {
  return unit ? `${digits} ${unit}` : digits;
}
