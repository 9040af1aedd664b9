"use strict";
(() => {
  // A picture that several prompts share is in the page once.
  for (const picture of document.querySelectorAll("img[data-same]")) {
    picture.src = document.getElementById(picture.dataset.same).src;
  }
  const gallery = document.getElementById("gallery");
  const cards = [...gallery.querySelectorAll(".prompt")];
  const find = document.getElementById("find");
  const sort = document.getElementById("sort");
  const flat = document.getElementById("flat");
  const texts = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
  const number = (card, name) => Number(card.dataset[name]);
  const orders = {
    number: (a, b) => number(a, "number") - number(b, "number"),
    best: (a, b) => number(b, "reward") - number(a, "reward"),
    worst: (a, b) => number(a, "reward") - number(b, "reward"),
    signal: (a, b) => number(b, "signal") - number(a, "signal"),
  };
  let kind = "";

  function update() {
    const wanted = find.value.trim().toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const fits = (!kind || card.dataset.kind === kind)
        && (!flat || !flat.checked || "flat" in card.dataset)
        && (!wanted || texts.get(card).includes(wanted));
      card.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    document.getElementById("count").textContent = `${shown} shown`;
    document.getElementById("none").hidden = shown > 0;
  }

  function reorder() {
    gallery.append(...[...cards].sort((a, b) => orders[sort.value](a, b) || orders.number(a, b)));
  }

  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => {
      kind = chip.dataset.kind;
      for (const other of document.querySelectorAll(".chip")) {
        other.setAttribute("aria-pressed", String(other === chip));
      }
      update();
    });
  }
  find.addEventListener("input", update);
  sort.addEventListener("change", reorder);
  if (flat) flat.addEventListener("change", update);
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
})();
