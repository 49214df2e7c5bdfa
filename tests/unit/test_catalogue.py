"""The facts that are known of networks without building them."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_distortion.compression.facts import BUILT_IN, CHANNEL_CRITERIA, CRITERIA, UNITS
from recall_distortion.compression.ratios import fraction_to_keep, largest_ratio
from recall_distortion.data import sources
from recall_distortion.data.sources import MODULES, SOURCES
from recall_distortion.networks.parameters import Counts
from recall_distortion.networks.plans import ARCHITECTURES, SIZED, parameter_counts
from recall_distortion.system.errors import NetworkError

# docs/methods.md, section 4: total, prunable and the fraction kept at 2, 4, 10, 20, 50.
TABLE = [
    ("resnet20", 10, 269_722, 267_696, [0.49622, 0.24432, 0.09319, 0.04281, 0.01258]),
    ("resnet32", 10, 464_154, 461_232, [0.49683, 0.24525, 0.09430, 0.04398, 0.01379]),
    ("resnet44", 10, 658_586, 654_768, [0.49708, 0.24563, 0.09475, 0.04446, 0.01429]),
    ("resnet56", 10, 853_018, 848_304, [0.49722, 0.24583, 0.09500, 0.04472, 0.01455]),
    ("resnet110", 10, 1_727_962, 1_719_216, [0.49746, 0.24618, 0.09542, 0.04517, 0.01501]),
    ("resnet56", 100, 858_868, 848_304, [0.49377, 0.24066, 0.08879, 0.03817, 0.00780]),
]


@pytest.mark.parametrize(("name", "classes", "total", "prunable", "fractions"), TABLE)
def test_the_published_accounting(name, classes, total, prunable, fractions):
    counts = parameter_counts(name, 3, classes)
    assert (counts.total, counts.prunable_modules, counts.prunable_weights) == (
        total,
        prunable,
        prunable,
    )
    for ratio, expected in zip((2, 4, 10, 20, 50), fractions, strict=True):
        assert fraction_to_keep(counts, ratio, "total") == pytest.approx(expected, abs=5e-6)
        assert fraction_to_keep(counts, ratio, "prunable") == 1 / ratio


def test_lenet5_keeps_383_weights_at_50():
    counts = parameter_counts("lenet5", 1, 10)
    assert counts == Counts(total=61_706, prunable_modules=60_856, prunable_weights=60_630)
    fraction = fraction_to_keep(counts, 50, "total")
    assert round(fraction * counts.prunable_weights) == 383
    # Were the prunable modules' 226 biases counted as staying, 158 would be left.
    assert round(61_706 / 50 - (61_706 - 60_630)) == 158


def test_ratio_1_keeps_everything():
    for name in ARCHITECTURES:
        for count in ("total", "prunable"):
            assert fraction_to_keep(parameter_counts(name, 3, 10), 1, count) == pytest.approx(1)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("count", ["total", "prunable"])
def test_the_largest_feasible_ratio_is_the_largest(name, count):
    counts = parameter_counts(name, 1, 10)
    largest = largest_ratio(counts, count)
    assert round(fraction_to_keep(counts, largest, count) * counts.prunable_weights) >= 1
    if count == "total":  # with count: prunable rounding reaches further than one whole weight
        with pytest.raises(NetworkError):
            fraction_to_keep(counts, largest + 1, count)


@given(weights=st.integers(1, 5000), biases=st.integers(0, 50), rest=st.integers(1, 500))
def test_the_largest_feasible_ratio_of_any_network(weights, biases, rest):
    counts = Counts(weights + biases + rest, weights + biases, weights)

    def kept(ratio):
        fraction = (counts.total / ratio - rest) / (weights + biases)
        return round(fraction * weights)

    brute = max((ratio for ratio in range(1, counts.total + 1) if kept(ratio) >= 1), default=1)
    assert largest_ratio(counts, "total") == brute


def test_an_infeasible_ratio_names_network_ratio_and_limit():
    counts = parameter_counts("mlp", 1, 10)
    with pytest.raises(NetworkError) as caught:
        fraction_to_keep(counts, 50, "total", "mlp on digits")
    message = str(caught.value)
    assert "mlp on digits" in message
    assert "50" in message
    assert f"largest feasible ratio is {largest_ratio(counts, 'total')}" in message
    assert "count: prunable" in message


@pytest.mark.parametrize("ratio", [0.5, 0, -1, float("nan")])
def test_an_impossible_ratio(ratio):
    with pytest.raises(NetworkError, match="at least 1"):
        fraction_to_keep(parameter_counts("mlp", 1, 10), ratio, "total")


def test_unknown_names():
    with pytest.raises(NetworkError, match=r"'vgg'.*lenet5"):
        parameter_counts("vgg", 1, 10)
    with pytest.raises(NetworkError, match="'total' or 'prunable'"):
        fraction_to_keep(parameter_counts("mlp", 1, 10), 2, "all")


def test_the_catalogue_agrees_with_criteria_and_networks():
    from recall_distortion import networks
    from recall_distortion.compression.pruning import scores

    assert set(CRITERIA) == {module.name for module in pkgutil.iter_modules(scores.__path__)}
    families = {*(facts.family for facts in ARCHITECTURES.values()), *SIZED}
    modules = [import_module(f"{networks.__name__}.{family}") for family in families]
    assert {*ARCHITECTURES, *SIZED} == {name for module in modules for name in module.NETWORKS}


def test_every_source_has_a_name_of_its_own():
    modules = [
        import_module(f"{sources.__name__}.{m.name}")
        for m in pkgutil.iter_modules(sources.__path__)
        if not m.name.startswith("_")
    ]
    assert sorted(SOURCES) == sorted(name for module in modules for name in module.SOURCES)
    assert all(name in import_module(MODULES[name]).SOURCES for name in SOURCES)


@pytest.mark.parametrize("name", CRITERIA)
def test_the_facts_of_a_criterion_are_those_of_its_function(name):
    import torch

    from recall_distortion.compression.pruning import criteria

    criterion = criteria.load(name)

    def scores(gradient: float, epsilon: float) -> torch.Tensor:
        return criterion.score(
            torch.tensor([1.0, -2.0, 3.0]),
            torch.tensor([0.5, gradient, -0.5]),
            epsilon=epsilon,
            generator=torch.Generator().manual_seed(0),
        )

    facts = CRITERIA[name]
    assert facts.name == name
    assert facts.needs_gradient == criterion.needs_gradient
    # One with another gradient than the loss's is given that, and needs none of the loss.
    looks = facts.needs_gradient or criterion.gradient is not None
    assert looks == (not torch.equal(scores(0.25, 0.1), scores(4.0, 0.1)))
    assert facts.uses_epsilon == (not torch.equal(scores(0.25, 0.1), scores(0.25, 0.7)))
    assert facts.uses_epsilon == ("ε" in facts.formula)
    if name != "random":
        assert facts.needs_gradient == ("g" in facts.formula)
    assert facts.keeps_more == (criterion.select is not None)
    for text in (facts.formula, facts.meaning, facts.source):
        assert text
    assert facts.meaning.endswith(".")


def test_a_built_in_method_is_a_criterion_and_a_scope():
    assert set(CRITERIA) <= set(BUILT_IN)
    assert {m.criterion for m in BUILT_IN.values() if m.unit == "channel"} == {*CHANNEL_CRITERIA}
    for method in BUILT_IN.values():
        assert method.criterion in UNITS[method.unit].criteria
        assert method.scope in UNITS[method.unit].scopes
