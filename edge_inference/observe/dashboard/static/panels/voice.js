/** What was said, how it was understood, and what the robot does about it. */

import { Facts, make, setText } from "../elements.js";
import { duration, isKnown, text } from "../format.js";

export class VoicePanel {
  id = "voice";
  title = "Voice";

  constructor() {
    this.facts = new Facts();
    this.nothing = make("p", { class: "nothing" }, "nothing was said yet");
    this.problem = make("p", { class: "problem" });
    this.body = make("div", {}, this.facts.element, this.problem, this.nothing);
  }

  /** @param {any} snapshot */
  render(snapshot) {
    const row = snapshot.voice;
    const isEmpty = !isKnown(row.at_s);
    this.facts.element.hidden = isEmpty;
    this.nothing.hidden = !isEmpty;
    this.problem.hidden = !row.problem;
    setText(this.problem, row.problem);
    if (isEmpty) return;
    const heard = row.transcript && (row.is_final ? row.transcript : `${row.transcript} …`);
    this.facts.update([
      ["heard", text(heard), "wide"],
      ["intent", text(row.intents.join(", ")), "wide"],
      ["plan", text(row.plan.join(" → ")), "wide"],
      ["state", text(row.state)],
      ["when", `${duration(snapshot.at_s - row.at_s)} ago`],
      ["the robot said", text(row.said), "wide"],
    ]);
  }
}
