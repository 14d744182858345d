"use strict";
(() => {
  // What a mark says of itself, at once and for touch too; without a script browsers show the title.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const title of document.querySelectorAll(".chart title")) {
    title.parentNode.dataset.told = title.textContent;
    title.remove();
  }
  // A mark of an image also shows the image, cut out of the one sheet that holds them all.
  const cut = (mark) => {
    const mapped = mark.closest(".mapped[data-side]");
    const number = mapped && /, image (\d+)$/.exec(mark.dataset.told);
    if (!number) return;
    const side = Number(mapped.dataset.side), columns = Number(mapped.dataset.columns);
    const at = Number(number[1]) - 1;
    const tile = new Image(side, side);
    tile.src = mapped.querySelector("img").src;
    tile.alt = "";
    tile.style.objectPosition = -(at % columns) * side + "px " + -Math.floor(at / columns) * side + "px";
    tip.append(tile);
  };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest && event.target.closest("[data-told]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.told;
    cut(mark);
    const box = mark.getBoundingClientRect();
    const middle = box.left + box.width / 2 - tip.offsetWidth / 2;
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = Math.max(6, Math.min(middle, innerWidth - tip.offsetWidth - 6)) + "px";
    tip.style.top = (above > 4 ? above : box.bottom + 6) + "px";
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);

  // The rail says where the reader is.
  const links = new Map();
  for (const link of document.querySelectorAll("nav a")) links.set(link.hash.slice(1), link);
  const places = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  const mark = () => {
    const passed = places.filter((place) => place.getBoundingClientRect().top < innerHeight / 3);
    for (const link of links.values()) link.removeAttribute("aria-current");
    const here = passed.length ? links.get(passed[passed.length - 1].id) : null;
    if (here) here.setAttribute("aria-current", "location");
  };
  document.addEventListener("scroll", mark, { passive: true });
  mark();

  // On paper everything is open; afterwards as it was.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  // A link into something folded opens it.
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // The gallery: one attribution at a time, and only the images that were asked for.
  for (const gallery of document.querySelectorAll("[data-gallery]")) {
    const form = gallery.querySelector(".choose");
    const rows = [...gallery.querySelectorAll("tbody tr")];
    const maps = [...gallery.querySelectorAll("[data-map]")];
    const counted = form.querySelector("output");
    const value = (name) => (form.elements[name] ? form.elements[name].value : "");
    const show = () => {
      const network = value("network");
      const some = form.querySelector("option[value=some]"); // one network has one answer
      some.disabled = network !== "";
      if (some.disabled && some.selected) form.elements.answers.value = "";
      const wanted = ["class", "agree"].map((name) => [name, value(name)]);
      const answers = value("answers");
      let shown = 0;
      for (const row of rows) {
        const given = network ? row.dataset.right.split(" ")[network] : row.dataset.answers;
        row.hidden = wanted.some(([name, one]) => one && row.dataset[name] !== one) || (answers !== "" && given !== answers);
        shown += row.hidden ? 0 : 1;
      }
      const map = value("map");
      for (const one of maps) one.hidden = map !== "" && one.dataset.map !== map;
      counted.textContent = shown + " of " + rows.length + " images";
    };
    form.hidden = false;
    form.addEventListener("change", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    gallery.addEventListener("keydown", (event) => {
      if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
      const choice = form.querySelectorAll("input[name=map]")[Number(event.key) - 1];
      if (!choice) return;
      choice.checked = true;
      show();
    });
    addEventListener("beforeprint", () => { for (const one of [...rows, ...maps]) one.hidden = false; });
    addEventListener("afterprint", show);
    show();
  }
})();
