"""How many images of each class prepared data sets have: what networks saw, and are tested on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.data.prepared import load
from recall_distortion.system.files import replacing

COLUMNS = ("dataset", "class", "class_name", "fit", "holdout", "test")


def write_frequencies(datasets: Mapping[str, str | Path], output: str | Path) -> None:
    """Write the images of every class of prepared data sets, by name, as a CSV table.

    Columns: dataset, class, class_name, and the images trained on (fit), held out and tested on.
    """
    rows = [pd.DataFrame(columns=COLUMNS)]
    for name, path in datasets.items():
        data = load(path)
        classes = len(data.class_names)
        counts = {
            "fit": data.train_labels[data.fit_index],
            "holdout": data.train_labels[data.holdout_index],
            "test": data.test_labels,
        }
        table = {key: np.bincount(labels, minlength=classes) for key, labels in counts.items()}
        names = {"dataset": name, "class": np.arange(classes), "class_name": list(data.class_names)}
        rows.append(pd.DataFrame(names | table))
    with replacing(output) as temporary:
        pd.concat(rows).to_csv(temporary, index=False, lineterminator="\n")
