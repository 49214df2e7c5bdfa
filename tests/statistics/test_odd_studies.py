"""Studies that cannot answer: their tables say what cannot be estimated and why, and a page stands.

Each goes the whole way from files of predictions to the report, through R where it is there.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from recall_distortion.inference.notes import NO_CONTROL
from recall_distortion.inference.questions.influence import CHANGES
from recall_distortion.inference.questions.pooled import (
    FEW_CLASSES,
    FEW_TELLING,
    NO_HALVES,
    PER_NETWORK,
)
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROL,
    DENSE,
    INCONCLUSIVE,
    NOT_DISTINGUISHABLE,
    RESEED,
    RETRAINED,
    STATSMODELS,
)
from tests.synthetic.chain import SEEDS, run
from tests.synthetic.of_answers import (
    Predict,
    always_right,
    always_the_first,
    always_wrong,
    never_the_last,
    one_class,
    one_errs,
    some_errors,
)

pytestmark = pytest.mark.slow

USUAL = {CONTROL: some_errors, "magnitude": some_errors}


def test_an_ordinary_study_has_no_notes_about_what_is_missing(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL)
    assert found.table("slopes")["note"].isna().all()
    assert found.table("effects")["low"].notna().all()
    assert not found.table("effects")["reading"].isna().any()


def test_one_seed(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, seeds=1)
    slopes = found.table("slopes")
    assert slopes["mean"].notna().all()
    assert slopes["low"].isna().all()
    assert "one replicate" in found.notes("slopes")
    assert RESEED not in set(found.table("networks")["method"])
    assert found.table("effects")["low"].isna().all()
    assert found.table("seeds_needed")["seeds"].isna().all()
    assert found.notes("seeds_needed")
    assert "not estimated: there is one seed" in found.messages
    assert "one replicate" in found.page


def test_one_ratio(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, ratios=(4.0,))
    assert (found.table("slopes")["family_size"] == 1).all()
    assert "ratio" not in set(found.table("tests")["question"])
    assert "trend" not in set(found.table("mixed_models")["term"])
    assert found.table("effects")["low"].notna().all()


def test_no_control(tmp_path: Path) -> None:
    found = run(tmp_path, {"magnitude": some_errors, "random": some_errors})
    assert found.table("effects")["difference"].isna().all()
    assert NO_CONTROL in found.notes("effects")
    assert found.table("slopes")["low"].notna().all()
    assert "no control" in found.page.lower()


def test_only_the_control(tmp_path: Path) -> None:
    found = run(tmp_path, {CONTROL: some_errors})
    assert found.table("effects").empty
    assert CONTROL in set(found.table("slopes")["method"])
    assert "<html" in found.page


def test_one_class(tmp_path: Path) -> None:
    found = run(tmp_path, {CONTROL: always_right, "magnitude": always_right}, classes=1)
    assert found.table("slopes")["mean"].isna().all()
    assert "not finite" in found.notes("slopes")
    assert "one class" in found.messages


def test_a_class_with_one_test_image(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, support=[40, 40, 40, 1])
    assert found.table("pooled")["alpha_crossfit"].isna().all()
    assert NO_HALVES in found.notes("pooled")
    assert found.table("slopes")["mean"].notna().all()


@pytest.mark.parametrize("collapsed", [one_class, always_wrong])
def test_a_method_whose_every_replicate_collapsed(tmp_path: Path, collapsed: Predict) -> None:
    found = run(tmp_path, {**USUAL, "random": collapsed})
    slopes = found.table("slopes").set_index(["method", "state"])
    others = slopes.loc[[CONTROL, "magnitude"], "low"]
    assert others.notna().all()
    models = found.table("mixed_models")
    fitted = models[(models["term"] == "slope") & (models["fitter"] == STATSMODELS)]
    assert fitted.loc[fitted["method"] == "magnitude", "estimate"].notna().all()
    if collapsed is always_wrong:  # an accuracy of 0 has no normalized balance
        assert slopes.loc["random", "mean"].isna().all()
        assert "6 of 6 slopes are not finite" in found.notes("slopes")
        assert "random" in found.messages
        assert "accuracy of 0" in found.messages


def test_perfect_dense_networks(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, dense=always_right)
    assert found.table("slopes")["mean"].isna().all()
    assert PER_NETWORK not in set(found.table("pooled")["interpret"])
    assert found.messages


def test_a_method_whose_every_replicate_failed(tmp_path: Path) -> None:
    found = run(tmp_path, {**USUAL, "random": some_errors}, failed="random")
    networks = found.table("networks")
    lost = networks[networks["failure"].notna()]
    assert set(lost["failure"]) == {"the loss is nan"}
    assert lost.groupby(["method", "ratio", "state"]).size().to_dict() == {
        ("random", 2, RETRAINED): 6,
        ("random", 10, RETRAINED): 6,
    }
    made = networks[networks["failure"].isna() & networks["engine"].notna()]
    counts = made.groupby(["method", "ratio"]).size().to_dict()
    assert counts == {(DENSE, 1): 6, (CONTROL, 1): 6, ("magnitude", 2): 6, ("magnitude", 10): 6}
    assert (COMPRESSED, "random") in set(zip(networks["state"], networks["method"], strict=True))
    assert "24 networks: one after another, in float32 on cpu; torch 2.10" in found.page
    assert "were computed alike" not in found.page


@pytest.mark.parametrize("support", [[950, 50], [100, 30, 7]])
def test_networks_that_never_change_have_no_verdict_anywhere(tmp_path, support):
    """Every slope is 1 and nothing moved; what sums make of 1 is no intensification."""
    results = run(
        tmp_path,
        {CONTROL: always_the_first, "magnitude": always_the_first},
        classes=len(support),
        support=support,
        dense=always_the_first,
    )
    np.testing.assert_allclose(results.table("networks")["alpha"].dropna(), 1, rtol=1e-12)
    assert set(results.table("slopes")["verdict"]) == {INCONCLUSIVE}
    # Three pairs of the reseed baseline have no bootstrap.
    assert set(results.table("pooled")["crossfit_verdict"].dropna()) == {INCONCLUSIVE}
    assert set(results.table("effects")["verdict"]) == {INCONCLUSIVE}
    assert set(results.table("effects")["reading"].fillna("")) <= {"", NOT_DISTINGUISHABLE}
    assert (results.table("effects")["difference"] == 0).all()
    assert set(results.table("influence")["verdict"]) == {INCONCLUSIVE}
    assert CHANGES not in set(results.table("influence")["changes"])
    tests = results.table("tests")
    assert not (tests["p"] < 0.99).any()
    assert set(results.table("mixed_models")["verdict"].dropna()) <= {INCONCLUSIVE}
    assert set(results.table("tradeoff")["improves"].fillna("")) <= {"", "neither"}
    # The page's table of the answer shows no sign of a verdict in any cell.
    (grid,) = re.findall(r'<table class="grid">.*?</table>', results.page, re.DOTALL)
    assert not any(sign in grid for sign in "▲▼")


@pytest.mark.parametrize(
    ("wrong", "support"), [((2,), [475, 25]), ((0, 3), [40, 40, 40, 40]), ((0, 1, 4), [475, 25])]
)
def test_dense_networks_of_which_few_err_end_no_study(tmp_path, wrong, support):
    """One informative network, or two, have no spread: no interval, no verdict, and a page."""
    results = run(
        tmp_path,
        {CONTROL: some_errors, "magnitude": some_errors},
        classes=len(support),
        support=support,
        dense=one_errs(*wrong),
    )
    pooled = results.table("pooled")
    pooled = pooled[pooled["state"] != DENSE]
    assert np.isfinite(pooled["alpha"]).all()
    assert pooled[["low", "high", "crossfit_low", "crossfit_high"]].isna().all().all()
    assert FEW_TELLING in results.notes("pooled")
    assert results.table("effects")["reading"].isna().all()
    assert "disagree" not in results.messages
    if len(wrong) == 1:
        assert "only 1 of 6 dense networks recalls its classes unequally" in results.messages
    assert "have no interval" in results.page
    (grid,) = re.findall(r'<table class="grid">.*?</table>', results.page, re.DOTALL)
    assert not any(sign in grid for sign in "▲▼○■")


def test_a_class_that_is_never_named_is_said_to_carry_the_slope(tmp_path):
    def pruned(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        """Ruin the second class as well."""
        lost = (labels == 1) & (rng.random(len(labels)) < 0.4)
        return np.where(lost, 0, never_the_last(rng, labels))

    results = run(
        tmp_path,
        {CONTROL: never_the_last, "magnitude": pruned},
        classes=3,
        support=[200, 200, 6],
        dense=never_the_last,
    )
    pooled = results.table("pooled").set_index(["method", "ratio", "state"])
    cell = pooled.loc[("magnitude", 2, RETRAINED)]
    assert cell["alpha"] == pytest.approx(1, abs=0.4)
    assert cell["leading_class"] == "class 2"
    assert 0.99 < cell["leading_share"] < 1
    assert 1 <= cell["effective_classes"] < 1.02
    assert (cell["unnamed"], cell["narrow"]) == (1, FEW_CLASSES)
    networks = results.table("networks")
    assert networks["effective_classes"].dropna().between(1, 1.05).all()
    influence = results.table("influence")
    last = influence[influence["class_name"] == "class 2"]
    assert (last["unnamed"] == SEEDS).all()
    assert last["share"].to_numpy() == pytest.approx(cell["leading_share"])
    assert influence.groupby(["method", "ratio"])["share"].sum().to_numpy() == pytest.approx(1)
    assert results.table("seeds_needed")["seeds"].isna().all()
    words = " ".join(re.sub(r"<[^>]+>", " ", results.page).split())
    assert "Few classes carry these slopes" in words
    assert "no dense network ever predicts “class 2”" in words
    of_pruned = last[(last["method"] == "magnitude") & (last["ratio"] == 2)].iloc[0]
    assert f"without class 2 {of_pruned['mean']:.2f}".replace("-", "−") in words


def test_two_classes_are_said_to_be_one_gap(tmp_path):
    results = run(
        tmp_path,
        {CONTROL: some_errors, "magnitude": some_errors},
        classes=2,
        support=[150, 50],
    )
    found = results.table("networks")
    found = found[found["alpha"].notna()]
    # Balances sum to zero, weighted by the supports, so the shares are those supports' alone.
    share = np.array([50, 150]) ** 2 / (50**2 + 150**2)
    assert found["effective_classes"].to_numpy() == pytest.approx(1 / (share**2).sum())
    assert results.table("pooled")["narrow"].isna().all()
    assert "α is the ratio of one gap, after to before" in results.page
    recall = results.table("recall").pivot(
        index=["method", "ratio", "state", "seed"], columns="class", values="recall"
    )
    accuracy = results.table("recall").groupby(["method", "ratio", "state", "seed"])["accuracy"]
    gap = (recall[0] - recall[1]) / accuracy.first()
    for row in found[found["method"] == "magnitude"].itertuples():
        after = gap[row.method, row.ratio, row.state, row.seed]
        assert row.alpha == pytest.approx(after / gap[DENSE, 1, DENSE, row.seed])
