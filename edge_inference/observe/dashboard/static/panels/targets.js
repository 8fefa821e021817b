/** The targets as lights; sign and word say the same as the color. */

import { make, Rows, setText } from "../elements.js";
import { isKnown, number } from "../format.js";

const LIGHTS = {
  PASS: ["✓", "good"],
  FAIL: ["✗", "bad"],
  INCONCLUSIVE: ["?", "attention"],
  "NOT MEASURED": ["–", "unknown"],
};

export class TargetsPanel {
  id = "targets";
  title = "Targets";

  constructor() {
    const list = make("ul", { class: "lights" });
    this.nothing = make("p", { class: "nothing" }, "this pipeline has no targets");
    this.body = make("div", {}, list, this.nothing);
    this.lights = new Rows(list, (row) => `${row.scenario} ${row.label}`, showLight);
  }

  /** @param {any} snapshot */
  render(snapshot) {
    this.lights.update(snapshot.targets);
    this.nothing.hidden = snapshot.targets.length > 0;
  }
}

function showLight() {
  const light = make("span", { "aria-hidden": "true" });
  const verdict = make("b");
  const label = make("span");
  const detail = make("small");
  const update = (/** @type {any} */ row) => {
    const [sign, color] = LIGHTS[row.verdict] ?? LIGHTS["NOT MEASURED"];
    light.className = `light ${color}`;
    setText(light, sign);
    setText(verdict, row.verdict);
    setText(label, row.required ? row.label : `${row.label} (not required)`);
    const figures = isKnown(row.value) ? `${number(row.value)}, bound ${number(row.bound)}` : "";
    // The message is that of /diagnostics, which begins with the verdict.
    const message = row.message.replace(`${row.verdict}: `, "");
    setText(detail, [row.scenario, message || figures].filter(Boolean).join(": "));
  };
  return { element: make("li", {}, light, make("p", {}, verdict, " ", label), detail), update };
}
