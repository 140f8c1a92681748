// The site's small behaviours: theme, keys, dialogs, copying, relative times.
(function () {
  "use strict";
  const root = document.documentElement;

  function toggleTheme() {
    const next = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
    root.setAttribute("data-bs-theme", next);
    try { localStorage.setItem("assay-theme", next); } catch { /* storage may be switched off */ }
    document.dispatchEvent(new CustomEvent("assay:theme"));
  }

  function relative(seconds) {
    const span = Math.abs(seconds);
    if (span < 5) { return "just now"; }
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const [unit, size] = units.find((one) => span >= one[1]);
    const text = Math.floor(span / size) + "\u00a0" + unit;
    return seconds > 0 ? "in " + text : text + " ago";
  }

  function refreshTimes() {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      element.textContent = relative((Date.parse(element.dateTime) - Date.now()) / 1000);
    }
  }

  function moveRow(step) {
    const rows = Array.from(document.querySelectorAll("table[data-rows] tbody:not(.group-closed) tr:not(.group-row)"));
    if (!rows.length) { return; }
    const here = rows.findIndex((row) => row.classList.contains("row-here"));
    const next = rows[Math.min(rows.length - 1, Math.max(0, here + step))];
    rows.forEach((row) => row.classList.remove("row-here"));
    next.classList.add("row-here");
    next.scrollIntoView({ block: "nearest" });
    const link = next.querySelector("a");
    if (link) { link.focus({ preventScroll: true }); }
  }

  let pending = "";
  function onKey(event) {
    const field = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && event.target.matches("[data-search]")) { clearHits(); event.target.blur(); return; }
    if (field || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) { return; }
    const search = document.querySelector("[data-search]");
    if (pending === "g" && event.key === "h") { window.location.assign("/"); }
    pending = event.key === "g" ? "g" : "";
    if (event.key === "/" && search) { event.preventDefault(); search.focus(); search.select(); }
    if (event.key === "j") { moveRow(1); }
    if (event.key === "k") { moveRow(-1); }
    if (event.key === "?") { document.getElementById("keys")?.showModal(); }
  }

  function clearHits() {
    const hits = document.getElementById("search-hits");
    if (hits) { hits.replaceChildren(); }
  }

  function copyFrom(button) {
    const text = button.closest(".code-block").querySelector("code").textContent;
    navigator.clipboard.writeText(text).then(() => {
      button.classList.add("is-copied");
      window.setTimeout(() => button.classList.remove("is-copied"), 1500);
    });
  }

  function goToLine(button) {
    const text = document.getElementById(button.dataset.lineOf);
    if (!text) { return; }
    const lines = text.value.split("\n");
    const number = Math.min(Number(button.dataset.line), lines.length);
    const start = lines.slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0);
    text.focus();
    text.setSelectionRange(start, start + lines[number - 1].length);
    text.scrollTop = Math.max(0, (number - 5) * parseFloat(getComputedStyle(text).lineHeight));
  }

  // Groups that were folded stay folded when the list refreshes itself.
  const folded = new Set();
  function showFolds() {
    for (const button of document.querySelectorAll("[data-group]")) {
      const closed = folded.has(button.dataset.group);
      button.closest("tbody").classList.toggle("group-closed", closed);
      button.setAttribute("aria-expanded", String(!closed));
    }
  }

  function fold(button) {
    const name = button.dataset.group;
    if (!folded.delete(name)) { folded.add(name); }
    showFolds();
  }

  function openDialog(dialog) {
    if (!dialog) { return; }
    // What the list shows by now is in the address, not in a dialog that was written with the page.
    for (const field of dialog.querySelectorAll("input[data-here]")) { field.value = window.location.search.slice(1); }
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-theme-toggle], [data-dialog], [data-group], [data-dialog-close], [data-copy], [data-print], [data-line]");
    if (!event.target.closest(".search")) { clearHits(); }
    if (!target) { return; }
    if (target.matches("[data-theme-toggle]")) { toggleTheme(); }
    if (target.matches("[data-dialog]")) { openDialog(document.getElementById(target.dataset.dialog)); }
    if (target.matches("[data-group]")) { fold(target); }
    if (target.matches("[data-dialog-close]")) { target.closest("dialog").close(); }
    if (target.matches("[data-copy]")) { copyFrom(target); }
    if (target.matches("[data-line]")) { goToLine(target); }
    if (target.matches("[data-print]")) { window.print(); }
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("htmx:afterSettle", showFolds);
  // A list does not refresh itself under an open menu: it would close it.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.matches(".records") && event.target.querySelector(".dropdown-menu.show")) { event.preventDefault(); }
  });
  window.setInterval(refreshTimes, 15000);

  // A long menu shows where one is; it alone is scrolled, never the page.
  const here = document.querySelector(".navbar-vertical .nav-item.active");
  for (let box = here && here.parentElement; box && box !== document.body; box = box.parentElement) {
    if (box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(box).overflowY)) {
      box.scrollTop = Math.max(0, here.offsetTop - box.clientHeight / 2);
      break;
    }
  }
})();
