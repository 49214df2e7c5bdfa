"""The six questions: which rows there are, which way they point, and how they are adjusted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.notes import NO_OWN_CONTROL, TRAINED_APART
from recall_distortion.inference.questions import contrasts
from recall_distortion.system.errors import TableError
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import CELL, COMPRESSED, CONTROL, DENSE, RESEED, RETRAINED
from tests import synthetic

RATIOS = (2.0, 4.0, 10.0)
ARCHITECTURES = {
    "lenet5": ("lenet", 5), "resnet20": ("resnet", 20), "resnet56": ("resnet", 56),
    "resnet110": ("resnet", 110),
}  # fmt: skip


@pytest.fixture(scope="module")
def paper_like() -> pd.DataFrame:
    """The paper's plan in small: slopes grow with the ratio, shrink with depth."""
    means = {}
    for ratio in RATIOS:
        for dataset in ("mnist", "fashion_mnist"):
            means[dataset, "lenet5", "magnitude", ratio] = 0.8 + 0.02 * ratio
        for depth in (20, 56, 110):
            for method in ("magnitude", "undecayed"):
                means["cifar10", f"resnet{depth}", method, ratio] = 1.2 + 0.02 * ratio - depth / 100
        means["cifar10", "resnet56", "random", ratio] = 1.0
        means["cifar100", "resnet56", "magnitude", ratio] = 1.4 + 0.02 * ratio
    means["cifar10", "resnet56", CONTROL, 1.0] = 0.7
    return synthetic.networks(means, seeds=10)


def slopes(table: pd.DataFrame, dataset, architecture, method, ratio) -> pd.Series:
    chosen = (
        (table["dataset"] == dataset)
        & (table["architecture"] == architecture)
        & (table["method"] == method)
        & (table["ratio"] == float(ratio))
        & (table["state"] == RETRAINED)
    )
    return table[chosen].set_index("seed")["alpha"]


def run(table: pd.DataFrame, architectures: contrasts.Architectures = ARCHITECTURES):
    return contrasts.tests(table, architectures)


def asked(table: pd.DataFrame, question: str) -> list[dict]:
    found = run(table)
    return found[found["question"] == question].to_dict("records")


def t_paired(left: pd.Series, right: pd.Series) -> tuple[float, int]:
    difference = (left - right).to_numpy()
    n = len(difference)
    return difference.mean() / (difference.std(ddof=1) / np.sqrt(n)), n - 1


def t_welch(left: pd.Series, right: pd.Series) -> tuple[float, float]:
    a, b = left.var(ddof=1) / len(left), right.var(ddof=1) / len(right)
    df = (a + b) ** 2 / (a**2 / (len(left) - 1) + b**2 / (len(right) - 1))
    return (left.mean() - right.mean()) / np.sqrt(a + b), df


def p_of(t: float, df: float, alternative: str) -> float:
    less = stats.t.cdf(t, df)
    return {"less": less, "greater": 1 - less, "two-sided": 2 * min(less, 1 - less)}[alternative]


def check(row: dict, left: pd.Series, right: pd.Series, family: int) -> None:
    t, df = (t_paired if row["paired"] else t_welch)(left, right)
    assert row["estimate"] == pytest.approx(left.mean() - right.mean(), rel=1e-9, abs=1e-12)
    assert (row["t"], row["df"]) == pytest.approx((t, df), rel=1e-9)
    p = p_of(t, df, row["alternative"])
    assert row["p"] == pytest.approx(p, rel=1e-7, abs=1e-13)
    assert row["p_adjusted"] == pytest.approx(min(1, p * family), rel=1e-7, abs=1e-13)
    assert row["adjustment"] == f"bonferroni over {family}"
    assert (row["n_left"], row["n_right"]) == (len(left), len(right))


def test_ratio(paper_like: pd.DataFrame) -> None:
    rows = asked(paper_like, "ratio")
    assert len(rows) == 2 * 10  # ten panels of three ratios
    assert {(row["left"], row["right"]) for row in rows} == {("2", "4"), ("4", "10")}
    for row in rows:
        assert (row["alternative"], row["paired"]) == ("less", True)
        assert np.isnan(row["ratio"])
        panel = row["dataset"], row["architecture"], row["method"]
        left, right = (slopes(paper_like, *panel, row[side]) for side in ("left", "right"))
        check(row, left, right, family=2)


def test_architecture(paper_like: pd.DataFrame) -> None:
    rows = asked(paper_like, "architecture")
    pairs = [("resnet20", "resnet56"), ("resnet56", "resnet110")]
    assert [(row["left"], row["right"]) for row in rows] == pairs * (len(RATIOS) * 2)
    for row in rows:
        assert (row["alternative"], row["paired"]) == ("greater", False)
        assert pd.isna(row["architecture"])
        left, right = (
            slopes(paper_like, row["dataset"], row[side], row["method"], row["ratio"])
            for side in ("left", "right")
        )
        check(row, left, right, family=2)
    assert all(row["estimate"] > 0 for row in rows if row["right"] == "resnet56")


def test_architectures_are_compared_within_their_family_in_the_order_of_depths() -> None:
    names = ("deep", "other", "shallow", "unknown")
    table = synthetic.networks({("d", name, "magnitude", 2.0): 1.0 for name in names})
    known = {"shallow": ("own", 3), "deep": ("own", 9), "other": ("another", 5)}
    found = run(table, known)
    assert found[["question", "left", "right"]].to_numpy().tolist() == [
        ["architecture", "shallow", "deep"]
    ]
    assert run(table, {}).empty


def test_dataset_as_the_paper_pairs_them(paper_like: pd.DataFrame) -> None:
    rows = asked(paper_like, "dataset")
    pairs = [
        ("mnist/lenet5", "cifar10/resnet56"),  # ResNet-56 has the most methods, 110 is deeper
        ("fashion_mnist/lenet5", "cifar10/resnet56"),
        ("cifar10", "cifar100"),
    ]
    assert len(rows) == 3 * len(RATIOS)
    for row in rows:
        assert (row["left"], row["right"]) in pairs
        assert (row["alternative"], row["paired"], row["method"]) == ("less", False, "magnitude")
        left, right = (
            slopes(
                paper_like,
                row[side].split("/")[0],
                row[side].split("/")[1] if "/" in row[side] else row["architecture"],
                "magnitude",
                row["ratio"],
            )
            for side in ("left", "right")
        )
        check(row, left, right, family=3)


def test_other_datasets_are_ordered_by_dense_error() -> None:
    means = {(name, "mlp", "magnitude", 2.0): 1.0 for name in ("hard", "easy", "middle")}
    table = synthetic.networks(means)
    accuracies = {"hard": 0.6, "easy": 0.95, "middle": 0.8}
    dense = synthetic.dense({(name, "mlp"): share for name, share in accuracies.items()})
    found = run(pd.concat([dense, table], ignore_index=True))
    found = found[found["question"] == "dataset"]
    assert list(zip(found["left"], found["right"], strict=True)) == [
        ("easy", "middle"),
        ("middle", "hard"),
    ]
    assert "dataset" not in set(run(table)["question"])


def test_method(paper_like: pd.DataFrame) -> None:
    rows = asked(paper_like, "method")
    assert len(rows) == len(RATIOS) * (1 + 3 + 1)  # pairs of 2, 3 and 2 methods
    assert not any("control" in (row["left"], row["right"]) for row in rows)
    for row in rows:
        assert (row["alternative"], row["paired"]) == ("two-sided", True)
        left, right = (
            slopes(paper_like, row["dataset"], row["architecture"], row[side], row["ratio"])
            for side in ("left", "right")
        )
        check(row, left, right, family=3 if row["architecture"] == "resnet56" else 1)


def test_control(paper_like: pd.DataFrame) -> None:
    rows = asked(paper_like, "control")
    assert [(row["left"], row["ratio"]) for row in rows] == [
        (method, ratio) for ratio in RATIOS for method in ("magnitude", "undecayed", "random")
    ]  # one network has a control
    for row in rows:
        assert (row["dataset"], row["architecture"]) == ("cifar10", "resnet56")
        assert (row["right"], row["alternative"], row["paired"]) == ("control", "two-sided", True)
        assert pd.isna(row["method"])
        left = slopes(paper_like, "cifar10", "resnet56", row["left"], row["ratio"])
        right = slopes(paper_like, "cifar10", "resnet56", "control", 1)
        check(row, left, right, family=3)  # the ratios of one method
        assert row["family"] == f"control: cifar10/resnet56/usual/{row['left']}"
        assert row["note"] == ""


def test_families_are_the_columns_that_p_is_adjusted_over(paper_like: pd.DataFrame) -> None:
    found = run(paper_like)
    families = found.groupby("family")
    assert set(families.groups) >= {
        "ratio: cifar100/resnet56/usual/magnitude",
        "architecture: cifar10/usual/undecayed/ratio 2",
        "dataset: usual/magnitude/ratio 10",
        "method: cifar10/resnet56/usual/ratio 4",
        "control: cifar10/resnet56/usual/random",
    }
    for family, rows in families:
        assert set(rows["question"]) == {str(family).split(":")[0]}
        assert set(rows["adjustment"]) == {f"bonferroni over {len(rows)}"}
        np.testing.assert_array_equal(rows["p_adjusted"], np.minimum(1, rows["p"] * len(rows)))
    assert families.ngroups == len(found.drop_duplicates(["family", "adjustment"]))


def test_the_reseed_baseline_is_in_no_question(paper_like: pd.DataFrame) -> None:
    reseed = synthetic.networks({("cifar10", "resnet56", RESEED, 1.0): 0.5}, state=DENSE)
    with_reseed = pd.concat([paper_like, reseed, reseed.assign(state=RETRAINED)])
    pd.testing.assert_frame_equal(run(with_reseed), run(paper_like))


def test_without_a_control_the_others_are_asked() -> None:
    means = {("d", "mlp", method, 2.0): 1.0 for method in ("magnitude", "random")}
    table = synthetic.networks(means)
    assert set(run(table)["question"]) == {"method"}
    pruned_only = synthetic.networks({("d", "mlp", CONTROL, 1.0): 1.0}, state=COMPRESSED)
    assert "control" not in set(run(pd.concat([table, pruned_only]))["question"])


def test_notes_say_why_a_test_is_missing_or_smaller() -> None:
    means = {("d", "mlp", "magnitude", 2.0): 1.0, ("d", "mlp", CONTROL, 1.0): 1.0}
    table = synthetic.networks(means, seeds=30)

    def note(kept: pd.DataFrame) -> str:
        (row,) = asked(kept, "control")
        assert np.isnan(row["p"]) == ("pairs of seeds" in row["note"] or "not" in row["note"])
        return row["note"]

    control = table["method"] == "control"
    assert note(table) == ""
    assert note(table[~(control & table["seed"].isin([3, 7]))]) == "28 of 30 seeds make pairs"
    assert note(table[~(control ^ (table["seed"] < 10))]) == (
        "fewer than two pairs of seeds; 0 of 30 seeds make pairs"
    )
    assert note(table[table["seed"] == 0]) == "fewer than two pairs of seeds"
    broken = table.assign(alpha=table["alpha"].where(table["seed"] != 5))
    assert note(broken) == "a slope is not finite"


def test_equal_slopes_are_said_to_be_equal() -> None:
    equal = pd.Series([1.0, 2.0, 3.0])
    paired = contrasts.paired_test(equal, equal, "two-sided")
    assert (paired["estimate"], paired["note"]) == (0.0, "the pairs' differences are all equal")
    assert not np.isfinite(paired["t"])
    constant = pd.Series([1.0, 1.0, 1.0])
    welch = contrasts.independent_test(constant, constant + 1, "less")
    assert (welch["estimate"], welch["note"]) == (-1.0, "the slopes of either side are all equal")
    alone = contrasts.independent_test(constant, constant[:1], "less")
    assert (alone["note"], alone["n_right"]) == ("fewer than two slopes on a side", 1)
    broken = contrasts.independent_test(constant, pd.Series([1.0, np.nan]), "less")
    assert (broken["note"], broken["n_right"]) == ("a slope is not finite", 1)


@pytest.mark.slow
def test_the_test_against_the_control_holds_its_level() -> None:
    """Without an effect, p falls below 0.05 in 5 % of studies, however much seeds share."""
    studies = 2000
    rng = np.random.default_rng(5)
    shared = rng.normal(0, 1, (studies, 8))
    left, right = shared + rng.normal(0, 0.1, (2, studies, 8))
    found = [
        contrasts.paired_test(pd.Series(a), pd.Series(b), "two-sided")["p"]
        for a, b in zip(left, right, strict=True)
    ]
    rate = (np.array(found) < 0.05).mean()
    assert rate == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / studies))


def test_pairs_are_by_seed_and_a_failed_replicate_leaves_its_pair() -> None:
    means = {("d", "mlp", "magnitude", ratio): 1.0 for ratio in (2.0, 4.0)}
    table = synthetic.networks(means, seeds=6).sample(frac=1, random_state=1)
    table = table[~((table["ratio"] == 4) & (table["seed"] == 2))]
    (row,) = asked(table, "ratio")
    left = slopes(table, "d", "mlp", "magnitude", 2).drop(2).sort_index()
    right = slopes(table, "d", "mlp", "magnitude", 4).sort_index()
    check(row, left, right, family=1)


def test_what_cannot_be_tested_keeps_its_row() -> None:
    means = {("d", "mlp", "magnitude", ratio): 1.0 for ratio in (2.0, 4.0, 10.0)}
    table = synthetic.networks(means, seeds=3)
    table.loc[(table["ratio"] == 10) & (table["seed"] == 1), "alpha"] = np.inf
    first, second = asked(table, "ratio")
    assert np.isfinite(first["p"])
    assert first["adjustment"] == "bonferroni over 2"
    assert np.isnan([second["estimate"], second["t"], second["p"], second["p_adjusted"]]).all()
    assert second["n_left"] == second["n_right"] == 2
    (alone, _) = asked(table[table["seed"] == 0], "ratio")
    assert np.isnan([alone["t"], alone["p"]]).all()
    assert alone["n_left"] == 1


def test_pruned_states_and_the_control_are_left_out() -> None:
    means = {("d", "mlp", method, ratio): 1.0 for method in (CONTROL, DENSE) for ratio in (1.0,)}
    control = synthetic.networks(means)
    pruned = synthetic.networks({("d", "mlp", "random", r): 1.0 for r in RATIOS}, state=COMPRESSED)
    found = run(pd.concat([control, pruned], ignore_index=True))
    assert found.empty
    assert list(found.columns) == COLUMNS["tests"]


def test_a_replicate_counts_once() -> None:
    table = synthetic.networks({("d", "mlp", "random", 2.0): 1.0})
    with pytest.raises(TableError, match="more than one row"):
        run(pd.concat([table, table]))


PAIRED = ((CONTROL, 1.0), ("magnitude", 2.0), ("magnitude", 4.0))


@pytest.fixture(scope="module")
def two_recipes() -> pd.DataFrame:
    """Two networks of a data set by two recipes each, both with a control; one has no random."""
    means = {
        ("digits", architecture, recipe, method, ratio): 0.7 + 0.1 * len(recipe) + ratio / 100
        for architecture in ("resnet20", "resnet56")
        for recipe in ("long", "short")
        for method, ratio in (
            (CONTROL, 1.0),
            ("magnitude", 2.0),
            ("magnitude", 4.0),
            ("random", 2.0),
        )
        if (recipe, method) != ("short", "random")
    }
    return synthetic.networks(means, seeds=8)


def test_recipes_are_compared_by_what_each_cell_is_beyond_its_control(
    two_recipes: pd.DataFrame,
) -> None:
    """And the control by its slopes as they are."""
    rows = asked(two_recipes, "recipe")
    assert [(row["architecture"], row["method"], row["ratio"]) for row in rows] == [
        (architecture, method, ratio)
        for architecture in ("resnet20", "resnet56")
        for method, ratio in PAIRED
    ]
    for row in rows:
        assert (row["left"], row["right"], row["paired"]) == ("long", "short", True)
        assert pd.isna(row["recipe"])
        assert row["family"] == f"recipe: digits/{row['architecture']}/{row['method']}"
        slopes = two_recipes[two_recipes["architecture"] == row["architecture"]].set_index(
            ["recipe", "method", "ratio", "seed"]
        )["alpha"]
        left, right = (slopes[row[side], row["method"], row["ratio"]] for side in ("left", "right"))
        if row["method"] != CONTROL:
            left, right = left - slopes["long", CONTROL, 1.0], right - slopes["short", CONTROL, 1.0]
            assert row["note"] == TRAINED_APART
        check(row, left, right, family=1 if row["method"] == CONTROL else 2)


def test_recipes_without_controls_are_not_compared(two_recipes: pd.DataFrame) -> None:
    without = two_recipes[two_recipes["method"] != CONTROL].reset_index(drop=True)
    for row in asked(without, "recipe"):
        assert (row["note"], row["n_left"]) == (NO_OWN_CONTROL, 0)
        assert pd.isna(row["p"])


def test_a_recipe_that_moves_all_slopes_alike_changes_nothing_that_pruning_does(
    two_recipes: pd.DataFrame,
) -> None:
    moved = two_recipes.copy()
    moved.loc[moved["recipe"] == "short", "alpha"] += 0.5
    before, after = (asked(table, "recipe") for table in (two_recipes, moved))
    for one, other in zip(before, after, strict=True):
        by = -0.5 if one["method"] == CONTROL else 0
        assert other["estimate"] - one["estimate"] == pytest.approx(by, abs=1e-12)


def test_all_other_questions_compare_within_a_recipe(two_recipes: pd.DataFrame) -> None:
    together = run(two_recipes)
    assert not together.duplicated(["question", *CELL, "left", "right"]).any()
    assert list(together["question"].unique()) == [
        "ratio", "architecture", "method", CONTROL, "recipe",
    ]  # fmt: skip
    for recipe, own in two_recipes.groupby("recipe"):
        alone = run(own.reset_index(drop=True))
        within = together[together["recipe"] == recipe].reset_index(drop=True)
        pd.testing.assert_frame_equal(within, alone, check_dtype=False)


def test_networks_with_a_recipe_each_are_compared(two_recipes: pd.DataFrame) -> None:
    small = two_recipes["architecture"] == "resnet20"
    table = two_recipes[small == (two_recipes["recipe"] == "long")].reset_index(drop=True)
    rows = asked(table, "architecture")
    assert [(row["left"], row["right"]) for row in rows] == [("resnet20", "resnet56")] * 2
    for row in rows:
        assert pd.isna(row["recipe"])
        assert row["family"] == f"architecture: digits/magnitude/ratio {row['ratio']:g}"
    assert {row["recipe"] for row in asked(table, "ratio")} == {"long", "short"}
    assert not asked(table, "recipe")


def test_a_row_names_the_recipe_that_its_two_sides_share() -> None:
    means = {
        (dataset, architecture, recipe, "magnitude", ratio): 1.0
        for dataset, architecture, recipe in (
            ("cifar10", "resnet20", "usual"), ("cifar10", "resnet56", "usual"),
            ("cifar10", "resnet110", "longer"), ("mnist", "lenet5", "small"),
        )
        for ratio in (2.0, 4.0)
    }  # fmt: skip
    table = synthetic.networks(means, seeds=6)
    rows = asked(table, "architecture")
    assert [(row["left"], row["right"]) for row in rows] == [
        ("resnet20", "resnet56"), ("resnet56", "resnet110"),
    ] * 2  # fmt: skip
    assert [pd.isna(row["recipe"]) or row["recipe"] for row in rows] == ["usual", True] * 2
    # A column of the paper's tables is a family whatever recipes its rows have.
    assert {row["adjustment"] for row in rows} == {"bonferroni over 2"}
    assert [row["recipe"] for row in asked(table, "ratio")] == ["usual", "usual", "longer", "small"]
