"""The page explains every method of a study, its own ones included, with the numbers it used."""

from __future__ import annotations

import pytest
from core_helpers import REPOSITORY

from recall_distortion.compression.facts import BUILT_IN, CRITERIA, UNITS
from recall_distortion.report.definitions import NOT_DEFINED, SYMBOLS, definitions, symbols
from recall_distortion.study import load

SHIPPED = sorted((REPOSITORY / "config" / "studies").glob("*.yaml"))


def of(facts: dict, *methods: str) -> dict[str, str]:
    """Return the sentences by method."""
    return {found.method: found.sentence for found in definitions(facts, list(methods))}


def undecayed(epsilon: object) -> str:
    """Return the sentence of a method with an ε as a study's facts have it."""
    return of({"methods": {"mine": {"criterion": "undecayed", "epsilon": epsilon}}})["mine"]


def test_a_method_of_a_studys_own_is_explained_with_the_numbers_it_used():
    """Networks without weight decay, pruned by a criterion that deducts 5e-4 all the same."""
    study = load(REPOSITORY / "config" / "studies" / "fashion_mnist_no_decay.yaml")
    found = definitions(study.facts(), ["magnitude", "script_undecayed"])
    assert [definition.method for definition in found] == [
        "magnitude",
        "script_undecayed",
        "control",
    ]
    magnitude, own, control = found
    assert magnitude.formula == "|θ|"
    assert "ε" not in magnitude.sentence
    assert "g over" not in magnitude.sentence
    assert own.formula == "−θ g + ε θ²"
    assert own.source == CRITERIA["undecayed_signed"].source
    assert own.sentence == (
        f"{CRITERIA['undecayed_signed'].meaning} Criterion undecayed_signed; all prunable weights "
        "ranked together; pruned once, then fine-tuned; g over 128 training images drawn at "
        "random, or all if there are fewer; ε = 5e-4, set by the study."
    )
    assert control.sentence == "The same retraining with nothing removed."


def test_ratios_of_its_own_are_said_of_a_method():
    facts = {"criterion": "magnitude", "scope": "global", "schedule": "one_shot"}
    found = of({"methods": {"a": facts | {"ratios": ["2", "8"]}, "b": facts | {"ratios": ["4"]}}})
    assert "; at ratios of its own: 2 and 8." in found["a"]
    assert "; at a ratio of its own: 4." in found["b"]
    assert "of its own" not in of({"methods": {"a": facts}})["a"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_nothing_of_a_shipped_study_is_unexplained(path):
    study = load(path)
    listed = {method for network in study.networks() for method in network.methods}
    found = definitions(study.facts(), [])
    assert {definition.method for definition in found} == listed
    for definition in found:
        assert definition.sentence != NOT_DEFINED
        assert "not stated" not in definition.sentence


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [
        (0.25, "ε = 0.25, set by the study."),
        (0, "ε = 0, set by the study."),
        (1.25e-4, "ε = 1.25e-4, set by the study."),
        ({"a": 5e-4}, "ε = 5e-4, the weight decay of the training recipe."),
        ({"a": 5e-4, "b": 5e-4}, "ε = 5e-4, the weight decay of the training recipe."),
        (
            {"a": 5e-4, "b": 0.0, "c": 0.0},
            "ε = 5e-4, the weight decay of the training recipe a; 0 for b and c.",
        ),
        (
            {"a": 5e-4, "b": 0.01, "c": 5e-4},
            "ε = 5e-4, the weight decay of the training recipes a and c; 0.01 for b.",
        ),
        (None, "the value of ε is not stated in these tables."),
        ({}, "the value of ε is not stated in these tables."),
        ({"a": "much"}, "the value of ε is not stated in these tables."),
        (float("nan"), "the value of ε is not stated in these tables."),
        (True, "the value of ε is not stated in these tables."),
    ],
)
def test_epsilon_is_told_with_where_it_comes_from(epsilon, words):
    assert undecayed(epsilon).endswith(words)


def test_a_scope_is_part_of_the_definition():
    found = of({}, "magnitude", "layerwise_magnitude")
    assert "all prunable weights ranked together" in found["magnitude"].lower()
    assert "Criterion magnitude; ranked within each layer" in found["layerwise_magnitude"]
    mine = of({"methods": {"mine": {"criterion": "lamp", "scope": "erk"}}})["mine"]
    assert "Criterion lamp; ranked within each layer, of which it keeps a fraction in" in mine
    assert mine.endswith("(Erdős–Rényi kernel, Evci et al., ICML 2020, arXiv 1911.11134).")


@pytest.mark.parametrize(
    "facts", [{}, {"methods": ["undecayed", "mine"]}, {"methods": None}, {"methods": "all"}]
)
def test_tables_from_elsewhere_have_the_built_in_names_explained_and_others_not(facts):
    found = definitions(facts, ["mine", *BUILT_IN, "control"])
    assert [definition.method for definition in found] == ["mine", *BUILT_IN, "control"]
    sentences = {definition.method: definition.sentence for definition in found}
    assert [name for name, text in sentences.items() if text == NOT_DEFINED] == ["mine"]
    for name, method in BUILT_IN.items():
        criterion = UNITS[method.unit].criteria[method.criterion]
        assert sentences[name].startswith(criterion.meaning)
        unstated = "ε is not stated" in sentences[name]
        assert unstated == criterion.uses_epsilon
        assert (UNITS["channel"].meaning in sentences[name]) == (method.unit == "channel")
        assert "training images" not in sentences[name]


def test_channels_are_defined_with_what_their_formulas_are_made_of():
    facts = {"criterion": "chip", "scope": "layer", "unit": "channel", "feature_images": 640}
    study = {"methods": {"mine": facts, "gradient": {"criterion": "gradient"}}}
    found = of(study, "mine", "gradient")["mine"]
    assert found.startswith("The channels go whose feature maps")
    assert "Criterion chip; removes whole filters and hidden units" in found
    assert "keeps the same fraction, and one at least" in found
    assert found.endswith(
        "feature maps of 640 training images drawn at random, or all if there are fewer."
    )
    assert "γ is the factor" in symbols(study)
    del study["methods"]["mine"]
    assert symbols(study) == symbols({}) == SYMBOLS


@pytest.mark.parametrize("facts", [None, "x", 3, {}, {"criterion": "taylor"}, {"criterion": []}])
def test_what_cannot_be_read_is_not_defined(facts):
    assert of({"methods": {"mine": facts}}, "mine") == {"mine": NOT_DEFINED}
