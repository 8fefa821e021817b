/** The connection to the server: lost ones are made again, after growing pauses. */

import { keep, recall } from "./storage.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15000;
// Snapshots come twice a second. A connection that is silent for longer has died without a word.
const SILENCE_MS = 10000;
const WRONG_TOKEN = 1008;

/**
 * Take the token out of the address, which others may see or copy, and keep it for this tab.
 * @returns {string} empty where there is none
 */
export function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found) {
    history.replaceState(null, "", location.pathname + location.search);
    const token = decode(found[1]);
    keep("sessionStorage", "token", token);
    return token;
  }
  return recall("sessionStorage", "token");
}

/** @param {string} part of an address */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * What becomes of a connection.
 * ``connecting``: for the first time; ``open``: welcome; ``lost``: tries again, and ``reason`` is
 * why it ended; ``refused``: the token is wrong, and nothing is tried before another one is given.
 * @typedef {"connecting" | "open" | "lost" | "refused"} ConnectionState
 */

export class Connection {
  /**
   * @param {{onState: (state: ConnectionState, reason: string) => void,
   *   onMessage: (message: any) => void, onImage: (data: ArrayBuffer) => void}} handlers
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.token = takeToken();
    /** @type {WebSocket | null} */
    this.socket = null;
    this.isOpen = false;
    this.failures = 0;
    this.heardAt = 0;
    this.timer = 0;
    setInterval(() => this.endSilent(), SILENCE_MS / 4);
    // Who looks at the page again, or is online again, does not wait for the pause to end.
    addEventListener("online", () => this.retryNow());
    // The address with another token, typed into the same tab, does not load the page anew.
    addEventListener("hashchange", () => {
      const token = takeToken();
      if (token !== this.token) this.useToken(token);
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.retryNow();
    });
  }

  open() {
    clearTimeout(this.timer);
    this.timer = 0;
    const address = new URL("ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.isOpen = false;
    this.heardAt = performance.now();
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token: this.token }));
    socket.onmessage = (event) => {
      if (this.socket === socket) this.receive(event.data);
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.close(event.code, event.reason);
    };
  }

  /**
   * Send a message; without a connection nothing is sent.
   * @param {object} message
   * @returns {boolean} whether it was sent
   */
  send(message) {
    if (!this.isOpen || !this.socket) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** @param {string} token */
  useToken(token) {
    keep("sessionStorage", "token", token);
    this.token = token;
    this.failures = 0;
    const old = this.socket;
    this.open();
    old?.close();
  }

  /** @param {string | ArrayBuffer} data */
  receive(data) {
    this.heardAt = performance.now();
    if (typeof data !== "string") {
      this.handlers.onImage(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "welcome") {
      this.isOpen = true;
      this.failures = 0;
      this.handlers.onState("open", "");
    }
    this.handlers.onMessage(message);
  }

  /** @param {number} code @param {string} reason */
  close(code, reason) {
    this.socket = null;
    this.isOpen = false;
    if (code === WRONG_TOKEN) {
      this.handlers.onState("refused", reason);
      return;
    }
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.failures, 10));
    this.failures += 1;
    // Many pages that lost the same server do not come back at the same moment.
    this.timer = setTimeout(() => this.open(), pause * (0.5 + Math.random() / 2));
    this.handlers.onState("lost", reason);
  }

  endSilent() {
    const socket = this.socket;
    if (!socket || performance.now() - this.heardAt < SILENCE_MS) return;
    // The close of a dead connection would wait for an answer that does not come.
    this.close(0, "the server is silent");
    socket.close();
  }

  retryNow() {
    if (this.timer) this.open();
  }
}
