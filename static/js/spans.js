// A span of time is chosen by dragging over a time axis; it goes into a dialog's form, in the reader's zone.
(function () {
  "use strict";
  const HOUR = 3600000;

  function written(moment, zone) {
    const parts = {};
    const format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
    });
    for (const part of format.formatToParts(moment)) { parts[part.type] = part.value; }
    return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}`;
  }

  function told(moment, zone) {
    return new Intl.DateTimeFormat("en-GB", {
      timeZone: zone, hourCycle: "h23", weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
    }).format(moment);
  }

  // The nearest full hour of the reader's clock, which is not the full hour of UTC everywhere.
  function snapped(moment, zone) {
    const minutes = Number(written(moment, zone).slice(-2)) * 60000 + (moment % 60000);
    return minutes < HOUR / 2 ? moment - minutes : moment - minutes + HOUR;
  }

  function momentAt(axis, event) {
    const box = axis.getBoundingClientRect();
    const view = axis.viewBox.baseVal;
    const left = Number(axis.dataset.left);
    const x = (event.clientX - box.left) * view.width / box.width;
    const share = Math.min(1, Math.max(0, (x - left) / (view.width - left)));
    const from = Number(axis.dataset.from);
    return snapped(from + share * (Number(axis.dataset.until) - from), axis.dataset.zone);
  }

  function element(axis, name, css) {
    const found = axis.querySelector("." + css);
    if (found) { return found; }
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    made.setAttribute("class", css);
    return axis.appendChild(made);
  }

  function draw(axis, first, last) {
    const view = axis.viewBox.baseVal;
    const left = Number(axis.dataset.left);
    const from = Number(axis.dataset.from);
    const x = (moment) => left + (view.width - left) * (moment - from) / (Number(axis.dataset.until) - from);
    const span = element(axis, "rect", "axis-span");
    span.setAttribute("x", x(first));
    span.setAttribute("y", 18);
    span.setAttribute("width", Math.max(1, x(last) - x(first)));
    span.setAttribute("height", view.height - 20);
    const text = element(axis, "text", "axis-span-text");
    text.textContent = `${told(first, axis.dataset.zone)} to ${told(last, axis.dataset.zone)}`;
    text.setAttribute("y", 20 + view.height / 2 - 8);
    const room = view.width - text.getComputedTextLength() - 4;
    text.setAttribute("x", Math.max(left, Math.min(x(first), room)));
  }

  function clear(axis) {
    for (const one of axis.querySelectorAll(".axis-span, .axis-span-text")) { one.remove(); }
  }

  function choose(axis, first, last) {
    const dialog = document.getElementById(axis.dataset.chooses);
    if (!dialog) { return; }
    dialog.querySelector("[name=starts_at]").value = written(first, axis.dataset.zone);
    dialog.querySelector("[name=ends_at]").value = written(last, axis.dataset.zone);
    dialog.addEventListener("close", () => clear(axis), { once: true });
    dialog.showModal();
  }

  let dragged = null;
  document.addEventListener("pointerdown", (event) => {
    const axis = event.target.closest("[data-chooses]");
    // A finger scrolls; it has the form.
    if (!axis || event.button !== 0 || event.pointerType === "touch") { return; }
    event.preventDefault();
    dragged = { axis, start: momentAt(axis, event) };
  });
  document.addEventListener("pointermove", (event) => {
    if (!dragged) { return; }
    const here = momentAt(dragged.axis, event);
    draw(dragged.axis, Math.min(here, dragged.start), Math.max(here, dragged.start));
  });
  document.addEventListener("pointerup", (event) => {
    if (!dragged) { return; }
    const { axis, start } = dragged;
    const here = momentAt(axis, event);
    dragged = null;
    if (here === start) { clear(axis); return; }
    choose(axis, Math.min(here, start), Math.max(here, start));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && dragged) { clear(dragged.axis); dragged = null; }
  });
})();
