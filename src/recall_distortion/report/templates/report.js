(() => {
  "use strict";
  const cleaned = (text) => text.replaceAll(",", "").replaceAll("−", "-").replace("∞", "inf");

  // A cell as the table's file has it: its raw text, all its digits, or what it shows.
  function full(cell) {
    if (cell.dataset.v !== undefined) return cell.dataset.v;
    // A verdict stands behind its sign.
    if (cell.classList.contains("verdict")) return cell.textContent.replace(/^\S+ /, "");
    if (!cell.classList.contains("n")) return cell.textContent;
    return cell.title || (cell.textContent === "–" ? "" : cleaned(cell.textContent));
  }

  function number(text) {
    if (text === "") return NaN;
    return Number(text.replace("inf", "Infinity"));
  }

  const words = new Intl.Collator("en", { numeric: true });

  // Missing values come last in both directions; ties keep the table's own order.
  function comparison(numeric, sign) {
    const missing = (value) => (numeric ? Number.isNaN(value) : value === "");
    return (a, b) => {
      if (missing(a.value) || missing(b.value)) return missing(a.value) - missing(b.value);
      if (!numeric) return sign * words.compare(a.value, b.value);
      return a.value === b.value ? 0 : sign * (a.value < b.value ? -1 : 1);
    };
  }

  function sort(table, rows, place, direction) {
    const heading = table.tHead.rows[0].cells[place];
    const numeric = heading.classList.contains("n");
    let ordered = rows;
    if (direction !== "none") {
      const keyed = rows.map((row) => {
        const value = full(row.cells[place]);
        return { row, value: numeric ? number(value) : value };
      });
      keyed.sort(comparison(numeric, direction === "ascending" ? 1 : -1));
      ordered = keyed.map((item) => item.row);
    }
    table.tBodies[0].append(...ordered);
    for (const other of table.tHead.rows[0].cells) {
      other.setAttribute("aria-sort", other === heading ? direction : "none");
    }
  }

  function quoted(text) {
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function csv(table, rows) {
    const columns = JSON.parse(table.dataset.columns);
    const same = JSON.parse(table.dataset.same);
    const places = new Map(
      Array.from(table.tHead.rows[0].cells, (cell, place) => [cell.dataset.name, place])
    );
    const lines = rows.map((row) =>
      columns.map((name) => (places.has(name) ? full(row.cells[places.get(name)]) : same[name]))
    );
    return [columns, ...lines].map((line) => line.map(quoted).join(",") + "\n").join("");
  }

  function download(table, rows, name) {
    const address = URL.createObjectURL(new Blob([csv(table, rows)], { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  function button(text, kind, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = kind;
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  for (const table of document.querySelectorAll("table.data")) {
    const rows = Array.from(table.tBodies[0].rows);
    Array.from(table.tHead.rows[0].cells).forEach((heading, place) => {
      const turn = () => {
        const next = { ascending: "descending", descending: "none" };
        sort(table, rows, place, next[heading.getAttribute("aria-sort")] || "ascending");
      };
      const made = button(heading.textContent, "sort", turn);
      heading.replaceChildren(made);
      heading.setAttribute("aria-sort", "none");
    });
    const name = table.dataset.file;
    const made = button("Download as CSV", "download", () => download(table, rows, name));
    made.setAttribute("aria-label", `Download ${name}`);
    table.closest("details").querySelector(".scroll").before(made);
  }

  for (const item of document.querySelectorAll(".scripted")) item.hidden = false;

  // A link to a closed table opens it.
  function open() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) target.open = true;
  }
  addEventListener("hashchange", open);
  open();
})();
