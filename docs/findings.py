"""Write docs/findings.md: its sentences from findings.md.j2, its numbers from the tables in git.

``python docs/findings.py`` reads ``results/*/tables`` and writes the page; with ``--check`` it only
says whether the page is what the tables give. A sentence that rests on a comparison stands in the
template as ``holds(comparison, sentence)``: where new tables no longer bear it out, the page is not
written and the sentence is named.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from deep_narrow import DeepNarrow
from equal_damage import EqualDamage
from forgotten import Forgotten
from transferred import Transferred
from ways import Ways

from recall_distortion.inference.statistics.intervals import interval
from recall_distortion.report.style import VERDICT_SIGNS, look
from recall_distortion.system.errors import TableError
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import read_table
from recall_distortion.tables.schema import SOMETIMES
from recall_distortion.tables.views import VIEWS, spread
from recall_distortion.vocabulary import CONTROL, INCONCLUSIVE, RETRAINED

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "results"
PAGE = DOCS / "findings.md"

#: The published panels' names in text, by study.
PANELS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
METHODS = ["magnitude", "undecayed", "undecayed_signed", "gradient", "random"]
#: What else the template may ask, by name.
FURTHER = {
    "forgotten": Forgotten, "equal_damage": EqualDamage, "ways": Ways, "deep": DeepNarrow,
    "deep_mnist": partial(DeepNarrow, study="mnist_jumpstart"), "transferred": Transferred,
}  # fmt: skip
LEVEL = 0.99
EFFECT = 0.05
WIDTH = 120  # of a line of text on the page

Cell = tuple[str, str, float]  # study, method, ratio


class Tables:
    """The tables of the studies in a results folder, read once each.

    A name is that of a table, or of a question whose answers stand in ``estimates.csv``
    (``recall_distortion.tables.views.VIEWS``).
    """

    def __init__(self, results: Path = RESULTS) -> None:
        self.results = results
        self._read: dict[tuple[str, str], pd.DataFrame] = {}

    def __call__(self, study: str, name: str) -> pd.DataFrame:
        key = (study, name)
        if key not in self._read:
            if name in VIEWS:
                self._read[key] = spread(name, self(study, "estimates"))
            else:
                path = self.results / study / "tables" / f"{name}.csv"
                further = SOMETIMES if name == "networks" else ()
                self._read[key] = read_table(path, name, further=further)
        return self._read[key]

    def cell(self, study: str, name: str, method: str, ratio: float, state: str = RETRAINED):
        """Return the rows of one cell."""
        table = self(study, name)
        rows = table["method"].eq(method) & table["ratio"].eq(ratio) & table["state"].eq(state)
        return table[rows]

    def row(
        self, study: str, name: str, method: str, ratio: float, state: str = RETRAINED
    ) -> pd.Series:
        """Return the one row of a cell."""
        rows = self.cell(study, name, method, ratio, state)
        if len(rows) != 1:
            raise ValueError(f"{study}: {name} has {len(rows)} rows of {method} at {ratio:g}")
        return rows.iloc[0]


class Page:
    """What the template may ask the tables for; every method returns text or cells of text."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.published = pd.concat([self._published(study) for study in PANELS], ignore_index=True)
        self.ratios = sorted({float(ratio) for ratio in self.published["ratio"]})

    def offered(self) -> dict[str, Any]:
        """Return everything by its name in the template."""
        own = {name: getattr(self, name) for name in dir(self) if not name.startswith("_")}
        own |= {"panels": PANELS, "level": LEVEL, "effect": EFFECT, "holds": holds, "span": span}
        own |= {"ratios": [f"{ratio:g}" for ratio in self.ratios], "methods": METHODS}
        own |= {"number": number, **{name: kind(self.tables) for name, kind in FURTHER.items()}}
        return own | {"n": self.replicates(*PANELS), **self._varied()}

    def verdicts(self, study: str) -> list[list[str]]:
        """Return a row a ratio of magnitude pruning: published, here, slope, effect, reading."""
        found = []
        published = self._published(study).set_index("ratio")
        for ratio in self.ratios:
            cell = published.loc[ratio]
            effect = self.tables.row(study, "effects", "magnitude", ratio)
            found.append(
                [
                    f"{ratio:g}",
                    VERDICT_SIGNS[cell["published_verdict"]],
                    VERDICT_SIGNS[cell["verdict"]],
                    self.slope(study, "magnitude", ratio),
                    span(effect[["crossfit_difference", "crossfit_low", "crossfit_high"]]),
                    look(effect["verdict"], effect["reading"]).words,
                ]
            )
        return found

    @property
    def agree(self) -> int:
        """How many verdicts are the published ones."""
        return int((self.published["verdict"] == self.published["published_verdict"]).sum())

    @property
    def decided(self) -> int:
        """How many of the published verdicts that hold are not inconclusive."""
        same = self.published["verdict"] == self.published["published_verdict"]
        return int((same & (self.published["verdict"] != INCONCLUSIVE)).sum())

    def agreeing(self, study: str) -> str:
        """Return how many of a study's verdicts are the published ones, of how many."""
        table = self._published(study)
        return f"{(table['verdict'] == table['published_verdict']).sum()} of {len(table)}"

    @property
    def others(self) -> int:
        """How many verdicts were published of cells that no study here has."""
        table = self.tables(next(iter(PANELS)), "published")
        return len(table) - len(self.published)

    @property
    def opposite(self) -> int:
        """How many verdicts are the contrary of the published ones, not merely inconclusive."""
        pair = self.published[["published_verdict", "verdict"]]
        decided = ~pair.isin([INCONCLUSIVE]).any(axis=1)
        return int((decided & (pair["verdict"] != pair["published_verdict"])).sum())

    def slopes(self, study: str, method: str) -> list[str]:
        return [self.slope(study, method, ratio) for ratio in self.ratios]

    def slope(self, study: str, method: str, ratio: float, state: str = "retrained") -> str:
        row = self.tables.row(study, "slopes", method, ratio, state)
        return span(row[["mean", "low", "high"]])

    def crossfitted(self, study: str, method: str, ratio: float, state: str = "retrained") -> str:
        row = self.tables.row(study, "pooled", method, ratio, state)
        return span(row[["alpha_crossfit", "crossfit_low", "crossfit_high"]])

    def reliability(self, study: str) -> str:
        return number(self.tables.row(study, "pooled", CONTROL, 1)["reliability"])

    def beyond_control(self, study: str, method: str) -> list[str]:
        """Return mark and difference from the control at each ratio."""
        rows = [self.tables.row(study, "effects", method, ratio) for ratio in self.ratios]
        return [
            f"{VERDICT_SIGNS[row['verdict']]} {signed(row['crossfit_difference'])}" for row in rows
        ]

    def are(
        self,
        study: str,
        name: str,
        column: str,
        ratios: Sequence[float],
        value: str,
        method: str = "magnitude",
    ) -> bool:
        """Return whether a column holds a value at all of these ratios."""
        return all(self.found(study, name, column, method, ratio) == value for ratio in ratios)

    def found(self, study: str, name: str, column: str, method: str, ratio: float) -> Any:
        """Return one value of a fine-tuned cell, for a sentence's comparison."""
        return self.tables.row(study, name, method, ratio)[column]

    def equal_sparsity(self, study: str) -> list[list[str]]:
        """Return a row a ratio of undecayed_signed beside magnitude, three times each."""
        found = []
        for ratio in self.ratios:
            rows = self.tables.cell(study, "equal_sparsity", "undecayed_signed", ratio)
            row = rows[rows["reference"] == "magnitude"].iloc[0]
            slopes = [
                span(row[[f"{kind}_{name}" for name in ("difference", "low", "high")]])
                for kind in ("nominal", "equal", "denser")
            ]
            accuracies = [
                span(100 * row[[f"{kind}_accuracy{end}" for end in ("", "_low", "_high")]])
                for kind in ("nominal", "equal")
            ]
            found.append([f"{ratio:g}", number(row["realised_ratio"]), *slopes, *accuracies])
        return found

    @property
    def published_random(self) -> str:
        facts = self.tables(next(iter(PANELS)), "published")
        rows = facts[(facts["method"] == "random") & facts["published_accuracy"].notna()]
        shown = [
            f"{100 * float(row.published_accuracy):.1f} % at ratio {float(row.ratio):g}"
            for row in rows.itertuples()
        ]
        return ", ".join(shown)

    def published_percent(self, method: str, ratio: float) -> str:
        facts = self.tables(next(iter(PANELS)), "published")
        rows = facts[(facts["method"] == method) & (facts["ratio"] == ratio)]
        return number(100 * float(rows["published_accuracy"].dropna().iloc[0]), 1)

    def accuracy(self, study: str, method: str, ratio: float) -> float:
        """Return the mean test accuracy of a fine-tuned cell."""
        return self.tables.row(study, "accuracy", method, ratio)["mean"]

    def percent(self, study: str, method: str, ratio: float) -> str:
        return number(100 * self.accuracy(study, method, ratio))

    def percents(self, study: str, method: str) -> list[str]:
        return [self.percent(study, method, ratio) for ratio in self.ratios]

    def control_of(self, study: str, method: str) -> str:
        return Controls.of(self.tables(study, "networks")).arm(method)

    def accuracies(self, study: str, method: str) -> list[str]:
        """Return the accuracies of a method, the dense networks' first, in percent."""
        before = self.tables.row(study, "tradeoff", method, self.ratios[0])["accuracy_before"]
        return [
            number(100 * before),
            *(self.percent(study, method, ratio) for ratio in self.ratios),
        ]

    def cell_name(self, method: str, ratio: float) -> str:
        return method if method == CONTROL else f"{method}, {ratio:g}"

    def between(self, study: str, method: str, other: str, ratio: float) -> list[str]:
        """Return slope and accuracy of a study's cell less those of fashion_mnist's."""
        return self.less((study, method, ratio), ("fashion_mnist", other, ratio))

    def less(self, left: Cell, right: Cell) -> list[str]:
        """Return slope and accuracy (points) of one cell less another's, paired by seed."""
        columns = {"alpha": 1, "accuracy": 100}
        return [span(unit * self.paired(left, right, name)) for name, unit in columns.items()]

    def paired(self, left: Cell, right: Cell, column: str = "alpha") -> np.ndarray:
        """Return mean and interval of the difference of two cells, over the seeds of both."""
        sides = [
            self.tables.cell(study, "networks", *cell).set_index("seed")[column]
            for study, *cell in (left, right)
        ]
        seeds = sides[0].index.intersection(sides[1].index)
        differences = sides[0].loc[seeds] - sides[1].loc[seeds]
        return np.array(interval(differences.to_numpy(float), LEVEL))

    def moved(self, study: str, cells: Sequence[tuple[str, float]]) -> list[str]:
        """Return those of a study's cells whose slope differs from fashion_mnist's."""
        ends = {cell: self.paired((study, *cell), ("fashion_mnist", *cell))[1:] for cell in cells}
        return [self.cell_name(*cell) for cell, (low, high) in ends.items() if low > 0 or high < 0]

    def kept(self, study: str, method: str, ratio: float, column: str = "kept_prunable") -> str:
        return f"{self.tables.row(study, 'sparsity', method, ratio)[column]:,.0f}"

    def realised(self, study: str, method: str, ratio: float) -> str:
        return number(self.tables.row(study, "sparsity", method, ratio)["mean_ratio"], 1)

    def seeds(self, study: str, method: str) -> list[str]:
        return [self.seeds_of(study, method, ratio) for ratio in self.ratios]

    def seeds_of(self, study: str, method: str, ratio: float, question: str = CONTROL) -> str:
        rows = self.tables.cell(study, "seeds_needed", method, ratio)
        rows = rows[(rows["question"] == question) & np.isclose(rows["effect"], EFFECT)]
        row = rows.iloc[0]
        return f"{row['seeds']:,.0f} ({row['seeds_cautious']:,.0f})"

    def replicates(self, *studies: str) -> int:
        """Return how many seeds each cell of these studies has."""
        counts = {int(n) for study in studies for n in self.tables(study, "effects")["n"]}
        if len(counts) != 1:
            raise ValueError(f"the cells of {studies} differ in their seeds: {sorted(counts)}")
        return counts.pop()

    def _published(self, study: str) -> pd.DataFrame:
        """Return the published cells that a study has; its table has the others too."""
        table = self.tables(study, "published")
        return table[table["dataset"].isin(self.tables(study, "networks")["dataset"])]

    def _varied(self) -> dict[str, list[tuple[str, float]]]:
        """Return the cells of the studies that vary fashion_mnist."""
        table = self.tables("fashion_mnist_no_decay", "slopes")
        table = table[table["state"] == RETRAINED]
        cells = [(row.method, float(row.ratio)) for row in table.itertuples()]
        script = [cell for cell in cells if cell[0] == "script_undecayed"]
        every = [(CONTROL, 1.0)] + [(method, ratio) for method in METHODS for ratio in self.ratios]
        return {
            "varied": [cell for cell in cells if cell not in script],
            "script": script,
            "every": every,
        }


def holds(comparison: bool | np.bool_, sentence: str) -> str:
    """Return a sentence whose comparison the tables bear out; raises ``ValueError`` otherwise."""
    if not comparison:
        raise ValueError(f"the tables do not bear out: {sentence!r}; change it")
    return sentence


def number(value: float, digits: int = 2) -> str:
    """Return a number in text, with a true minus sign; raises ``ValueError`` if there is none."""
    if not np.isfinite(value):
        raise ValueError(f"a number that the page needs is {value}")
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "")


def signed(value: float) -> str:
    """Return a difference in text, with its sign."""
    text = number(value)
    return text if text.startswith("−") or not float(text) else f"+{text}"


def span(values: Sequence[float]) -> str:
    """Return an estimate with the ends of its interval in text."""
    estimate, *ends = (float(value) for value in values)
    # An end that rounds to zero or one would hide on which side of it the interval ends.
    low, high = (
        number(end, 3 if any(abs(end - mark) < 0.005 for mark in (0, 1)) else 2) for end in ends
    )
    return f"{number(estimate)} ({low}..{high})"


def wrapped(text: str) -> str:
    """Return a page with the lines of its paragraphs and lists filled, whatever their numbers."""
    found: list[str] = []
    for line in text.splitlines():
        follows = found and found[-1] and not found[-1].startswith(("#", "|"))
        if follows and line and not line.startswith(("- ", "#", "|")):
            found[-1] += f" {line.strip()}"
        else:
            found.append(line)
    filled = [
        line
        if line.startswith("|")
        else textwrap.fill(
            re.sub(" +", " ", line),
            WIDTH,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in found
    ]
    return "\n".join(filled) + "\n"


def render(results: Path = RESULTS) -> str:
    """Return the page's text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(DOCS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    template = environment.get_template("findings.md.j2")
    return wrapped(template.render(Page(Tables(results)).offered()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    try:
        text = render()
    except (ValueError, TableError) as error:
        print(f"docs/findings.md.j2: {error}", file=sys.stderr)
        return 1
    if check:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/findings.md is not what the tables give; run docs/findings.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
