/** A part of the page that can be closed; it is drawn only while it is open and on the screen. */

import { make, setText } from "./elements.js";
import { keep, recall } from "./storage.js";

// What is just outside the screen is drawn too, so that scrolling shows no empty panel.
const MARGIN = "300px";

/**
 * What a panel shows.
 * @typedef {{id: string, title: string, body: HTMLElement, render: (snapshot: any) => void,
 *   setVisible?: (isVisible: boolean) => void}} Content
 */

export class Panel {
  /** @param {Content} content */
  constructor(content) {
    this.content = content;
    this.isOnScreen = false;
    /** @type {any} the newest one, also while nothing is drawn */
    this.snapshot = null;
    this.failure = make("p", { class: "problem", hidden: "" });
    this.element = make("details", { class: "panel", id: content.id },
      make("summary", {}, make("h2", {}, content.title)), this.failure, content.body);
    this.element.open = recall("localStorage", `closed.${content.id}`) === "";
    this.element.addEventListener("toggle", () => {
      keep("localStorage", `closed.${content.id}`, this.element.open ? "" : "yes");
      this.tellVisible();
    });
    new IntersectionObserver((entries) => {
      this.isOnScreen = entries[entries.length - 1].isIntersecting;
      this.tellVisible();
    }, { rootMargin: MARGIN }).observe(this.element);
  }

  open() {
    this.element.open = true;
  }

  get isVisible() {
    return this.element.open && this.isOnScreen && !document.hidden;
  }

  tellVisible() {
    this.content.setVisible?.(this.isVisible);
    this.draw(this.snapshot);
  }

  /**
   * Show a snapshot. One panel that fails leaves the others alone.
   * @param {any} snapshot
   */
  draw(snapshot) {
    this.snapshot = snapshot;
    if (!snapshot || !this.isVisible) return;
    try {
      this.content.render(snapshot);
      this.failure.hidden = true;
    } catch (error) {
      console.error(error);
      setText(this.failure, `this panel cannot be shown: ${error}`);
      this.failure.hidden = false;
    }
  }
}
