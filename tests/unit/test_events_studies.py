"""What a study and its page say of events in a training."""

from __future__ import annotations

import pytest
import yaml

from recall_distortion import configuration
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.data import Shape
from recall_distortion.report.definitions import definitions
from recall_distortion.study import Study, check_feasible, load
from recall_distortion.system.errors import StudyError
from recall_distortion.training.plain import read
from recall_distortion.vocabulary import CONTROL_EVENTS, Panel

PANEL = Panel("digits", "cnn", "one")
WHEN = {"start": 2, "end": 7, "every": 2}
OWN = {"criterion": "l2_norm", "unit": "channel", "schedule": "events", "events": WHEN}


def study(own=None, *, other=None, dataset=None, listed=(CONTROL_EVENTS,)):
    training = {"phases": [{"epochs": 10, "learning_rate": 0.05}], "batch_size": 10}
    methods = {"own": OWN | (own or {})} | ({"other": OWN | other} if other else {})
    return {
        "description": "A study of events.",
        "seeds": 2,
        "datasets": {"digits": {"source": "digits"} | (dataset or {})},
        "recipes": {"one": {"training": training, "finetuning": training}},
        "methods": methods,
        "panels": [{"dataset": "digits", "architectures": ["cnn"], "methods": [*methods, *listed]}],
        "ratios": [2],
    }


def test_what_a_job_is_told():
    noise = {"removal": "gaussian", "steps": 3}
    found = Study.model_validate(study(other={"target": "highest", "events": WHEN | noise}))
    assert found.controls() == dict.fromkeys(("other", "own"), CONTROL_EVENTS)
    for name in ("own", "other", CONTROL_EVENTS):
        told = found.compression_parameters(PANEL, name)
        assert (told["events"]["end"], "gradual" in told) == (7, False)
        plan = read(CompressionPlan, told, name)
        assert plan.events.recipe.epochs == 10
        assert "recall_distortion.compression.schedules.events" in found.modules(PANEL, name)
    own, other = (found.compression_parameters(PANEL, n)["methods"][n] for n in ("own", "other"))
    assert own["events"] == {"start": 2, "every": 2}
    assert other["events"] == {"start": 2, "every": 2} | noise
    assert (own.get("target"), other["target"]) == (None, "highest")


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({"events": {"start": 5, "end": 4}}, r"end \(4\) lies before start \(5\)"),
        ({"events": {"start": 2, "end": 10}}, "10 epochs, .* choose an end of at most 9"),
        ({"events": WHEN | {"removal": "restore"}}, "for how many of them is restore"),
        ({"events": WHEN | {"steps": 4}}, "what is gone for good needs none"),
        ({"events": None}, "schedule events needs them: start, end, every"),
        ({"schedule": "one_shot"}, "only schedule: events has them"),
        ({"criterion": "random", "target": "highest"}, "criterion random has no highest"),
        ({"criterion": "chip"}, "chip looks at more than the weights of the time"),
        ({"retraining": "rewind"}, "nothing follows schedule events"),
    ],
)
def test_what_cannot_be_is_said(own, wanted):
    with pytest.raises(ValueError, match=wanted):
        Study.model_validate(study(own))


def test_one_network_has_one_control_for_all():
    with pytest.raises(ValueError, match="other: it has events that end after 8 epochs, and own"):
        Study.model_validate(study(other={"events": WHEN | {"end": 8}}))
    (caution,) = configuration.cautions(Study.model_validate(study(listed=())))[1:]
    assert f"the method {CONTROL_EVENTS} would" in caution


def test_what_would_not_be_back_in_time_is_told_before_any_job(tmp_path):
    """100 images, of which 90 are fitted to, are 9 steps an epoch; the last event is after 6."""
    path = tmp_path / "own.yaml"
    for steps, enough in ((9, True), (10, False)):
        events = WHEN | {"removal": "zero_and_regrow", "steps": steps}
        path.write_text(yaml.safe_dump(study({"events": events}, dataset={"training_images": 100})))
        if enough:
            check_feasible(load(path), path, {"digits": Shape(1, 8, 10)})
            continue
        with pytest.raises(StudyError, match=r"methods.own.events.steps.* there are 9, 9 an epoch"):
            check_feasible(load(path), path, {"digits": Shape(1, 8, 10)})
    path.write_text(yaml.safe_dump(study() | {"ratios": [1000]}))
    with pytest.raises(StudyError, match="cannot reach ratio 1000 with unit: channel"):
        check_feasible(load(path), path, {"digits": Shape(1, 8, 10)})


def test_the_page_says_what_it_is():
    noise = {"target": "highest", "events": WHEN | {"removal": "gaussian", "steps": 3}}
    facts = Study.model_validate(study(other=noise)).facts()
    found = {one.method: one.sentence for one in definitions(facts, [])}
    assert "after epoch 2 and then every 2 epochs, up to epoch 7" in found["own"]
    assert f"read against {CONTROL_EVENTS}" in found["own"]
    assert "nominal" not in found["own"]
    assert "those with the highest scores go" in found["other"]
    assert "before each of 3 steps noise is added" in found["other"]
    assert "the ratio is nominal" in found["other"]
    assert found[CONTROL_EVENTS].startswith("The dense network's own training")
