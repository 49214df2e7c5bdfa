"""The models over several panels: truth, plain R, and the studies that cannot answer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from fits import agreed
from r_reference import lmer_in_r, needs_r

from recall_distortion.errors import InferenceError
from recall_distortion.inference import mixed_models
from recall_distortion.inference.across import across, across_architectures, across_datasets
from recall_distortion.inference.beside import bootstrapped

SIZES = {"resnet20": 2.0**18, "resnet32": 2.0**19, "resnet56": 2.0**20, "resnet110": 2.0**21}
METHODS = {"magnitude": (1.2, 0.3, -0.1, 0.05), "undecayed": (1.0, 0.1, 0.0, 0.0)}
ERRORS = {("a", "mlp"): 0.1, ("a", "cnn"): 0.2, ("b", "mlp"): 0.3, ("b", "cnn"): 0.5}


def architectures(**options) -> pd.DataFrame:
    panels = {("cifar10", name): np.log2(size) for name, size in SIZES.items()}
    return synthetic.slopes(panels, METHODS, **options)


def datasets(**options) -> pd.DataFrame:
    panels = {panel: error / 0.1 for panel, error in ERRORS.items()}
    return synthetic.slopes(panels, METHODS, **options)


def sparsity(sizes: dict[str, float] = SIZES, dataset: str = "cifar10") -> pd.DataFrame:
    return pd.DataFrame(
        [(dataset, name, size) for name, size in sizes.items() for _ in range(2)],
        columns=["dataset", "architecture", "total"],
    )


def dense(errors: dict[tuple[str, str], float] = ERRORS) -> pd.DataFrame:
    """Return the dense models' accuracies, each on two rows, as of two classes."""
    return pd.DataFrame(
        [
            (*panel, "dense", seed, 1 - error + shift)
            for panel, error in errors.items()
            for seed, shift in ((0, 0.01), (1, -0.01))
            for _ in range(2)
        ],
        columns=["dataset", "architecture", "state", "seed", "accuracy"],
    )


def effects(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["term"].str.startswith("sd(")].reset_index(drop=True)


def test_architectures_recover_the_truth() -> None:
    alpha = architectures(seeds=30, sd_panel=0.02, random_seed=3)
    for model in across_architectures(alpha, sparsity()):
        table, facts = mixed_models.fit(model, "statsmodels")
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
    alpha = architectures(seeds=5)
    found = effects(mixed_models.fit(across_architectures(alpha, sparsity())[0], "statsmodels")[0])
    means = alpha.groupby(["method", "ratio", "architecture"])["alpha"].mean()
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
def test_engines_and_plain_r_agree(tmp_path: Path) -> None:
    alpha = datasets(seeds=6, growth=3.0, sd_panel=0.2)
    alpha = alpha.drop(index=[3, 40])
    models = across_datasets(alpha, dense())
    fits = [mixed_models.fit(model, engine) for model in models for engine in mixed_models.ENGINES]
    fits += [bootstrapped(model) for model in models]
    table, facts = agreed(mixed_models.combine(*zip(*fits, strict=True)))
    assert facts["converged"].all()
    assert list(facts["engine"]) == ["pymer4", "statsmodels", "bootstrap"] * 2
    cell = ["dataset", "architecture", "method", "ratio"]
    error = [ERRORS[tuple(panel)] / 0.1 for panel in alpha[cell[:2]].itertuples(index=False)]
    rows = alpha.assign(
        doublings=np.log2(alpha["ratio"]) - np.mean(np.log2([2, 4, 16])),
        error=np.array(error) - np.mean([value / 0.1 for value in ERRORS.values()]),
        panel=alpha["dataset"] + "/" + alpha["architecture"],
        scale=alpha.groupby(cell)["alpha"].transform("std"),
    )
    suffixes = ("", ":doublings", ":error", ":doublings:error")
    names = [f"method{method}{suffix}" for method in METHODS for suffix in suffixes]
    for model in models:
        plain = lmer_in_r(model.formula, rows, tmp_path).loc[names]
        found = effects(table[(table["model"] == model.name) & (table["engine"] == "pymer4")])
        assert list(found["term"]) == ["level", "trend", "error", "trend:error"] * 2
        np.testing.assert_allclose(found["estimate"], plain["estimate"], atol=1e-5)
        np.testing.assert_allclose(found["std_error"], plain["std_error"], rtol=1e-3)
        np.testing.assert_allclose(found["df"], plain["df"], rtol=1e-2)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["resnet20"], "one architecture: nothing tells how alpha depends on the number"),
        (["resnet20", "resnet32"], "two architectures: .* cannot be told from the architectures'"),
    ],
)
def test_too_few_architectures(names: list[str], reason: str) -> None:
    alpha = architectures()
    alpha = alpha[alpha["architecture"].isin(names)]
    models = across_architectures(alpha, sparsity())
    assert [model.name for model in models] == [
        "across_architectures/cifar10",
        "across_architectures_scaled/cifar10",
    ]
    for model in models:
        table, facts = mixed_models.fit(model, "pymer4")
        assert table.empty
        assert facts["message"].startswith("not estimated: ")
        assert re.match(reason, model.reason)


def test_sizes_must_be_known_and_distinct() -> None:
    alpha = architectures()
    unknown = {name: size for name, size in SIZES.items() if name != "resnet56"}
    model = across_architectures(alpha, sparsity(unknown))[0]
    assert model.reason == "the size of cifar10/resnet56 is not known"
    equal = {**SIZES, "resnet56": SIZES["resnet20"], "resnet110": SIZES["resnet32"]}
    model = across_architectures(alpha, sparsity(equal))[0]
    assert "2 different values of size" in model.reason
    twofold = pd.concat([sparsity(), sparsity({"resnet20": 5.0})])
    with pytest.raises(InferenceError, match="cifar10/resnet20 more than one number"):
        across_architectures(alpha, twofold)


def test_a_method_of_two_architectures_is_left_out() -> None:
    alpha = architectures()
    few = (alpha["method"] == "undecayed") & ~alpha["architecture"].isin(["resnet20", "resnet32"])
    model = across_architectures(alpha[~few], sparsity())[0]
    assert set(model.terms["method"]) == {"magnitude"}
    assert model.notes == (
        "left out undecayed: its panels have 2 different values of size, and 3 are needed",
    )
    assert not model.reason


def test_panels_that_the_fixed_effects_use_up() -> None:
    """Three panels leave one degree of freedom beside a level and a size, but none where every
    panel has a ratio of its own: then trend, size and their product are one effect too many."""
    alpha = architectures(ratios=(2, 4))
    three = alpha[alpha["architecture"] != "resnet110"]
    model = across_architectures(three[three["method"] == "magnitude"], sparsity())[0]
    assert not model.reason
    one_ratio_each = pd.concat(
        [
            three[(three["architecture"] == name) & (three["ratio"] == ratio)]
            for name, ratio in (("resnet20", 2), ("resnet32", 4), ("resnet56", 2))
        ]
    )
    models = across_architectures(one_ratio_each, sparsity())
    assert "cannot be told apart" in models[0].reason


def test_across_datasets_needs_two_and_three_panels() -> None:
    alpha = datasets()
    model = across_datasets(alpha[alpha["dataset"] == "a"], dense())[0]
    assert model.name == "across_datasets"
    assert model.reason == "one data set: nothing tells how alpha depends on the dense error"
    two = alpha[alpha["architecture"] == "mlp"]
    assert across_datasets(two, dense())[0].reason.startswith("two panels: how alpha depends")
    in_one = alpha[(alpha["method"] == "magnitude") | (alpha["dataset"] == "a")]
    three = {**ERRORS, ("a", "lenet5"): 0.15}
    more = in_one[in_one["architecture"] == "mlp"].assign(architecture="lenet5")
    in_one = pd.concat([in_one, more[more["dataset"] == "a"]])
    model = across_datasets(in_one, dense(three))[0]
    assert model.notes == ("left out undecayed: it is in one data set only",)
    unknown = across_datasets(alpha, dense({k: v for k, v in ERRORS.items() if k[0] == "a"}))
    assert unknown[0].reason == "the error of b/mlp, b/cnn is not known"


def test_a_study_has_all_its_models() -> None:
    alpha = datasets()
    sizes = pd.concat([sparsity({"mlp": 10.0, "cnn": 20.0}, name) for name in ("a", "b")])
    assert [model.name for model in across(alpha, dense(), sizes)] == [
        "across_architectures/a",
        "across_architectures_scaled/a",
        "across_architectures/b",
        "across_architectures_scaled/b",
        "across_datasets",
        "across_datasets_scaled",
    ]
