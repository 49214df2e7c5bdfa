"""The models over several panels: truth, plain R, and the studies that cannot answer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fits import agreed
from r_reference import lmer_in_r, needs_r

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs.panels import (
    across,
    across_architectures,
    across_datasets,
)
from recall_distortion.inference.mixed.fitters.bootstrap import bootstrapped
from recall_distortion.system.errors import InferenceError
from recall_distortion.vocabulary import NETWORK
from tests import synthetic

SIZES = {"resnet20": 2.0**18, "resnet32": 2.0**19, "resnet56": 2.0**20, "resnet110": 2.0**21}
METHODS = {"magnitude": (1.2, 0.3, -0.1, 0.05), "undecayed": (1.0, 0.1, 0.0, 0.0)}
ERRORS = {("a", "mlp"): 0.1, ("a", "cnn"): 0.2, ("b", "mlp"): 0.3, ("b", "cnn"): 0.5}


def architectures(**options) -> pd.DataFrame:
    """Return the networks of four architectures with their totals, without dense ones."""
    panels = {("cifar10", name): np.log2(size) for name, size in SIZES.items()}
    return sized(synthetic.slopes(panels, METHODS, **options))


def sized(table: pd.DataFrame, sizes: dict[str, float] = SIZES) -> pd.DataFrame:
    return table.assign(total=table["architecture"].map(sizes), accuracy=0.5)


def datasets(**options) -> pd.DataFrame:
    """Return the networks of two data sets, without dense ones."""
    panels = {panel: error / 0.1 for panel, error in ERRORS.items()}
    table = synthetic.slopes(panels, METHODS, **options)
    return table.assign(total=np.nan, accuracy=0.5)


def with_dense(table: pd.DataFrame, errors: dict[tuple[str, str], float] = ERRORS) -> pd.DataFrame:
    """Return the networks after two dense networks of each panel with that mean error."""
    dense = pd.DataFrame(
        [
            (*panel, synthetic.RECIPE, "dense", 1.0, "dense", seed, 1 - error + shift)
            for panel, error in errors.items()
            for seed, shift in ((0, 0.01), (1, -0.01))
        ],
        columns=[*NETWORK, "accuracy"],
    )
    return pd.concat([dense, table], ignore_index=True)


def effects(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["term"].str.startswith("sd(")].reset_index(drop=True)


def test_architectures_recover_the_truth() -> None:
    networks = architectures(seeds=30, sd_panel=0.02, random_seed=3)
    for model in across_architectures(networks):
        table, facts = comparison.fit(model, "statsmodels")
        found = effects(table)
        assert list(found["term"]) == ["level", "trend", "size", "trend:size"] * 2
        assert set(found["dataset"]) == {"cifar10"}
        assert found["architecture"].isna().all()
        truth = np.concatenate([METHODS["magnitude"], METHODS["undecayed"]])
        assert (np.abs(found["estimate"] - truth) < 4 * found["std_error"]).all()
        assert facts["groups"] == "panel=4;panel:seed=120"
        assert facts["rows"] == 4 * 2 * 3 * 30


def test_balanced_estimates_are_those_of_least_squares() -> None:
    """Each effect is a contrast of the cells' means, the same for every method's own columns."""
    networks = architectures(seeds=5)
    found = effects(comparison.fit(across_architectures(networks)[0], "statsmodels")[0])
    means = networks.groupby(["method", "ratio", "architecture"])["alpha"].mean()
    d = {r: np.log2(r) - np.mean(np.log2([2, 4, 16])) for r in (2, 4, 16)}
    s = {name: np.log2(size) - 19.5 for name, size in SIZES.items()}
    for method in METHODS:
        of_method = means[method]
        x = np.array([[1, d[r], s[a], d[r] * s[a]] for r, a in of_method.index])
        line = np.linalg.lstsq(x, of_method.to_numpy(), rcond=None)[0]
        np.testing.assert_allclose(
            found.loc[found["method"] == method, "estimate"], line, rtol=1e-6, atol=1e-9
        )


@pytest.mark.slow
@needs_r
def test_fitters_and_plain_r_agree(tmp_path: Path) -> None:
    networks = datasets(seeds=6, growth=3.0, sd_panel=0.2)
    networks = networks.drop(index=[3, 40])
    models = across_datasets(with_dense(networks))
    fits = [comparison.fit(model, f) for model in models for f in comparison.REML_FITTERS]
    fits += [bootstrapped(model) for model in models]
    table, facts = agreed(comparison.combine(*zip(*fits, strict=True)))
    assert facts["converged"].all()
    assert list(facts["fitter"]) == ["pymer4", "statsmodels", "bootstrap"] * 2
    cell = ["dataset", "architecture", "method", "ratio"]
    error = [ERRORS[tuple(panel)] / 0.1 for panel in networks[cell[:2]].itertuples(index=False)]
    rows = networks.assign(
        doublings=np.log2(networks["ratio"]) - np.mean(np.log2([2, 4, 16])),
        error=np.array(error) - np.mean([value / 0.1 for value in ERRORS.values()]),
        panel=networks["dataset"] + "/" + networks["architecture"],
        scale=networks.groupby(cell)["alpha"].transform("std"),
    )
    suffixes = ("", ":doublings", ":error", ":doublings:error")
    names = [f"method{method}{suffix}" for method in METHODS for suffix in suffixes]
    for model in models:
        plain = lmer_in_r(model.formula, rows, tmp_path).loc[names]
        found = effects(table[(table["model"] == model.name) & (table["fitter"] == "pymer4")])
        assert list(found["term"]) == ["level", "trend", "error", "trend:error"] * 2
        np.testing.assert_allclose(found["estimate"], plain["estimate"], atol=1e-5)
        np.testing.assert_allclose(found["std_error"], plain["std_error"], rtol=1e-3)
        np.testing.assert_allclose(found["df"], plain["df"], rtol=1e-2)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["resnet20"], "one architecture cannot show how alpha depends on the number"),
        (
            ["resnet20", "resnet32"],
            "how alpha depends on .* cannot be .* from other differences between two architectures",
        ),
    ],
)
def test_too_few_architectures(names: list[str], reason: str) -> None:
    networks = architectures()
    networks = networks[networks["architecture"].isin(names)]
    models = across_architectures(networks)
    assert [model.name for model in models] == [
        "across_architectures/cifar10/usual",
        "across_architectures_scaled/cifar10/usual",
    ]
    for model in models:
        table, facts = comparison.fit(model, "pymer4")
        assert table.empty
        assert facts["message"].startswith("not estimated: ")
        assert re.match(reason, model.reason)


def test_sizes_must_be_known_and_distinct() -> None:
    networks = architectures()
    unknown = {name: size for name, size in SIZES.items() if name != "resnet56"}
    model = across_architectures(sized(networks, unknown))[0]
    assert model.reason == "the size of cifar10/resnet56/usual is not known"
    equal = {**SIZES, "resnet56": SIZES["resnet20"], "resnet110": SIZES["resnet32"]}
    model = across_architectures(sized(networks, equal))[0]
    assert "2 different values of size" in model.reason
    some = networks.assign(total=networks["total"].where(networks["seed"] == 2))
    assert not across_architectures(some)[0].reason  # one row with a total is enough
    twofold = networks.copy()
    twofold.loc[3, "total"] = 5.0
    with pytest.raises(InferenceError, match="cifar10/resnet20/usual more than one number"):
        across_architectures(twofold)


def test_a_method_of_two_architectures_is_left_out() -> None:
    networks = architectures()
    few = (networks["method"] == "undecayed") & ~networks["architecture"].isin(
        ["resnet20", "resnet32"]
    )
    model = across_architectures(networks[~few])[0]
    assert set(model.terms["method"]) == {"magnitude"}
    assert model.notes == (
        "left out undecayed: its panels have 2 different values of size, and 3 are needed",
    )
    assert not model.reason


def test_panels_that_the_fixed_effects_use_up() -> None:
    """Three panels leave one degree of freedom beside a level and a size, but none where every
    panel has a ratio of its own: then trend, size and their product are one effect too many."""
    networks = architectures(ratios=(2, 4))
    three = networks[networks["architecture"] != "resnet110"]
    model = across_architectures(three[three["method"] == "magnitude"])[0]
    assert not model.reason
    one_ratio_each = pd.concat(
        [
            three[(three["architecture"] == name) & (three["ratio"] == ratio)]
            for name, ratio in (("resnet20", 2), ("resnet32", 4), ("resnet56", 2))
        ]
    )
    models = across_architectures(one_ratio_each)
    assert "cannot be distinguished from each other" in models[0].reason


def test_across_datasets_needs_two_and_three_panels() -> None:
    networks = datasets()
    model = across_datasets(with_dense(networks[networks["dataset"] == "a"]))[0]
    assert model.name == "across_datasets/usual"
    assert model.reason == ("one data set cannot show how alpha depends on the dense error")
    two = networks[networks["architecture"] == "mlp"]
    reason = across_datasets(with_dense(two))[0].reason
    assert reason.startswith("how alpha depends on the dense error cannot be distinguished")
    assert reason.endswith("between two panels")
    in_one = networks[(networks["method"] == "magnitude") | (networks["dataset"] == "a")]
    three = {**ERRORS, ("a", "lenet5"): 0.15}
    more = in_one[in_one["architecture"] == "mlp"].assign(architecture="lenet5")
    in_one = pd.concat([in_one, more[more["dataset"] == "a"]])
    model = across_datasets(with_dense(in_one, three))[0]
    assert model.notes == ("left out undecayed: it was used on one data set only",)
    known = {panel: error for panel, error in ERRORS.items() if panel[0] == "a"}
    unknown = across_datasets(with_dense(networks, known))
    assert unknown[0].reason == "the error of b/mlp/usual, b/cnn/usual is not known"


def test_the_dense_error_is_that_of_dense_networks() -> None:
    """Pairs of reseed have the state dense too, and a network that failed has no accuracy."""
    table = with_dense(datasets())
    alone = across_datasets(table)[0]
    dense = table[table["method"] == "dense"]
    reseed = dense.assign(method="reseed", accuracy=0.01, alpha=0.3)
    failed = dense[dense["seed"] == 0].assign(seed=2, accuracy=np.nan, failure="diverged")
    among = across_datasets(pd.concat([table, reseed, failed]))[0]
    np.testing.assert_array_equal(alone.fixed, among.fixed)


def test_a_network_that_failed_has_no_slope() -> None:
    """Its row has no measures; the cell's other replicates stay."""
    table = architectures()
    failed = table.assign(failure="")
    failed.loc[3, ["alpha", "accuracy", "failure"]] = [np.nan, np.nan, "the loss is not finite"]
    model = across_architectures(failed)[0]
    assert model.notes == ()
    assert len(model.response) == len(table) - 1


def test_a_study_has_all_its_models() -> None:
    table = with_dense(sized(datasets(), {"mlp": 10.0, "cnn": 20.0}))
    assert [model.name for model in across(table)] == [
        "across_architectures/a/usual",
        "across_architectures_scaled/a/usual",
        "across_architectures/b/usual",
        "across_architectures_scaled/b/usual",
        "across_datasets/usual",
        "across_datasets_scaled/usual",
    ]


def test_where_a_network_has_several_recipes_each_recipe_has_its_models() -> None:
    table = with_dense(sized(datasets(), {"mlp": 10.0, "cnn": 20.0}))
    both = pd.concat([table, table.assign(recipe="other")], ignore_index=True)
    models = across(both)
    alone = across(table)
    assert [model.name for model in models] == [
        name.replace("/usual", f"/{recipe}")
        for kind in ("across_architectures", "across_datasets")
        for recipe in ("usual", "other")
        for name in (model.name for model in alone)
        if name.startswith(kind)
    ]
    own = {model.name: model for model in models}
    for model in alone:
        np.testing.assert_array_equal(own[model.name].response, model.response)
        np.testing.assert_array_equal(own[model.name].fixed, model.fixed)


def test_networks_with_a_recipe_each_are_in_one_model() -> None:
    table = with_dense(sized(datasets(), {"mlp": 10.0, "cnn": 20.0}))
    each = table.assign(recipe=table["architecture"])
    assert [model.name for model in across(each)] == [
        name.removesuffix("/usual") for name in (model.name for model in across(table))
    ]
