"""The listing of measures of networks’ weights, where a study has them."""

from __future__ import annotations

import pandas as pd

from recall_distortion.measures.of_weights import MEASURES
from recall_distortion.report.listings import LISTINGS, Listing

_TITLES = [measure.title for measure in MEASURES]
CURVATURE = {
    "curvature": Listing(
        "Curvature of the loss",
        " ".join(
            f"{measure.title[:1].upper()}{measure.title[1:]}: {measure.column.meaning}"
            for measure in MEASURES
        )
        + " In evaluation mode, without weight decay; how many images and eigenvalues, and how far "
        "these converged, stands in networks.csv. Removed weights are no directions, and fewer "
        "directions alone make a Hessian’s largest eigenvalue and a gradient’s length no larger. "
        "All but the losses depend on the scale of the weights. Columns as in further measures.",
        LISTINGS["measures"].columns,
    )
}


def apart(measures: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of measures by the listing that they stand in, curvature's if there is one.

    A study that did not ask for it is not said to lack it.
    """
    of_weights = measures["measure"].isin(_TITLES)
    found = {"measures": measures[~of_weights]}
    return found | ({"curvature": measures[of_weights]} if of_weights.any() else {})
