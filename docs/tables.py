"""Write docs/tables.md and docs/audit-tables.md: what the tables hold, from their schemas.

``python docs/tables.py`` writes the pages; with ``--check`` it only says whether they are what the
schemas give.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from recall_distortion.auditing import schema as audits
from recall_distortion.measures import of_weights
from recall_distortion.measures.of_networks import MEASURES
from recall_distortion.tables.items import ITEMS
from recall_distortion.tables.schema import (
    CONTROLLED,
    COUNTED,
    CURVATURE,
    DEAD_UNITS,
    EMPTIED,
    OVERLAPS,
    QUANTIZED,
    STABILITY,
    TABLES,
)
from recall_distortion.tables.views import VIEWS

DOCS = Path(__file__).resolve().parent
PAGE, AUDITS = DOCS / "tables.md", DOCS / "audit-tables.md"

EARLIER = {
    "`alpha.csv`": "`networks.csv`; `accuracy_after` is `accuracy`",
    "`crossfit.csv`": "`networks.csv`: `crossfit_numerator`, `crossfit_denominator`",
    "`sparsity.csv`": "`networks.csv`, in the rows of both states; the cells' means are estimates "
    "of `realised ratio` and others",
    "`engines.csv`": "`networks.csv`: `device`, `engine`, `torch`",
    "`failures.csv`": "`networks.csv`: rows with a `failure`; stage `training` is state `dense`, "
    "`finetuning` is `retrained`",
    "`intercepts.csv`": "`networks.csv`: `intercept`, `slope_with_intercept`; their means are "
    "estimates of `intercept`",
    "`intervals.csv`": "`estimates.csv`: alpha, mean, against one; `mean` is `estimate`",
    "`pooled.csv`": "`estimates.csv`: alpha, pooled and cross-fitted, against one; each further "
    "column is a quantity",
    "`narrow`, `per_model` of `pooled.csv`": "the verdicts of `effective classes` and of "
    "`unstable networks`",
    "`effects.csv`": "`estimates.csv`: alpha against control",
    "`difference`, `crossfit_difference` of `effects.csv`": "`estimate` of the estimators mean and "
    "cross-fitted",
    "`basis` of `effects.csv`": "the estimator of the row that `leads`; pooled is called "
    "cross-fitted",
    "its reading *(de-)intensifies beyond the control*": "`verdict` (de-)intensification, "
    "`reading` "
    "beyond the control",
    "*as the control shows too*, *not told from the control*": "`reading` as the control, not "
    "distinguishable",
    "`equal_sparsity.csv`": "`estimates.csv`: against a method; *intensifies less* is "
    "de-intensification",
    "`seeds_needed.csv`": "`estimates.csv`: seeds needed; `effect` is `reference`, the question "
    "`alpha` is against one",
    "`tradeoff.csv`": "`estimates.csv`: accuracy against dense and control; `improves` is the "
    "verdict against dense",
    "`influence.csv`": "`estimates.csv`: alpha without the class, share of the denominator",
    "`engine` of `mixed_models.csv` and `mixed_model_fits.csv`": "`fitter`",
    "`true_probability` in files of predictions": "`loss`, -log of it",
    "keys, folders, figures and mixed models without a recipe": "with it, after the architecture",
}
MODULES = {
    "recall_distortion.catalogue": "recall_distortion.networks.plans, .compression.facts, "
    ".data.sources",
    "recall_distortion.columns, .tables": "recall_distortion.tables.schema, .tables.files",
    "recall_distortion.distortion": "recall_distortion.measures.distortion",
    "recall_distortion.measurement": "recall_distortion.inference.jobs.measure, "
    ".measures.networks, "
    ".tables.predictions",
    "recall_distortion.checksums": "recall_distortion.system.sealed",
    "recall_distortion.replicates": "recall_distortion.training.replicates, .training.randomness",
    "recall_distortion.inference.tables": "recall_distortion.inference.jobs.estimate, .jobs.fit",
    "recall_distortion.inference.simulate": "recall_distortion.simulation",
    "recall_distortion.errors, .files, .logs, ...": "recall_distortion.system.errors, "
    ".system.files, .system.logs, ...",
}


def statements() -> list[tuple[str, str, str, str]]:
    """Return quantity, class, estimator and what it is held against of every kind of estimate."""
    found: dict[tuple[str, str, str, str], int] = {}
    for view in VIEWS.values():
        for part in view.parts:
            against = part.against or "–"
            if part.against.startswith("="):
                against = {"=reference": "a method", "=origin": "what was quantized"}.get(
                    part.against, "one, control"
                )
            quantity = "a measure" if part.quantity.startswith("=") else part.quantity
            found[quantity, "a class" if part.of_class else "all", part.estimator, against] = 0
    return list(found)


def page() -> str:
    """Return the page of a study's tables as the schema gives it."""
    return _rendered(
        PAGE,
        tables=TABLES, statements=statements(), items=ITEMS, earlier=EARLIER, modules=MODULES,
        measures=MEASURES, quantized=QUANTIZED, controlled=CONTROLLED, emptied=EMPTIED,
        counted=COUNTED, stability=STABILITY,
        curvature=CURVATURE, dead_units=DEAD_UNITS, overlaps=OVERLAPS,
        titles={one.column.name: one for one in of_weights.MEASURES},
    )  # fmt: skip


def page_of_audits() -> str:
    """Return the page of an audit's tables as their schema gives it."""
    return _rendered(
        AUDITS,
        tables=audits.TABLES, of_several=audits.OF_SEVERAL, summary=audits.SUMMARY,
        finding=audits.FINDING,
    )  # fmt: skip


def _rendered(path: Path, **given: Any) -> str:
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined, autoescape=False,
    )  # fmt: skip
    template = path.with_name(f"{path.name}.j2").read_text("utf-8")
    return environment.from_string(template).render(given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    found = {PAGE: page(), AUDITS: page_of_audits()}
    if parser.parse_args(arguments).check:
        wrong = [path for path, text in found.items() if path.read_text("utf-8") != text]
        for path in wrong:
            print(f"{path.name} is not what the schema gives; run python docs/tables.py")
        return 1 if wrong else 0
    for path, text in found.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
