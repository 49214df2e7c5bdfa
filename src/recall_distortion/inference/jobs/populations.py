"""From files of predictions to what populations of networks say: estimates and images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from recall_distortion.inference.questions.populations import populations
from recall_distortion.measures.networks import whole_cells
from recall_distortion.tables.files import write_table
from recall_distortion.tables.predictions import read_all
from recall_distortion.tables.views import melt


def write_populations(
    predictions: Iterable[str | Path], estimates_csv: str | Path, images_csv: str | Path
) -> None:
    """Write what a study's populations say as rows of estimates.csv, and the images they are of.

    The rows are for ``write_estimates``, which puts them into the study's table.
    """
    parts, _ = read_all(predictions)
    found = populations(whole_cells(parts))
    rows = [melt("populations", found.cells), melt("population_classes", found.classes)]
    write_table(estimates_csv, "estimates", pd.concat(rows, ignore_index=True))
    write_table(images_csv, "images", found.images)
