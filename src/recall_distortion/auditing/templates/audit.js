(() => {
  "use strict";
  // A class by its name among many: what is typed decides which rows are seen.
  for (const field of document.querySelectorAll("input.find")) {
    const rows = Array.from(document.getElementById(field.dataset.table).tBodies[0].rows);
    const middle = new Set(rows.filter((row) => row.hidden));
    field.hidden = false;
    field.addEventListener("input", () => {
      const asked = field.value.trim().toLowerCase();
      for (const row of rows) {
        const name = row.cells[0].textContent.toLowerCase();
        row.hidden = asked === "" ? middle.has(row) : !name.includes(asked);
      }
    });
  }
  // A table that is cut says so.
  const look = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      box.classList.toggle("cut", box.scrollWidth > box.clientWidth);
    }
  };
  addEventListener("resize", look);
  document.addEventListener("toggle", look, true);
  look();
})();
