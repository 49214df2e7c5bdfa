"""Replicates needed, against textbook numbers, scipy's noncentral t and simulated studies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions import seeds_needed as module
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import CELL_STATE, COMPRESSED, DENSE, ONE
from tests import synthetic

MAGNITUDE = ("d", "mlp", "magnitude", 2.0)
CONTROL = ("d", "mlp", "control", 1.0)


def power(n: float, size: float, significance: float) -> float:
    """Return the power of the two-sided one-sample t-test by scipy's noncentral t."""
    critical, df = stats.t.isf(significance / 2, n - 1), n - 1
    shift = size * np.sqrt(n)
    # The lower tail as the upper one of the mirrored distribution, which scipy can do.
    return stats.nct.sf(critical, df, shift) + stats.nct.sf(critical, df, -shift)


@pytest.mark.parametrize(("size", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_textbook_sizes(size: float, n: int) -> None:
    """Cohen's small, medium and large effects at 5 % and 80 %, as G*Power gives them."""
    found = module.replicates_for(np.array([size]), np.array([1.0]), 0.05)
    assert found.tolist() == [n]


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99, 0.999])
def test_the_smallest_number_that_has_the_power(level: float) -> None:
    size = np.geomspace(0.01, 3, 60)
    found = module.replicates_for(np.full(60, 0.05), 0.05 / size, 1 - level)
    assert (np.diff(found) <= 0).all()
    for n, d in zip(found, size, strict=True):
        assert power(n, d, 1 - level) >= 0.8
        assert n > 2
        assert power(n - 1, d, 1 - level) < 0.8


def test_numbers_beyond_every_table() -> None:
    sd = np.array([0.0, 1e-6, 100.0, 1e6, np.nan])
    found = module.replicates_for(np.full(5, 0.02), sd, 0.01)
    assert found[:2].tolist() == [2, 2]
    # Where n is large the test is the normal one: ((2.5758 + 0.8416) * 100 / 0.02)^2.
    normal = ((stats.norm.isf(0.005) + stats.norm.ppf(0.8)) * 100 / 0.02) ** 2
    assert found[2] == pytest.approx(normal, rel=1e-6)
    assert np.isnan(found[3:]).all()


def test_simulated_studies_of_that_size_have_the_power() -> None:
    studies = 4000
    (n,) = module.replicates_for(np.array([0.1]), np.array([0.12]), 0.01)
    drawn = np.random.default_rng(2).normal(1.1, 0.12, (studies, int(n)))
    rate = (stats.ttest_1samp(drawn, 1, axis=1).pvalue < 0.01).mean()
    exact = power(n, 0.1 / 0.12, 0.01)
    assert rate == pytest.approx(exact, abs=4 * np.sqrt(0.16 / studies))


def test_the_cautious_deviation_is_too_small_in_a_fifth_of_pilots() -> None:
    pilots, n = 4000, 8
    sd = np.random.default_rng(3).normal(0, 0.3, (pilots, n)).std(axis=1, ddof=1)
    below = (module.upper_limit(sd, np.full(pilots, n)) < 0.3).mean()
    assert below == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / pilots))


def test_rows_of_a_study() -> None:
    table = synthetic.networks({MAGNITUDE: 0.9, ("d", "mlp", "random", 4.0): 1.1, CONTROL: 0.8})
    reseed = synthetic.networks({("d", "mlp", "reseed", 1.0): 0.5}, state=DENSE)
    pruned = synthetic.networks({MAGNITUDE: 5.0}, state=COMPRESSED)
    found = needed(pd.concat([table, reseed, pruned]), level=0.95)
    assert list(found.columns) == module.COLUMNS
    assert list(found["method"]) == ["magnitude"] * 6 + ["random"] * 6
    assert list(found["question"]) == ([ONE] * 3 + ["control"] * 3) * 2
    assert list(found["effect"]) == [0.02, 0.05, 0.1] * 4
    assert set(found["level"]) == {0.95}
    assert module.POWER == 0.8
    assert set(found["note"]) == {""}
    assert set(found["n"]) == {6}
    by_method = table.pivot(index="seed", columns="method", values="alpha")
    for row in found.to_dict("records"):
        values = by_method[row["method"]]
        if row["question"] == "control":
            values = values - by_method["control"]
        assert row["sd"] == pytest.approx(values.std(), rel=1e-12)
        assert power(row["seeds"], row["effect"] / row["sd"], 0.05) >= 0.8
        assert power(row["seeds"] - 1, row["effect"] / row["sd"], 0.05) < 0.8
        upper = row["sd"] * np.sqrt(5 / stats.chi2.ppf(0.2, 5))
        assert power(row["seeds_cautious"], row["effect"] / upper, 0.05) >= 0.8
        assert power(row["seeds_cautious"] - 1, row["effect"] / upper, 0.05) < 0.8


def needed(
    networks: pd.DataFrame, narrow: Sequence[float] = (), level: float = 0.99
) -> pd.DataFrame:
    """Return the seeds needed where the slopes at the ratios ``narrow`` rest on one class."""
    pooled = networks[CELL_STATE].drop_duplicates()
    pooled = pooled.assign(
        narrow=np.where(pooled["ratio"].isin(narrow), "few classes", ""),
        effective_classes=1.001,
        median_effective_classes=1.001,
        leading_class="ill",
        leading_share=0.9996,
        unnamed=1,
    )
    return module.seeds_needed(networks, pooled, level)


def test_slopes_that_rest_on_one_class_say_nothing_of_seeds() -> None:
    """They are alike in all seeds, whatever happens to the other classes."""
    table = synthetic.networks({MAGNITUDE: 1.0, ("d", "mlp", "magnitude", 9.0): 1.1, CONTROL: 1.0})
    found = needed(table, narrow=[9.0])
    narrow = found["ratio"] == 9
    assert found.loc[narrow, ["seeds", "seeds_cautious"]].isna().all().all()
    assert found.loc[~narrow, "seeds"].notna().all()
    assert set(found.loc[~narrow, "note"]) == {""}
    (note,) = set(found.loc[narrow, "note"])
    assert note.startswith(
        "the slope rests on few classes: ill makes up 99.96 % of its denominator"
    )
    assert "a class is never predicted by a dense network" in note


def notes(table: pd.DataFrame) -> dict[str, tuple[str, float, int]]:
    """Return note, sd and n of either question, after checking what follows from the sd."""
    found = needed(table)
    assert len(found) == 6
    assert (found["seeds"].isna() == found["sd"].isna()).all()
    assert (found["seeds_cautious"].isna() == found["sd"].isna()).all()
    first = found.drop_duplicates("question").set_index("question")
    return {name: (row["note"], row["sd"], row["n"]) for name, row in first.iterrows()}


def test_what_cannot_be_told_has_a_note() -> None:
    both = synthetic.networks({MAGNITUDE: 1.0, CONTROL: 0.9})
    alone = notes(both[both["method"] != "control"])
    assert alone[ONE][0] == ""
    assert alone["control"][0].startswith("no control: nothing")
    one = notes(both[both["seed"] == 0])
    assert one[ONE][0].startswith("one replicate: no standard deviation")
    assert one["control"][0] == "fewer than two pairs of seeds"
    assert one[ONE][2] == one["control"][2] == 1
    broken = both.assign(alpha=both["alpha"].where((both["seed"] != 2) | (both["ratio"] == 1)))
    assert notes(broken)[ONE][0] == notes(broken)["control"][0] == "a slope is not finite"
    assert notes(broken)[ONE][2] == 5
    lost = notes(both[(both["seed"] != 2) | (both["ratio"] == 2)])
    assert lost[ONE][0] == ""
    assert lost["control"][0] == "5 of 6 seeds make pairs"
    apart = notes(both[(both["seed"] < 3) == (both["ratio"] == 2)])
    assert apart["control"][0] == "fewer than two pairs of seeds; 0 of 6 seeds make pairs"


def test_equal_slopes_need_two() -> None:
    table = synthetic.networks({MAGNITUDE: 1.0, CONTROL: 0.9})
    table["alpha"] = np.where(table["ratio"] == 1, 0.7, 0.1 + 0.2)  # a mean that rounds
    found = needed(table)
    assert set(found["sd"]) == {0.0}
    assert set(found["seeds"]) == set(found["seeds_cautious"]) == {2}


def test_more_than_can_be_counted_is_said() -> None:
    table = synthetic.networks({MAGNITUDE: 1.0, CONTROL: 0.9}, sd=1e7)
    found = needed(table)
    assert found["seeds"].isna().all()
    assert set(found["note"]) == {"more than 1,000,000,000 replicates"}


def test_no_pruning_cell_no_rows() -> None:
    found = needed(synthetic.networks({CONTROL: 0.9}))
    assert found.empty
    assert list(found.columns) == module.COLUMNS


def test_a_replicate_counts_once() -> None:
    table = synthetic.networks({MAGNITUDE: 1.0})
    with pytest.raises(TableError, match="more than one row"):
        needed(pd.concat([table, table]))
    with pytest.raises(TableError, match="between 0 and 1"):
        needed(table, level=99)
