// Draws every [data-chart] from the JSON block that it names, with uPlot, in the colours of the theme.
(function () {
  "use strict";
  const drawn = new Map();
  const zooms = new Map();

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

  function clipped(plot, paint) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    paint(ctx, bbox);
    ctx.restore();
  }

  function reach(plot, item) {
    const left = plot.valToPos(item.start, "x", true);
    return [left, Math.max(plot.valToPos(item.end, "x", true) - left, 2 * devicePixelRatio)];
  }

  // What happened behind the lines: a pale band from start to end, a line at its beginning.
  function drawMarks(marks) {
    return (plot) => clipped(plot, (ctx, bbox) => {
      for (const mark of marks) {
        const [left, width] = reach(plot, mark);
        ctx.globalAlpha = 0.55;
        ctx.fillStyle = colour("--tone-" + mark.tone + "-soft");
        ctx.fillRect(left, bbox.top, width, bbox.height);
        ctx.fillStyle = colour("--tone-" + mark.tone);
        ctx.fillRect(left, bbox.top, devicePixelRatio, bbox.height);
      }
    });
  }

  const LANE = 30;

  // What happened as lanes: a name over each, and a bar for each stretch.
  function drawLanes(lanes) {
    return (plot) => clipped(plot, (ctx, bbox) => {
      const high = bbox.height / lanes.length;
      lanes.forEach((lane, position) => {
        const top = bbox.top + position * high;
        for (const item of lane.items) {
          const [left, width] = reach(plot, item);
          ctx.fillStyle = colour("--tone-" + item.tone);
          ctx.fillRect(left, top + high * 0.58, width, high * 0.3);
        }
        ctx.fillStyle = colour("--assay-chart-text");
        ctx.font = 11 * devicePixelRatio + "px InterVariable, sans-serif";
        ctx.textBaseline = "middle";
        ctx.textAlign = "left";
        ctx.fillText(lane.label, bbox.left + 2 * devicePixelRatio, top + high * 0.3);
      });
    });
  }

  // Under the lanes: what lies under the pointer, in words; a click opens the record.
  function pointAtLanes(figure, lanes) {
    const note = document.createElement("p");
    note.className = "chart-note";
    figure.classList.add("chart-lanes");
    figure.append(note);
    let here = null;
    const usual = "Point at a bar to read what it is; drag over any chart to zoom, double-click to go back.";
    note.textContent = usual;
    return {
      setCursor: [(plot) => {
        const { left, top } = plot.cursor;
        here = null;
        if (left >= 0 && top >= 0) {
          const when = plot.posToVal(left, "x");
          const slack = (plot.scales.x.max - plot.scales.x.min) / 150;
          const lane = lanes[Math.min(Math.floor((top / plot.over.clientHeight) * lanes.length), lanes.length - 1)];
          here = lane.items.find((item) => item.start - slack <= when && when <= item.end + slack) || null;
        }
        note.textContent = here ? here.label : usual;
        plot.over.classList.toggle("is-link", Boolean(here && here.url));
      }],
      ready: [(plot) => plot.over.addEventListener("click", () => { if (here && here.url) { window.location.assign(here.url); } })],
    };
  }

  function scalesOf(data) {
    if (data.lanes) { return { y: { range: [0, 1] } }; }
    return data.range ? { y: { range: data.range } } : undefined;
  }

  function axesOf(data) {
    const [time, value] = axes(data.unit);
    return data.lanes ? [time, { ...value, grid: { show: false }, ticks: { show: false }, values: () => [] }] : [time, value];
  }

  function hooksOf(figure, data) {
    const hooks = data.lanes ? { ...pointAtLanes(figure, data.lanes), draw: [drawLanes(data.lanes)] } : {};
    if (data.marks) { hooks.drawClear = [drawMarks(data.marks)]; }
    return hooks;
  }

  // What the reader has zoomed into, where that is less than everything.
  function zoomOf(plot) {
    if (!plot) { return null; }
    const times = plot.data[0];
    const { min, max } = plot.scales.x;
    return min > times[0] || max < times[times.length - 1] ? { min, max } : null;
  }

  function draw(figure) {
    const block = document.getElementById(figure.dataset.chart);
    if (!block) { return; }
    const data = JSON.parse(block.textContent);
    const name = figure.dataset.chart;
    const zoom = zoomOf(drawn.get(figure)) || zooms.get(name);
    zooms.delete(name);
    drawn.get(figure)?.destroy();
    figure.replaceChildren();
    const options = {
      width: figure.clientWidth || 300,
      height: data.lanes ? data.lanes.length * LANE + 56 : Number(figure.dataset.height),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), document.documentElement.dataset.zone || "UTC"),
      series: seriesOf(data),
      axes: axesOf(data),
      bands: data.bands ? data.bands.map((pair) => ({ series: pair, fill: colour("--tone-active-soft") })) : undefined,
      scales: scalesOf(data),
      legend: { live: true, show: !data.lanes },
      hooks: hooksOf(figure, data),
      // Charts of one page that share a time axis zoom and point together.
      cursor: data.sync ? { sync: { key: data.sync, scales: ["x", null] } } : undefined,
    };
    const plot = new uPlot(options, data.rows, figure);
    figure.dataset.height = plot.height;
    if (zoom) { plot.setScale("x", zoom); }
    drawn.set(figure, plot);
  }

  function drawAll(anew) {
    for (const figure of drawn.keys()) {
      if (figure.isConnected) { continue; }
      const zoom = zoomOf(drawn.get(figure));
      if (zoom) { zooms.set(figure.dataset.chart, zoom); }
      drawn.get(figure).destroy();
      drawn.delete(figure);
    }
    document.querySelectorAll("[data-chart]").forEach((figure) => { if (anew || !drawn.has(figure)) { draw(figure); } });
  }

  document.addEventListener("DOMContentLoaded", () => drawAll(true));
  document.addEventListener("htmx:afterSettle", () => drawAll(false));
  document.addEventListener("assay:theme", () => drawAll(true));
  window.addEventListener("resize", () => drawn.forEach((plot, figure) => plot.setSize({ width: figure.clientWidth, height: Number(figure.dataset.height) })));
})();
