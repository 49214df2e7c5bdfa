"""Which studies can be computed; those that ship can, and the schema accepts them."""

from __future__ import annotations

import json

import pytest
import yaml
from core_helpers import REPOSITORY
from study_helpers import changed, write

from recall_distortion import study as study_module
from recall_distortion.data import Shape, describe
from recall_distortion.study import check_feasible, load
from recall_distortion.system.errors import StudyError

SHIPPED = sorted((REPOSITORY / "config" / "studies").glob("*.yaml"))
# Of data sets whose files are not there.
FROM_FILES = {"cifar10_jpeg": Shape(3, 32, 10)}


def test_an_unreachable_ratio_is_told_before_any_job(tmp_path):
    path = write(tmp_path, changed("count", "total"))
    study = load(path)
    shapes = {"digits": Shape(1, 8, 10)}
    check_feasible(study, path, shapes)
    study = load(path, {"ratios": [2, 50]})
    with pytest.raises(StudyError) as caught:
        check_feasible(study, path, shapes)
    told = str(caught.value)
    # mlp: 3,466 parameters, 330 in the classifier; 3466 / 10.49 just leaves half a weight.
    for word in (str(path), "key 'ratios'", "mlp on digits", "50", "ratio is 10", "prunable"):
        assert word in told


def test_a_control_alone_needs_no_feasible_ratio(tmp_path):
    values = changed("count", "total") | {"ratios": [50]}
    values["panels"][0]["methods"] = ["control"]
    del values["methods"]
    path = write(tmp_path, values)
    check_feasible(load(path), path, {"digits": Shape(1, 8, 10)})


def test_a_network_too_large_for_the_images(tmp_path):
    path = write(tmp_path, changed("panels.0.architectures", ["lenet5"]))
    with pytest.raises(StudyError) as caught:
        check_feasible(load(path), path, {"digits": Shape(1, 8, 10)})
    told = str(caught.value)
    for word in (str(path), "'panels'", "lenet5", "12 x 12", "digits has 8", "mlp, cnn"):
        assert word in told


def test_there_are_studies_to_check():
    assert {"test", "digits", "mnist", "fashion_mnist", "cifar"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_is_valid_and_feasible(path):
    study = load(path)
    shapes = {
        name: FROM_FILES[name] if dataset.facts.needs_path else describe(**dataset.which())
        for name, dataset in study.datasets.items()
    }
    check_feasible(study, path, shapes)
    assert study.facts()["name"] == path.stem
    json.dumps(study.facts(), allow_nan=False)


def test_the_published_plan_is_in_the_cifar_study():
    """The paper's 15 panels (docs/methods.md, section 2) less LeNet's two, with the control."""
    study = load(REPOSITORY / "config" / "studies" / "cifar.yaml")
    published = {
        *(
            ("cifar10", f"resnet{n}", m)
            for n in (20, 32, 44, 56, 110)
            for m in ("magnitude", "undecayed")
        ),
        ("cifar10", "resnet56", "gradient"),
        ("cifar10", "resnet56", "random"),
        ("cifar100", "resnet56", "magnitude"),
    }
    cells = set(study.cells())
    for dataset, architecture, method in published:
        for ratio in (2, 4, 10, 20, 50):
            assert (dataset, architecture, "published", method, ratio) in cells
        assert (dataset, architecture, "published", "control", 1) in cells
    recipe = study.recipes["published"]
    assert sum(phase.epochs for phase in recipe.training.phases) == 60
    assert sum(phase.epochs for phase in recipe.finetuning.phases) == 25
    assert study.seeds == 30


def test_the_schema_in_the_repository_is_the_generated_one():
    written = (REPOSITORY / "config" / "study.schema.json").read_text(encoding="utf-8")
    assert written == study_module.schema(), (
        "config/study.schema.json is out of date; regenerate it with "
        "`python -m recall_distortion.study > config/study.schema.json`"
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_schema_accepts_the_shipped_studies(path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(study_module.schema())
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(values)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(values | {"sedes": 1})
