"""What masks share beyond chance: means by hand, intervals of other seeds by leaving each out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions.equivalence import pairs_equivalent
from recall_distortion.inference.questions.instability import jackknife
from recall_distortion.inference.questions.overlaps import (
    COLUMNS,
    FEW_SEEDS,
    overlaps,
    pseudo_values,
)
from recall_distortion.inference.statistics.equivalence import equivalence
from recall_distortion.inference.statistics.intervals import t_interval
from recall_distortion.system.errors import TableError
from recall_distortion.tables.views import melt, spread
from recall_distortion.vocabulary import CELL_STATE

CELL = {"dataset": "digits", "architecture": "mlp", "recipe": "usual", "state": "retrained"}


def networks(shares: np.ndarray, ratio: float = 2.0) -> pd.DataFrame:
    """Return the table of the networks of a pair whose masks share ``shares`` [n, n] by seed."""
    n = len(shares)
    off = shares - np.diag(np.diag(shares))
    with np.errstate(invalid="ignore"):
        seeds = (off.sum(0) + off.sum(1)) / (2 * (n - 1))
    common = CELL | {"ratio": ratio, "failure": ""}
    own = pd.DataFrame({
        **common, "method": "once", "seed": np.arange(n), "accuracy": 0.9 + 0.001 * np.arange(n),
        "mask_other": "ticket", "mask_shared": np.diag(shares), "mask_shared_shuffled": 0.3,
        "mask_shared_deviation": 0.01, "mask_shared_seeds": seeds,
        "mask_shared_seeds_shuffled": 0.29, "mask_iou": 0.4, "mask_iou_shuffled": 0.2,
    })  # fmt: skip
    other = own.assign(method="ticket", mask_other="", accuracy=0.9)
    names = [name for name in own if name.startswith("mask_shared") or name.startswith("mask_iou")]
    other[names] = np.nan
    return pd.concat([own, other], ignore_index=True)


@pytest.fixture
def shares() -> np.ndarray:
    # Seeds differ in how much they share with any other, so that pairs of a seed move together.
    generator = np.random.default_rng(3)
    seeds = 0.02 * generator.standard_normal(7)
    found = 0.5 + seeds[:, None] + seeds + 0.005 * generator.standard_normal((7, 7))
    return found + 0.1 * np.eye(7)


def test_each_difference_has_the_interval_of_its_seeds(shares: np.ndarray) -> None:
    (row,) = overlaps(networks(shares), 0.95).to_dict("records")
    own = np.diag(shares)
    assert (row["reference"], row["n"], row["note"]) == ("ticket", 7, "")
    assert row["over_shuffled"] == pytest.approx(own.mean() - 0.3)
    ends = stats.t.interval(0.95, 6, own.mean() - 0.3, stats.sem(own))
    assert (row["over_shuffled_low"], row["over_shuffled_high"]) == pytest.approx(ends)
    p = stats.ttest_1samp(own, 0.3).pvalue
    assert (row["over_shuffled_p"], row["over_shuffled_verdict"]) == (pytest.approx(p), "more")
    assert [row[name] for name in ("shuffled", "deviation", "iou", "iou_shuffled")] == (
        pytest.approx([0.3, 0.01, 0.4, 0.2])
    )

    def others(chosen: np.ndarray) -> float:
        part = shares[np.ix_(chosen, chosen)]
        return float(part[~np.eye(len(chosen), dtype=bool)].mean())

    assert row["seeds"] == pytest.approx(others(np.arange(7)))
    for name, statistic in (
        ("over_seeds", lambda chosen: own[chosen].mean() - others(chosen)),
        ("seeds_over_shuffled", lambda chosen: others(chosen) - 0.29),
    ):
        found = jackknife(statistic, 7, 0.95)
        numbers = [row[f"{name}{end}"] for end in ("", "_low", "_high", "_error", "_p")]
        assert numbers == pytest.approx(list(found)), name


def test_intervals_of_other_seeds_hold_what_seeds_share_in_truth() -> None:
    """Coverage over 4,000 studies of 6 seeds; a t interval of the seeds' means would be short."""
    generator = np.random.default_rng(11)
    seeds = 0.02 * generator.standard_normal((4_000, 6))
    drawn = 0.5 + seeds[:, :, None] + seeds[:, None]
    drawn += 0.005 * generator.standard_normal(drawn.shape)
    drawn *= 1 - np.eye(6)
    of_seeds = (drawn.sum(1) + drawn.sum(2)) / 10
    for values, least, most in ((pseudo_values(of_seeds), 0.94, 0.97), (of_seeds, 0, 0.85)):
        found = t_interval(values, 0.95)
        covered = ((found.low <= 0.5) & (found.high >= 0.5)).mean()
        assert least < covered < most


def test_too_few_seeds_say_so() -> None:
    two = overlaps(networks(np.array([[0.5, 0.3], [0.2, 0.6]])))
    assert two["note"].tolist() == [FEW_SEEDS]
    assert two["seeds"].tolist() == [0.25]
    assert two[["over_seeds", "seeds_over_shuffled"]].isna().all(axis=None)
    one = overlaps(networks(np.array([[0.5]])))
    assert one["note"].str.contains("one replicate").all()
    assert one["over_shuffled_verdict"].tolist() == [""]
    plain = networks(np.full((3, 3), 0.5))
    without = plain[[name for name in plain if not name.startswith("mask")]]
    assert overlaps(without).empty
    assert list(overlaps(without)) == COLUMNS
    with pytest.raises(TableError):
        overlaps(plain, 1.5)


def test_seeds_without_a_pair_are_told(shares: np.ndarray) -> None:
    """One has no ticket, another no early cut: five of seven seeds have both."""
    whole = networks(shares)
    lost = whole[~((whole["method"] == "once") & (whole["seed"] == 6))].copy()
    lost = lost[~((lost["method"] == "ticket") & (lost["seed"] == 2))]
    lost.loc[(lost["method"] == "once") & (lost["seed"] == 2), "mask_shared"] = np.nan
    (row,) = overlaps(lost).to_dict("records")
    assert (row["n"], row["note"]) == (5, "5 of 7 seeds make pairs")
    assert overlaps(whole)["note"].tolist() == [""]


def test_pairs_have_the_equivalence_of_their_accuracies(shares: np.ndarray) -> None:
    both = pd.concat([networks(shares), networks(shares, 10.0)], ignore_index=True)
    table = pairs_equivalent(both, {"digits": 0.01, "other": 0.1}, 0.95)
    assert table["method"].tolist() == ["once", "once"]
    assert set(table["reference"]) == {"ticket"}
    found = equivalence(0.001 * np.arange(7), 0.01, 0.95)
    row = table.iloc[1]
    assert [row["difference"], row["low"], row["p"]] == pytest.approx(
        [found.mean, found.low, found.p]
    )
    assert (row["verdict"], row["family_size"], row["margin"]) == (found.verdict, 2, 0.01)
    assert pairs_equivalent(both, {"other": 0.1}).empty
    assert pairs_equivalent(both.drop(columns="mask_other"), {"digits": 0.01}).empty
    alone = pairs_equivalent(both[both["method"] == "once"], {"digits": 0.01})
    assert alone["note"].str.startswith("the other method has no network here").all()


def test_estimates_give_both_tables_back(shares: np.ndarray) -> None:
    both = pd.concat([networks(shares), networks(shares, 10.0)], ignore_index=True)
    equivalent = pairs_equivalent(both, {"digits": 0.01})
    for name, wide in (("overlaps", overlaps(both)), ("pair_equivalence", equivalent)):
        long = melt(name, wide)
        assert set(long["against"]) == {"ticket"}
        back = spread(name, long)
        for column in back:
            if column not in CELL_STATE:
                assert back[column].tolist() == wide[column].tolist(), column
        assert spread("equivalence", long).empty
