/** Elements of the page. Whatever comes from outside becomes text, never HTML. */

import { UNKNOWN } from "./format.js";

/**
 * Make an element with attributes; texts among the children become text nodes.
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {any} the element
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Replace a text only where it changes, so that a selection stays and nothing is laid out anew.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * An element, and how to show another row in it.
 * @typedef {{element: Element, update: (row: any) => void}} Shown
 */

/** An element for each row; it stays the same from one update to the next. */
export class Rows {
  /**
   * @param {Element} parent gets the elements as its only children
   * @param {(row: any) => string} keyOf what tells one row from another
   * @param {(row: any) => Shown} create
   */
  constructor(parent, keyOf, create) {
    this.parent = parent;
    this.keyOf = keyOf;
    this.create = create;
    /** @type {Map<string, Shown>} */
    this.shown = new Map();
  }

  /** @param {any[]} rows */
  update(rows) {
    const shown = new Map();
    for (const row of rows) {
      let key = this.keyOf(row);
      while (shown.has(key)) key += "'";
      const one = this.shown.get(key) ?? this.create(row);
      one.update(row);
      const there = this.parent.children[shown.size];
      if (there !== one.element) this.parent.insertBefore(one.element, there ?? null);
      shown.set(key, one);
    }
    while (this.parent.children.length > shown.size) this.parent.lastElementChild?.remove();
    this.shown = shown;
  }
}

/**
 * A column of a table: its title, and the text of a row or else how to draw its cell.
 * ``isWide``: takes a whole line where each row is a card.
 * @typedef {{title: string, isNumber?: boolean, isWide?: boolean, text?: (row: any) => string,
 *   draw?: (cell: HTMLElement, row: any) => void}} Column
 */

/** A table whose rows are updated in place; on a narrow screen each row is a card. */
export class Table {
  /**
   * @param {string} caption
   * @param {Column[]} columns the first one names the row
   * @param {(row: any) => string} keyOf
   * @param {(row: any) => string} [classOf] the class of a row
   */
  constructor(caption, columns, keyOf, classOf = () => "") {
    const titles = columns.map((column) =>
      make("th", { scope: "col", class: column.isNumber ? "number" : "" }, column.title));
    const body = make("tbody");
    this.table = make("table", {}, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...titles)), body);
    this.nothing = make("p", { class: "nothing" }, `${caption}: ${UNKNOWN}`);
    this.element = make("div", { class: "table" }, this.table, this.nothing);
    this.rows = new Rows(body, keyOf, () => showRow(columns, classOf));
  }

  /** @param {any[]} rows */
  update(rows) {
    this.table.hidden = rows.length === 0;
    this.nothing.hidden = rows.length > 0;
    this.rows.update(rows);
  }
}

/**
 * @param {Column[]} columns
 * @param {(row: any) => string} classOf
 * @returns {Shown}
 */
function showRow(columns, classOf) {
  const cells = columns.map((column, place) => make(place === 0 ? "th" : "td", {
    ...(place === 0 ? { scope: "row" } : {}),
    class: column.isNumber ? "number" : column.isWide ? "wide" : "",
    "data-title": column.title,
  }));
  const element = make("tr", {}, ...cells);
  const update = (/** @type {any} */ row) => {
    element.className = classOf(row);
    columns.forEach((column, place) => {
      if (column.draw) column.draw(cells[place], row);
      else if (column.text) setText(cells[place], column.text(row));
    });
  };
  return { element, update };
}

/** Names with values, such as "precision: int8". */
export class Facts {
  constructor() {
    this.element = make("dl", { class: "facts" });
    this.rows = new Rows(this.element, (fact) => fact[0], (fact) => {
      const value = make("dd");
      const element = make("div", {}, make("dt", {}, fact[0]), value);
      const update = (/** @type {any} */ fact) => {
        setText(value, fact[1]);
        element.className = fact[2] ?? "";
      };
      return { element, update };
    });
  }

  /** @param {[string, string, string?][]} facts name, value, and perhaps a class */
  update(facts) {
    this.rows.update(facts);
  }
}
