"""The share of seeds that learn, by hand and by scipy's exact interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions.learning import COLUMNS, learning
from recall_distortion.tables.learning import SHARE_THAT_LEARNS
from recall_distortion.tables.views import melt, spread
from recall_distortion.vocabulary import DENSE, RETRAINED

# Of 100 test images 40 are of the largest class: chance is 0.4, and 0.46 is a tenth further.
RECALL = pd.DataFrame(
    {"dataset": "d", "class": [0, 1, 2] * 2, "support": [40, 35, 25] * 2, "seed": [0] * 3 + [1] * 3}
)


def table(**cells: list[float]) -> pd.DataFrame:
    """Return networks with these accuracies of ``<method>_<state>``."""
    rows = []
    for name, values in cells.items():
        method, state = name.split("_")
        for seed, accuracy in enumerate(values):
            rows.append(("d", "net", "usual", method, 1.0, state, seed, accuracy))
    keys = ["dataset", "architecture", "recipe", "method", "ratio", "state", "seed", "accuracy"]
    return pd.DataFrame(rows, columns=keys)


def test_shares_and_exact_intervals() -> None:
    networks = table(
        dense_dense=[0.4, 0.46, 0.4601, 0.9, np.nan],
        control_retrained=[0.9] * 5,
        magnitude_compressed=[0.1] * 5,
        reseed_dense=[0.1] * 2,
    )
    found = learning(RECALL, networks, 0.95).set_index(["method", "state"])
    assert list(found.index) == [("dense", DENSE), ("control", RETRAINED)]
    assert found["n"].tolist() == [5, 5]
    assert found["learn"].tolist() == [2 / 5, 1.0]
    assert found["threshold"].tolist() == pytest.approx([0.46, 0.46])
    for many, row in zip((2, 5), found.itertuples(), strict=True):
        exact = stats.binomtest(many, 5).proportion_ci(0.95, method="exact")
        assert (row.low, row.high) == pytest.approx((exact.low, exact.high))


def test_where_all_learn_nothing_is_said() -> None:
    found = learning(RECALL, table(dense_dense=[0.5, 0.6], magnitude_compressed=[0.1, 0.1]))
    assert found.empty
    assert list(found) == COLUMNS


def test_the_rows_of_estimates_hold_the_table() -> None:
    wide = learning(RECALL, table(dense_dense=[0.4, 0.9, 0.9]))
    rows = melt("learning", wide)
    assert rows["quantity"].tolist() == [SHARE_THAT_LEARNS]
    back = spread("learning", rows)
    pd.testing.assert_frame_equal(back[COLUMNS], wide, check_dtype=False)
