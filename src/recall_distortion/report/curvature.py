"""The listings of measures of networks’ weights and units, where a study has them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recall_distortion.measures.of_weights import OF_CURVATURE, OF_UNITS, OfWeights
from recall_distortion.report.listings import LISTINGS, Listing


def _meanings(measures: Sequence[OfWeights]) -> str:
    return " ".join(
        f"{measure.title[:1].upper()}{measure.title[1:]}: {measure.column.meaning}"
        for measure in measures
    )


OF_WEIGHTS = {
    "curvature": Listing(
        "Curvature of the loss",
        _meanings(OF_CURVATURE)
        + " In evaluation mode, without weight decay; how many images and eigenvalues, and how far "
        "these converged, stands in networks.csv. Removed weights are no directions, and fewer "
        "directions alone make a Hessian’s largest eigenvalue and a gradient’s length no larger. "
        "All but the losses depend on the scale of the weights. Columns as in further measures.",
        LISTINGS["measures"].columns,
    ),
    "dead_units": Listing(
        "Dead and linear units",
        _meanings(OF_UNITS)
        + " In evaluation mode, over all images that weights are fitted to. Units are those of all "
        "layers that pruning did not remove; how many, and each layer by itself, stands in "
        "networks.csv. Columns as in further measures.",
        LISTINGS["measures"].columns,
    ),
}
_TITLES = {
    "curvature": [measure.title for measure in OF_CURVATURE],
    "dead_units": [measure.title for measure in OF_UNITS],
}


def apart(measures: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of measures by the listing that they stand in.

    A study that did not ask for curvature or dead units is not said to lack them.
    """
    own = {key: measures["measure"].isin(titles) for key, titles in _TITLES.items()}
    found = {"measures": measures[~pd.concat(own, axis=1).any(axis=1)]}
    return found | {key: measures[rows] for key, rows in own.items() if rows.any()}
