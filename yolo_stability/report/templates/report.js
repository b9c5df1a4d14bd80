(() => {
  "use strict";
  const content = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const charts = [...document.querySelectorAll("[data-chart]")];
  const drawn = new Set();
  const sharp = matchMedia("(pointer: fine)").matches;
  const config = { displayModeBar: false, responsive: true, showTips: false };

  // Charts use the color variables of the style sheet, such as "var(--arm)", for light, dark and print.
  function painted(value, style) {
    if (typeof value === "string") {
      const name = /^var\((--[a-z-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => painted(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, style)]));
  }

  function plain(log) {
    if (log === null) return "";
    const value = 10 ** log;
    return value >= 1e-3 && value < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
  }

  function filled(trace) {
    if (!trace.grid) return trace;
    const grid = content.grids[trace.grid];
    const { grid: _, layer, ...rest } = trace;
    if (layer === "over") {
      if (!grid.over) return null;
      const words = ["zero", "NaN or Inf"];
      const text = grid.over.map((row) => row.map((cell) => (cell === null ? "" : words[cell])));
      return { ...rest, x: grid.x, z: grid.over, text, hovertemplate: "step %{x:.0f}: %{text}<extra></extra>" };
    }
    const text = grid.z.map((row) => row.map(plain));
    return { ...rest, x: grid.x, z: grid.z, text, hovertemplate: "step %{x:.0f}: norm %{text}<extra></extra>" };
  }

  function seedOf(element) {
    const section = element.closest("[data-section]");
    const chosen = section && section.querySelector("input[type=radio]:checked");
    return chosen ? chosen.value : element.dataset.seed;
  }

  function draw(element) {
    const variants = content.charts[element.id];
    const variant = variants[""] || variants[seedOf(element)];
    const title = document.querySelector(`[data-title-of="${element.id}"]`);
    element.hidden = !variant;
    if (!variant) {
      if (title) title.textContent = "Not available for this seed.";
      return;
    }
    if (title && variant.title) title.textContent = variant.title;
    const style = getComputedStyle(root);
    const narrow = element.clientWidth < 520;
    const layout = painted(variant.layout, style);
    const base = {
      height: element.clientHeight,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: narrow ? 11 : 12, color: style.getPropertyValue("--ink").trim() },
      margin: { l: 8, r: 14, t: 8, b: 8, pad: 2 },
      dragmode: sharp ? "zoom" : false,
      hoverlabel: { font: { family: "system-ui, sans-serif" } },
    };
    const data = variant.data.map(filled).filter(Boolean);
    drawn.add(element);
    Plotly.react(element, painted(data, style), { ...base, ...layout }, config);
  }

  const redraw = () => drawn.forEach(draw);
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          near.unobserve(entry.target);
          draw(entry.target);
        }
      }
    },
    { rootMargin: "500px" },
  );
  charts.forEach((element) => near.observe(element));

  document.addEventListener("change", (event) => {
    const section = event.target.closest("[data-section]");
    if (section) section.querySelectorAll("[data-chart][data-seed]").forEach((e) => drawn.has(e) && draw(e));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // Print in light colors and with all details open.
  let folded = [];
  addEventListener("beforeprint", () => {
    root.dataset.print = "";
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((element) => (element.open = true));
    charts.forEach(draw);
  });
  addEventListener("afterprint", () => {
    delete root.dataset.print;
    folded.forEach((element) => (element.open = false));
    redraw();
  });
  root.dataset.ready = "";
})();
