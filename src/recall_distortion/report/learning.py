"""The listing of networks that learn nothing, where a study has any."""

from __future__ import annotations

from recall_distortion.report.listings import CELL, Listing, shown

LEARNING = {
    "learning": Listing(
        "Seeds that learn",
        "The share of a cell’s networks whose accuracy is above the threshold, a tenth of the way "
        "from chance to 1, with Clopper and Pearson’s interval. Chance is the share of the largest "
        "class in the test set; networks that failed did not learn. Where some learn nothing, "
        "means over all of them mix two kinds of networks.",
        shown(
            *CELL, "n||whole", "learn|learn|percent", "low||percent", "high||percent",
            "threshold|accuracy above|percent", "level||percent",
        ),
    ),
}  # fmt: skip
