// Applies the remembered theme before the first paint; without one, the system's.
(function () {
  "use strict";
  var kept = null;
  try { kept = localStorage.getItem("assay-theme"); } catch { /* storage may be switched off */ }
  var dark = kept ? kept === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
})();
