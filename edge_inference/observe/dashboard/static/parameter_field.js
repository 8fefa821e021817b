/** One parameter: its value in a field of its type, and the answer to a change. */

import { make, setText } from "./elements.js";

let fieldCount = 0;

/**
 * A parameter as the server describes it; ``type`` is bool, integer, double or string, one of them
 * with [] for a list, or empty for another one, which is only shown.
 * @typedef {{name: string, type: string, value: any, minimum: number | null,
 *   maximum: number | null, choices: any[], description: string, read_only: boolean}} Parameter
 */

export class ParameterField {
  /**
   * @param {Parameter} parameter
   * @param {(field: ParameterField, value: any) => void} set
   */
  constructor(parameter, set) {
    this.name = parameter.name;
    this.kind = kindOf(parameter);
    this.type = parameter.type;
    // What the user has changed and not sent yet is not replaced by what the node has.
    this.isEdited = false;
    fieldCount += 1;
    const id = `parameter-${fieldCount}`;
    this.input = makeInput(this.kind, parameter);
    this.input.id = id;
    this.input.setAttribute("aria-describedby", `${id}-about`);
    this.button = make("button", { type: "submit" }, "set");
    this.about = make("small", { id: `${id}-about` });
    this.result = make("output", { for: id, "aria-live": "polite" });
    this.element = make("form", { class: "field" }, make("label", { for: id }, parameter.name),
      this.input, this.button, this.about, this.result);
    this.input.addEventListener("input", () => {
      this.isEdited = true;
    });
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      // The next values of the node replace what was typed.
      if (event.key === "Escape") this.isEdited = false;
    });
    this.element.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.send(set);
    });
  }

  /** @param {Parameter} parameter */
  update(parameter) {
    const isFixed = parameter.read_only || this.type === "";
    this.input.disabled = isFixed;
    this.button.hidden = isFixed;
    setText(this.about, aboutText(parameter));
    if (this.isEdited) return;
    if (this.kind === "bool") this.input.checked = parameter.value === true;
    else if (this.input.value !== valueText(parameter)) this.input.value = valueText(parameter);
  }

  /** @param {(field: ParameterField, value: any) => void} set */
  send(set) {
    const [value, problem] = readInput(this.kind === "choice" ? this.type : this.kind, this.input);
    if (problem) {
      this.answer(false, problem);
      return;
    }
    setText(this.result, "sent");
    this.result.className = "";
    set(this, value);
  }

  /** @param {boolean} isSet @param {string} reason */
  answer(isSet, reason) {
    if (isSet) this.isEdited = false;
    setText(this.result, isSet ? "set" : reason || "refused without a reason");
    this.result.className = isSet ? "good" : "bad";
  }
}

/** @param {Parameter} parameter */
function kindOf(parameter) {
  if (parameter.choices?.length > 0) return "choice";
  if (parameter.type.endsWith("[]")) return "list";
  return parameter.type;
}

/** @param {Parameter} parameter */
function valueText(parameter) {
  const { value } = parameter;
  return Array.isArray(value) ? JSON.stringify(value) : String(value ?? "");
}

/** @param {string} kind @param {Parameter} parameter */
function makeInput(kind, parameter) {
  if (kind === "choice") {
    return make("select", {}, ...parameter.choices.map((choice) =>
      make("option", { value: String(choice) }, String(choice) || "(empty)")));
  }
  if (kind === "bool") return make("input", { type: "checkbox" });
  const input = make("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  if (kind === "integer" || kind === "double") input.inputMode = "decimal";
  return input;
}

/**
 * The value in a field, or why it is none; whether it is a good one, the node decides.
 * @param {string} kind @param {any} input
 * @returns {[any, string]}
 */
function readInput(kind, input) {
  const text = String(input.value).trim();
  if (kind === "bool") return [input.checked, ""];
  if (kind === "integer" || kind === "double") {
    const value = Number(text);
    if (text === "" || !Number.isFinite(value)) return [null, `expected a number, got "${text}"`];
    if (kind === "integer" && !Number.isSafeInteger(value)) {
      return [null, `expected a whole number, got "${text}"`];
    }
    return [value, ""];
  }
  if (kind === "list") {
    try {
      const value = JSON.parse(text);
      if (Array.isArray(value)) return [value, ""];
    } catch {
      // The sentence below says what is expected.
    }
    return [null, `expected a list such as [1, 2], got "${text}"`];
  }
  return [input.value, ""];
}

/** @param {Parameter} parameter */
function aboutText(parameter) {
  const { minimum, maximum } = parameter;
  const bounds = [
    minimum === null || minimum === undefined ? "" : `from ${minimum}`,
    maximum === null || maximum === undefined ? "" : `to ${maximum}`,
  ].filter(Boolean).join(" ");
  const facts = [parameter.type, bounds, parameter.read_only ? "read-only" : ""];
  return [parameter.description, facts.filter(Boolean).join(", ")].filter(Boolean).join(" · ");
}
