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
