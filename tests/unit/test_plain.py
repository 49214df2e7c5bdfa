"""Jobs are given plain values, and read them once, into frozen objects."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, fields

import pytest
from study_helpers import VALID, changed

from recall_distortion import study
from recall_distortion.compression.methods import CompressionPlan, Method
from recall_distortion.study import Study
from recall_distortion.system.errors import TrainingError
from recall_distortion.training import Computing, Phase, Recipe, TrainingPlan, read
from recall_distortion.training.plain import plain
from recall_distortion.vocabulary import Panel

MLP = Panel("digits", "mlp", "tiny")
RECIPE = {
    "phases": [{"epochs": 2, "learning_rate": 1}, {"epochs": 3, "learning_rate": 0.1}],
    "batch_size": 64,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "augmentation": ["flip"],
}


def test_a_recipe_is_read_with_its_parts():
    found = read(Recipe, RECIPE, "recipe")
    assert found == Recipe((Phase(2, 1.0), Phase(3, 0.1)), 64, 0.9, 5e-4, ("flip",))
    assert found.epochs == 5
    with pytest.raises(FrozenInstanceError):
        found.momentum = 0.5
    assert read(Recipe, RECIPE | {"phases": list(found.phases)}, "recipe") == found


def test_what_a_study_gives_its_jobs_is_read_whole():
    """Every key of the study reaches the objects, and none is missing."""
    undecayed = {"criterion": "undecayed", "scope": "layer", "epsilon": 0.25}
    own = Study.model_validate(changed("methods.mine", undecayed))
    training = own.training_parameters(MLP)
    found = read(TrainingPlan, training, "training")
    assert found.recipe == Recipe((Phase(4, 0.05),), 128, 0.9, 5e-4, ())
    assert (found.selection, found.engine) == ("holdout", Computing("auto", None, "float32"))
    mine = read(CompressionPlan, own.compression_parameters(MLP, "mine"), "compression")
    assert mine.methods == {"mine": Method("undecayed", "layer", "one_shot", 128, 0.25)}
    assert (mine.count, mine.recipe.weight_decay) == ("prunable", 0.0)
    control = own.compression_parameters(MLP, "control")
    assert read(CompressionPlan, control, "compression").methods == {"control": None}
    rates = {"cosine", "step", "warmup"}  # which become the rates of a phase
    assert {field.name for field in fields(Recipe)} == set(study.Recipe.model_fields) - rates
    assert {field.name for field in fields(Phase)} == {*study.Phase.model_fields, "rates"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clipping": True}, r"recipe: unknown key 'clipping'; valid: phases, batch_size, "),
        ({"phases": [{"epochs": 2}]}, r"recipe\.phases\.0: there is no key 'learning_rate'"),
        (
            {"phases": [{"epochs": 2, "rate": 1}]},
            r"recipe\.phases\.0: unknown key 'rate'",
        ),
        ({"phases": 3}, r"recipe\.phases: a list, not 3"),
        ({"phases": [3]}, r"recipe\.phases\.0: a mapping of keys, not 3; valid: epochs"),
        ({"augmentation": "flip"}, r"recipe\.augmentation: a list, not 'flip'"),
        ({"batch_size": 2.5}, r"recipe\.batch_size: a value of type int, not 2\.5"),
        ({"batch_size": True}, r"recipe\.batch_size: a value of type int, not True"),
        ({"momentum": None}, r"recipe\.momentum: a value of type float, not None"),
    ],
)
def test_what_does_not_belong_is_named_with_its_place(change, said):
    with pytest.raises(TrainingError, match=said):
        read(Recipe, RECIPE | change, "recipe")


def test_a_method_that_a_job_does_not_know_is_named():
    given = Study.model_validate(VALID).compression_parameters(MLP, "mine")
    wrong = copy.deepcopy(given)
    wrong["methods"]["mine"]["colour"] = "red"
    with pytest.raises(TrainingError, match=r"compression\.methods\.mine: unknown key 'colour'"):
        read(CompressionPlan, wrong, "compression")
    with pytest.raises(TrainingError, match=r"compression\.methods: a mapping, not \[\]"):
        read(CompressionPlan, given | {"methods": []}, "compression")


def test_what_is_as_by_default_is_not_written_down():
    assert plain(Computing()) == {}
    assert plain(Computing(at_once=3)) == {"at_once": 3}
    method = Method("magnitude", "layer", "one_shot", 128, 0.25)
    assert read(Method, plain(method), "method") == method
    assert list(plain(method)) == [
        "criterion",
        "scope",
        "schedule",
        "gradient_examples",
        "epsilon",
    ]
