"use strict";
// Click on a head sorts its column; numbers start with the largest, what has no number stays last.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const isNumber = head.classList.contains("number");
      const before = head.getAttribute("aria-sort");
      const ascending = before ? before === "descending" : !isNumber;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const sign = ascending ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[index];
        if (!isNumber) return cell.textContent;
        return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
      };
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (!isNumber) return sign * x.localeCompare(y);
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return sign * (x - y);
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// Of the figures to choose from, one is shown; without this script all are.
for (const choice of document.querySelectorAll(".choice")) {
  const select = choice.querySelector("select");
  const show = () => {
    for (const figure of choice.querySelectorAll("figure")) figure.hidden = figure.id !== select.value;
  };
  select.addEventListener("change", show);
  show();
}
// Curves: the legend shows the values under the pointer.
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
for (const place of document.querySelectorAll(".plot")) {
  const chart = JSON.parse(place.dataset.chart);
  const round = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))));
  const few = chart.x.length <= 30;
  const paint = () => {
    place.replaceChildren();
    const axis = { stroke: variable("--ink"), grid: { stroke: variable("--grid"), width: 1 }, ticks: { stroke: variable("--grid") } };
    const shown = (color) => (color === "#16181b" ? variable("--ink") : color);
    const values = (plot, ticks) => ticks.map((tick) => (tick === null ? "" : round(tick)));
    new uPlot({
      width: place.clientWidth, height: 250,
      scales: { x: { time: false }, y: chart.log ? { distr: 3 } : {} },
      axes: [{ ...axis, label: "epoch", labelSize: 18, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }, { ...axis, values, size: 56 }],
      series: [{ label: "epoch", value: (plot, value) => round(value) }, ...chart.lines.map((line) => ({
        label: line.label, stroke: shown(line.color), width: 2, spanGaps: true, points: { show: few, size: 5 },
        value: (plot, value) => round(value),
      }))],
    }, [chart.x, ...chart.lines.map((line) => line.values)], place);
  };
  let width = place.clientWidth;
  if (width) paint();
  new ResizeObserver(() => {
    if (place.clientWidth && place.clientWidth !== width) {
      width = place.clientWidth;
      requestAnimationFrame(paint);
    }
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
}
// Pictures: rows to choose, classes over the photo, and a click enlarges.
const large = document.createElement("dialog");
large.className = "large";
large.addEventListener("click", () => large.close());
document.body.append(large);
const enlarge = (image, photo, opacity) => {
  const frame = document.createElement("div");
  const copy = document.createElement("img");
  copy.src = image.src;
  copy.alt = image.alt;
  copy.style.opacity = opacity;
  if (photo) frame.style.backgroundImage = `url(${photo})`;
  frame.append(copy);
  const title = document.createElement("p");
  title.textContent = image.alt;
  large.replaceChildren(frame, title);
  large.showModal();
};
const onPress = (image, act) => {
  image.tabIndex = 0;
  image.role = "button";
  image.addEventListener("click", act);
  image.addEventListener("keydown", (event) => { if (event.key === "Enter") act(); });
};
for (const image of document.querySelectorAll("img.batch")) onPress(image, () => enlarge(image, "", 1));
for (const controls of document.querySelectorAll(".controls")) {
  controls.hidden = false;
  const section = controls.parentElement;
  const opacity = controls.querySelector(".opacity");
  const apply = () => {
    for (const box of controls.querySelectorAll("input[data-row]"))
      for (const cell of section.querySelectorAll(".cells figure"))
        if (cell.dataset.row === box.dataset.row) cell.hidden = !box.checked;
    for (const image of section.querySelectorAll(".labels img")) image.style.opacity = opacity.value / 100;
    for (const image of section.querySelectorAll(".wrong")) image.hidden = !controls.querySelector(".errors").checked;
  };
  for (const sample of section.querySelectorAll(".sample")) {
    const photo = sample.querySelector(".photo img").src;
    for (const place of sample.querySelectorAll(".labels")) place.style.backgroundImage = `url(${photo})`;
    for (const image of sample.querySelectorAll("img")) {
      const isLabels = image.parentElement.className === "labels";
      onPress(image, () => enlarge(image, isLabels ? photo : "", isLabels ? opacity.value / 100 : 1));
    }
  }
  controls.addEventListener("input", apply);
  apply();
}
