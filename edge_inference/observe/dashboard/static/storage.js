/** What the browser keeps for this page. Where it keeps nothing, the page works all the same. */

/**
 * @param {"sessionStorage" | "localStorage"} place for this tab, or for all of them
 * @param {string} key
 * @returns {string} empty where nothing was kept
 */
export function recall(place, key) {
  try {
    return window[place].getItem(`edge_inference.${key}`) ?? "";
  } catch {
    return "";
  }
}

/**
 * @param {"sessionStorage" | "localStorage"} place
 * @param {string} key
 * @param {string} value
 */
export function keep(place, key, value) {
  try {
    window[place].setItem(`edge_inference.${key}`, value);
  } catch {
    // Storage is switched off or full: the value holds until the page is closed.
  }
}
