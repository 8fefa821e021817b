/** The parameters of a node: a form from their descriptions, and the node's own answer. */

import { make, Rows, setText } from "../elements.js";
import { ParameterField } from "../parameter_field.js";

const READ_AGAIN_MS = 5000;

export class ParametersPanel {
  id = "parameters";
  title = "Parameters";

  /** @param {(message: object) => boolean} send */
  constructor(send) {
    this.send = send;
    this.isReadOnly = true;
    this.lastId = 0;
    this.askedAt = 0;
    /** @type {Map<number, ParameterField>} changes that the node has not answered yet */
    this.open = new Map();
    this.note = make("p", { class: "note" });
    this.node = make("select", { id: "parameters-node" });
    this.filter = make("input", { id: "parameters-filter", type: "search", autocomplete: "off" });
    this.state = make("p", { class: "note", "aria-live": "polite" });
    const list = make("div", { class: "fields" });
    this.body = make("div", {}, this.note,
      make("p", { class: "choices" },
        make("label", { for: "parameters-node" }, "node"), this.node,
        make("label", { for: "parameters-filter" }, "name contains"), this.filter),
      this.state, list);
    this.rows = new Rows(list, (parameter) => parameter.name, (parameter) =>
      new ParameterField(parameter, (field, value) => this.set(field, value)));
    this.options = new Rows(this.node, (name) => name, (name) => {
      const element = make("option", { value: name }, name || "choose a node");
      return { element, update: () => {} };
    });
    /** @type {any[]} */
    this.parameters = [];
    this.node.addEventListener("change", () => this.choose());
    this.filter.addEventListener("input", () => this.show());
  }

  /** @param {boolean} isReadOnly what the server says when a connection begins */
  reconnect(isReadOnly) {
    this.isReadOnly = isReadOnly;
    setText(this.note, isReadOnly
      ? "Values can be read here. To change them, start the dashboard with --allow-changes."
      : "A change is in force at once, and the node may refuse it.");
    for (const field of this.open.values()) field.answer(false, "the connection was lost");
    this.open.clear();
    this.askedAt = 0;
  }

  /** @param {any} snapshot */
  render(snapshot) {
    const names = nodesOf(snapshot);
    if (this.node.value && !names.includes(this.node.value)) names.push(this.node.value);
    const before = this.node.value;
    this.options.update(["", ...names]);
    this.node.value = before;
    if (this.node.value && performance.now() - this.askedAt > READ_AGAIN_MS) this.read();
  }

  choose() {
    this.parameters = [];
    this.show();
    setText(this.state, this.node.value ? "reading" : "");
    if (this.node.value) this.read();
  }

  read() {
    this.askedAt = performance.now();
    this.send({ type: "parameters", node: this.node.value });
  }

  /** @param {{node: string, parameters: any[], reason: string}} message */
  receive(message) {
    if (message.node !== this.node.value) return;
    if (message.reason) {
      setText(this.state, message.reason);
      return;
    }
    this.parameters = message.parameters;
    this.show();
  }

  show() {
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = this.parameters.filter((each) => each.name.toLowerCase().includes(wanted));
    if (this.parameters.length > 0) {
      setText(this.state, `${shown.length} of ${this.parameters.length} parameters`);
    }
    this.rows.update(shown.map((each) => ({
      ...each, read_only: each.read_only || this.isReadOnly,
    })));
  }

  /** @param {ParameterField} field @param {any} value */
  set(field, value) {
    const id = ++this.lastId;
    const message = { type: "set_parameter", node: this.node.value, name: field.name, value, id };
    if (!this.send(message)) {
      field.answer(false, "there is no connection");
      return;
    }
    this.open.set(id, field);
  }

  /** @param {{id: number, ok: boolean, reason: string}} message */
  receiveAnswer(message) {
    this.open.get(message.id)?.answer(message.ok, message.reason);
    this.open.delete(message.id);
    if (this.node.value) this.read();
  }
}

/** The nodes of the observed pipeline, by every row that names one. @param {any} snapshot */
function nodesOf(snapshot) {
  const names = new Set([
    ...snapshot.processes.flatMap((row) => row.nodes),
    ...snapshot.stages.map((row) => row.node),
    ...snapshot.engines.map((row) => row.node),
  ]);
  return [...names].filter((name) => name.startsWith("/")).sort();
}
