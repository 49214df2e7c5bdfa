"""Whether two accuracies are equal to within a margin: two one-sided tests and what they miss."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.questions.equivalence import COLUMNS, accuracies_equivalent
from recall_distortion.inference.statistics.equivalence import (
    EQUIVALENT,
    NOT_EQUIVALENT,
    equivalence,
)
from recall_distortion.study.datasets import Dataset
from recall_distortion.system.errors import TableError
from recall_distortion.tables.views import melt, spread
from recall_distortion.vocabulary import CELL_STATE, CONTROL, INCONCLUSIVE, RETRAINED
from tests import synthetic


@pytest.mark.parametrize("mean", [-0.02, -0.004, 0.0, 0.003, 0.01])
@pytest.mark.parametrize("n", [2, 5, 30])
def test_p_is_the_larger_of_two_one_sided_tests_and_decides_as_the_interval(
    n: int, mean: float
) -> None:
    values = np.random.default_rng(n).normal(mean, 0.004, n)
    for margin, level in ((0.002, 0.9), (0.005, 0.99), (0.01, 0.95)):
        found = equivalence(values, margin, level)
        above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(values, margin, alternative="less").pvalue
        assert found.p == pytest.approx(max(above, below), rel=1e-9)
        assert (found.verdict == EQUIVALENT) == (max(above, below) < (1 - level) / 2)
        outside = min(
            stats.ttest_1samp(values, -margin, alternative="less").pvalue,
            stats.ttest_1samp(values, margin, alternative="greater").pvalue,
        )
        assert (found.verdict == NOT_EQUIVALENT) == (outside < (1 - level) / 2)


def test_worked_by_hand() -> None:
    # mean 0.001, s = 0.001, n = 4: half width of 95 % 3.182446 * 0.0005 = 0.001591.
    values = 0.001 + np.array([-1.0, -1, 1, 1]) * 0.001 * np.sqrt(3) / 2
    found = equivalence(values, 0.003, 0.95)
    assert [found.mean, found.low, found.high] == pytest.approx(
        [0.001, 0.001 - 0.0015912, 0.001 + 0.0015912], abs=1e-7
    )
    assert found.verdict == EQUIVALENT
    # t = (0.003 - 0.001) / 0.0005 = 4, 3 degrees of freedom.
    assert found.p == pytest.approx(0.0140042, abs=1e-6)
    assert equivalence(values, 0.0025, 0.95).verdict == INCONCLUSIVE


def test_values_that_are_all_equal_leave_no_doubt() -> None:
    assert equivalence(np.full(5, 0.001), 0.002, 0.99)[5:] == (0.0, EQUIVALENT)
    assert equivalence(np.full(5, 0.1 + 0.2 - 0.3), 0.002, 0.99)[5:] == (0.0, EQUIVALENT)
    assert equivalence(np.full(5, -0.003), 0.002, 0.99)[5:] == (1.0, NOT_EQUIVALENT)
    assert equivalence(np.full(5, 0.002), 0.002, 0.99)[5:] == (1.0, INCONCLUSIVE)
    for values in ([], [0.001], [0.001, np.nan]):
        found = equivalence(np.array(values), 0.002, 0.99)
        assert np.isnan(found.p)
        assert found.verdict == ""


@pytest.mark.parametrize(("n", "level"), [(5, 0.9), (30, 0.9), (30, 0.99)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_it_finds_what_is_not_so_as_often_as_it_says(n: int, level: float, sign: int) -> None:
    """At a true difference of the margin: (1 - level) / 2 of studies, and of those beyond fewer."""
    rng, studies, margin = np.random.default_rng(n), 4_000, 0.01
    wrong = (1 - level) / 2
    # So precise that the other of the two tests rejects always.
    drawn = rng.normal(sign * margin, 0.002, (studies, n))
    found = np.mean([equivalence(values, margin, level).verdict == EQUIVALENT for values in drawn])
    assert abs(found - wrong) < 4 * np.sqrt(wrong * (1 - wrong) / studies)
    beyond = np.mean(
        [equivalence(v, margin, level).verdict == EQUIVALENT for v in drawn + sign * 0.001]
    )
    assert beyond < found
    # So noisy that neither rejects: nothing is shown, whatever is true.
    noisy = rng.normal(0, 1, (200, n))
    assert {equivalence(v, margin, level).verdict for v in noisy} <= {INCONCLUSIVE, NOT_EQUIVALENT}


def test_its_power_is_that_of_the_noncentral_t() -> None:
    """With no true difference, by numbers of two t statistics of one sample."""
    rng, n, margin, sd, level = np.random.default_rng(1), 30, 0.002, 0.004, 0.9
    drawn = rng.normal(0, sd, (4_000, n))
    found = np.mean([equivalence(v, margin, level).verdict == EQUIVALENT for v in drawn])
    # By the mean given the standard deviation: abs(mean) < margin - t s / sqrt(n).
    s = sd * np.sqrt(stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, n - 1) / (n - 1))
    room = np.maximum(margin - stats.t.ppf((1 + level) / 2, n - 1) * s / np.sqrt(n), 0)
    power = np.mean(2 * stats.norm.cdf(room * np.sqrt(n) / sd) - 1)
    assert 0.5 < power < 0.9
    assert abs(found - power) < 4 * np.sqrt(power * (1 - power) / 4_000)


# Of a study


@pytest.fixture(scope="module")
def study() -> dict[str, pd.DataFrame]:
    return synthetic.random_study({"magnitude": [2.0, 4.0, 8.0], "random": [2.0]}, seeds=7)


def dataset_of(study: dict[str, pd.DataFrame]) -> str:
    (name,) = study["networks"]["dataset"].unique()
    return str(name)


def test_rows_are_paired_differences_from_the_control(study: dict[str, pd.DataFrame]) -> None:
    margins = {dataset_of(study): 0.01, "another": 0.5}
    table = accuracies_equivalent(study["networks"], margins, 0.95)
    assert list(table.columns) == COLUMNS
    accuracies = study["networks"][study["networks"]["state"] == RETRAINED].pivot(
        index="seed", columns=["method", "ratio"], values="accuracy"
    )
    assert len(table) == 4
    for row in table.to_dict("records"):
        values = accuracies[row["method"], row["ratio"]] - accuracies[CONTROL, 1.0]
        found = equivalence(values.to_numpy(), 0.01, 0.95)
        assert row["difference"] == pytest.approx(values.mean())
        assert [row["low"], row["high"], row["p"]] == pytest.approx((*found[1:3], found.p))
        assert row["verdict"] == found.verdict
        family = {"magnitude": 3, "random": 1}[row["method"]]
        assert row["family_size"] == family
        assert row["p_adjusted"] == pytest.approx(min(1, family * found.p))
        assert (row["n"], row["margin"], row["note"]) == (7, 0.01, "")


def test_each_is_read_against_its_own_control(study: dict[str, pd.DataFrame]) -> None:
    networks = study["networks"]
    again = networks[networks["method"] == CONTROL].assign(method="control_rewind")
    again["accuracy"] += 0.25
    named = pd.concat([networks, again], ignore_index=True)
    named["control"] = np.where(named["method"] == "random", "control_rewind", "")
    margins = {dataset_of(study): 0.01}
    usual, own = (
        accuracies_equivalent(table, margins, 0.95).set_index(["method", "ratio"])["difference"]
        for table in (networks, named)
    )
    assert (own - usual).to_dict() == pytest.approx(
        {key: -0.25 * (key[0] == "random") for key in usual.index}
    )


def test_what_is_missing_is_said(study: dict[str, pd.DataFrame]) -> None:
    networks, margins = study["networks"], {dataset_of(study): 0.01}
    assert accuracies_equivalent(networks, {}).empty
    assert accuracies_equivalent(networks, {"another": 0.1}).empty
    alone = accuracies_equivalent(networks[networks["method"] != CONTROL], margins)
    assert len(alone) == 4
    assert alone["note"].str.startswith("no control").all()
    assert alone["difference"].isna().all()
    fewer = networks[(networks["method"] != "random") | networks["seed"].isin([0, 1, 2])]
    random = accuracies_equivalent(fewer, margins).set_index("method").loc["random"]
    assert (random["n"], random["note"]) == (3, "3 of 7 seeds make pairs")
    one = networks[(networks["method"] != "random") | (networks["seed"] == 0)]
    random = accuracies_equivalent(one, margins).set_index("method").loc["random"]
    assert random["note"] == "fewer than two pairs of seeds; 1 of 7 seeds make pairs"
    assert random["verdict"] == ""
    for margin in (0.0, 1.0, -0.01, np.nan):
        with pytest.raises(TableError, match="a margin of accuracy lies between 0 and 1"):
            accuracies_equivalent(networks, {dataset_of(study): margin})
    with pytest.raises(TableError, match="accuracy"):
        accuracies_equivalent(networks.drop(columns="accuracy"), margins)


@pytest.mark.slow
def test_estimates_have_them_where_a_margin_is_stated(study: dict[str, pd.DataFrame]) -> None:
    margins = {dataset_of(study): 0.01}
    without = answers(study["recall"], study["networks"], 0.95)
    found = answers(study["recall"], study["networks"], 0.95, margins=margins)
    assert without["equivalence"].empty
    table, plain = estimates(found), estimates(without)
    rows = table[table["quantity"] == "accuracy within a margin"]
    assert len(table) == len(plain) + 4
    assert len(rows) == 4
    assert set(rows["against"]) == {"control"}
    assert set(rows["reference"]) == {0.01}
    assert not rows["leads"].any()
    # No other question takes them for its own.
    pd.testing.assert_frame_equal(spread("measures", table), spread("measures", plain))
    pd.testing.assert_frame_equal(spread("tradeoff", table), spread("tradeoff", plain))
    back = spread("equivalence", melt("equivalence", found["equivalence"]))
    expected = found["equivalence"].reset_index(drop=True)
    for column in expected:
        if column not in CELL_STATE:
            assert back[column].tolist() == expected[column].tolist(), column


def test_a_margin_decides_no_data() -> None:
    plain, stated = Dataset(source="digits"), Dataset(source="digits", margin=0.005)
    assert plain.preparation() == stated.preparation()
    for margin in (0, 1, -0.1):
        with pytest.raises(ValueError, match="margin"):
            Dataset(source="digits", margin=float(margin))
