/** The choice between the light theme, the dark one, and that of the system. */

import { keep, recall } from "./storage.js";

const THEMES = ["auto", "light", "dark"];

/**
 * @param {HTMLElement} button goes to the next theme
 * @param {() => void} onChange called after each change, also one of the system
 */
export function startTheme(button, onChange) {
  let theme = recall("localStorage", "theme");
  if (!THEMES.includes(theme)) theme = "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `theme: ${theme}`;
    onChange();
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    keep("localStorage", "theme", theme);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
  show();
}
