"""From a study's tables to every number that its page states."""

from __future__ import annotations

from pathlib import Path

from recall_distortion.inference.questions.summary import summary
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.schema import SOMETIMES


def write_summary(
    recall_csv: str | Path,
    networks_csv: str | Path,
    estimates_csv: str | Path,
    tests_csv: str | Path,
    mixed_models_csv: str | Path,
    mixed_model_fits_csv: str | Path,
    published_csv: str | Path,
    summary_csv: str | Path,
) -> None:
    """Write the counts and statistics that a study's page and metrics state."""
    paths = {
        "recall": recall_csv,
        "networks": networks_csv,
        "estimates": estimates_csv,
        "tests": tests_csv,
        "mixed_models": mixed_models_csv,
        "mixed_model_fits": mixed_model_fits_csv,
        "published": published_csv,
    }
    further = {"networks": SOMETIMES}
    tables = {
        name: read_table(path, name, further=further.get(name, ())) for name, path in paths.items()
    }
    write_table(summary_csv, "summary", summary(**tables))
