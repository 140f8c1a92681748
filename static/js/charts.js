// Draws every [data-chart] from the JSON block that it names, with uPlot, in the colours of the theme.
(function () {
  "use strict";
  const drawn = new Map();

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  const DAY = 86400;

  function timeLabels(plot, ticks, axis, space, step) {
    const clock = uPlot.fmtDate("{HH}:{mm}");
    const day = uPlot.fmtDate("{DD} {MMM}");
    const zone = document.documentElement.dataset.zone || "UTC";
    let last = "";
    return ticks.map((tick) => {
      const moment = uPlot.tzDate(new Date(tick * 1000), zone);
      const date = day(moment);
      const text = step >= DAY ? date : date === last ? clock(moment) : clock(moment) + "\n" + date;
      last = date;
      return text;
    });
  }

  function axes(unit) {
    const text = colour("--assay-chart-text");
    const grid = { stroke: colour("--assay-chart-grid"), width: 1 };
    const font = "12px InterVariable, sans-serif";
    return [
      { stroke: text, grid, ticks: grid, font, space: 70, values: timeLabels },
      { stroke: text, grid, ticks: grid, font, size: 64, values: (_, ticks) => ticks.map((tick) => tick + (unit ? " " + unit : "")) },
    ];
  }

  function seriesOf(data) {
    return [{ label: "Time", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" }].concat(data.series.map((one) => ({
      label: one.label,
      stroke: colour("--tone-" + (one.tone || "active")),
      width: one.width || 1.5,
      dash: one.dash,
      fill: one.fill ? colour("--tone-" + (one.tone || "active") + "-soft") : undefined,
      points: { show: data.rows[0].length < 4 },
      spanGaps: false,
    })));
  }

  function draw(figure) {
    const block = document.getElementById(figure.dataset.chart);
    if (!block) { return; }
    const data = JSON.parse(block.textContent);
    drawn.get(figure)?.destroy();
    const options = {
      width: figure.clientWidth || 300,
      height: Number(figure.dataset.height),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), document.documentElement.dataset.zone || "UTC"),
      series: seriesOf(data),
      axes: axes(data.unit),
      bands: data.bands ? data.bands.map((pair) => ({ series: pair, fill: colour("--tone-active-soft") })) : undefined,
      scales: data.range ? { y: { range: data.range } } : undefined,
      legend: { live: true },
    };
    drawn.set(figure, new uPlot(options, data.rows, figure));
  }

  function drawAll() {
    for (const figure of drawn.keys()) { if (!figure.isConnected) { drawn.get(figure).destroy(); drawn.delete(figure); } }
    document.querySelectorAll("[data-chart]").forEach(draw);
  }

  document.addEventListener("DOMContentLoaded", drawAll);
  document.addEventListener("htmx:afterSettle", drawAll);
  document.addEventListener("assay:theme", drawAll);
  window.addEventListener("resize", () => drawn.forEach((plot, figure) => plot.setSize({ width: figure.clientWidth, height: Number(figure.dataset.height) })));
})();
