/** The annotated image, only while somebody wants to see it: it costs the robot work. */

import { make, setText } from "../elements.js";
import { clock, duration, number } from "../format.js";

const STALE_MS = 3000;
// An image begins with its capture stamp: nanoseconds since 1970, big-endian.
const STAMP_BYTES = 8;

export class ImagePanel {
  id = "image";
  title = "Image";

  /** @param {(isOn: boolean) => void} request asks the server for images, or for no more */
  constructor(request) {
    this.request = request;
    this.isVisible = false;
    this.isRequested = false;
    this.isDecoding = false;
    /** @type {ArrayBuffer | null} the newest one that came while another was decoded */
    this.next = null;
    this.address = "";
    this.shownAt = 0;
    this.rateHz = NaN;
    this.choice = make("input", { type: "checkbox", role: "switch", id: "image-on" });
    this.image = make("img", { alt: "", hidden: "" });
    this.note = make("p", { class: "note" });
    this.body = make("div", {},
      make("p", {}, make("label", { class: "switch", for: "image-on" }, this.choice,
        "show the annotated image")), this.image, this.note);
    this.choice.addEventListener("change", () => this.ask());
    document.addEventListener("visibilitychange", () => this.ask());
    this.image.addEventListener("load", () => this.showNext());
    this.image.addEventListener("error", () => this.showNext());
  }

  /** @param {boolean} isVisible whether the panel is open and on the screen */
  setVisible(isVisible) {
    this.isVisible = isVisible;
    this.ask();
  }

  /** A new connection has forgotten what was asked for. */
  reconnect() {
    this.isRequested = false;
    this.ask();
  }

  ask() {
    const isWanted = this.choice.checked && this.isVisible && !document.hidden;
    if (isWanted !== this.isRequested) {
      this.isRequested = isWanted;
      this.shownAt = performance.now();
      this.request(isWanted);
    }
    if (!this.choice.checked) this.clear();
  }

  /** @param {ArrayBuffer} data */
  receive(data) {
    // One that was on its way while the switch was turned.
    if (!this.isRequested || data.byteLength <= STAMP_BYTES) return;
    if (this.isDecoding) this.next = data;
    else this.show(data);
  }

  /** @param {ArrayBuffer} data */
  show(data) {
    this.isDecoding = true;
    const now = performance.now();
    const elapsed = now - this.shownAt;
    this.rateHz = Number.isFinite(this.rateHz) && elapsed < STALE_MS
      ? 0.8 * this.rateHz + 0.2 * (1000 / Math.max(1, elapsed)) : 1000 / Math.max(1, elapsed);
    this.shownAt = now;
    this.stampS = Number(new DataView(data).getBigUint64(0)) / 1e9;
    URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(new Blob([data.slice(STAMP_BYTES)], { type: "image/jpeg" }));
    this.image.src = this.address;
    this.image.alt = `annotated image of ${clock(this.stampS)}`;
    this.image.hidden = false;
  }

  showNext() {
    this.isDecoding = false;
    const next = this.next;
    this.next = null;
    if (next && this.isRequested) this.show(next);
  }

  clear() {
    URL.revokeObjectURL(this.address);
    this.address = "";
    this.next = null;
    this.isDecoding = false;
    this.rateHz = NaN;
    this.image.removeAttribute("src");
    this.image.hidden = true;
  }

  render() {
    const silentMs = performance.now() - this.shownAt;
    const isStale = this.isRequested && silentMs > STALE_MS;
    this.image.classList.toggle("stale", isStale);
    if (!this.choice.checked) setText(this.note, "off");
    else if (isStale) setText(this.note, `no image for ${duration(silentMs / 1000)}`);
    else if (!this.address) setText(this.note, "waiting for an image");
    else setText(this.note, `captured ${clock(this.stampS)}, ${number(this.rateHz, "images/s")}`);
  }
}
