"use strict";
(() => {
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  for (const section of document.querySelectorAll(".audit")) {
    const lines = [...section.querySelectorAll(".attack")];
    const chips = [...section.querySelectorAll(".chips .chip")];
    for (const chip of chips) {
      chip.addEventListener("click", () => {
        for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
        for (const line of lines) {
          line.hidden = Boolean(chip.dataset.status) && line.dataset.status !== chip.dataset.status;
        }
        for (const family of section.querySelectorAll(".family")) {
          family.hidden = ![...family.querySelectorAll(".attack")].some((line) => !line.hidden);
        }
      });
    }
  }
})();
