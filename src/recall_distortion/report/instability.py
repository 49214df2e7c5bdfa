"""The listing of what instability says of accuracy and alpha."""

from __future__ import annotations

import pandas as pd

from recall_distortion.report.listings import Listing, shown
from recall_distortion.tables.stability import OUTCOMES, quantity

INSTABILITY = {
    "instability": Listing(
        "Does unstable pruning end better?",
        "Instability is the share of its accuracy that a network loses at once when it is pruned. "
        "Slopes are of accuracy, or α, beyond the control per unit of it, with intervals over "
        "seeds on these images: between the means of arms, methods at a ratio, and within arms. "
        "Instability is measured on one half of the test images and the outcome on the other, "
        "then the halves are exchanged; noise in it pulls slopes towards 0. Kendall’s τ is of "
        "instability and the outcome itself on the same images, as published for accuracy "
        "(Bartoldson et al. 2020): positive where unstable pruning ends better. Its p value takes "
        "networks as independent, which those of one arm are not; τ of arms takes their means. "
        "Rows without a ratio are over all ratios.",
        shown(
            "dataset", "architecture|network", "recipe", "ratio||ratio", "quantity|outcome",
            "estimator|measured by", "n|of|whole", "verdict|where instability rises, it|text",
            "estimate||four", "low||four", "high||four", "std_error|standard error|four",
            "df||whole", "p||p", "level||percent", "note",
        ),
    )
}  # fmt: skip


def of_instability(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of estimates.csv that the listing has."""
    return estimates[estimates["quantity"].isin([quantity(outcome) for outcome in OUTCOMES])]
