"""A study is strict: what is wrong in it is told with the file, the key and what is valid."""

from __future__ import annotations

import copy

import pytest
from study_helpers import RECIPE, VALID, changed, message, write

from recall_distortion.compression.facts import CRITERIA
from recall_distortion.data.preparing import describe
from recall_distortion.data.sources import SOURCES
from recall_distortion.networks.plans import KNOWN
from recall_distortion.study import METHODS, check_feasible, load
from recall_distortion.system.errors import StudyError


def test_the_valid_study_is_valid(tmp_path):
    study = load(write(tmp_path, VALID))
    assert (study.name, study.folder) == ("mystudy", "mystudy")
    assert study.seeds == 3
    assert study.ratios == [2, 10]


# Each a key, a value, what the message names besides the file, and (where it differs) the key told.
WRONG = [
    ("sedes", 3, "sedes", ["unknown key", "seeds", "panels"]),
    ("datasets.digits.sorce", "x", "datasets.digits.sorce", ["unknown key", "source", "holdout"]),
    ("recipes.tiny.nesterov", True, "recipes.tiny.nesterov", ["unknown key", "finetuning"]),
    (
        "recipes.tiny.training.lr",
        1,
        "recipes.tiny.training.lr",
        ["unknown key", "phases", "momentum"],
    ),
    (
        "recipes.tiny.training.phases.0.epoch",
        1,
        "recipes.tiny.training.phases.0.epoch",
        ["unknown key", "epochs", "learning_rate"],
    ),
    (
        "recipes.tiny.training.cosine",
        {"epochs": 3, "lr": 0.1},
        "recipes.tiny.training.cosine.lr",
        ["unknown key", "learning_rate", "eta_min"],
    ),
    ("methods.mine.eps", 1, "methods.mine.eps", ["unknown key", "epsilon", "criterion"]),
    ("panels.0.method", "x", "panels.0.method", ["unknown key", "methods", "architectures"]),
    ("jobs.size", 2, "jobs.size", ["unknown key", "replicates", "bundles"]),
    ("seeds", 0, "seeds", ["greater than or equal to 1", "not 0"]),
    ("seeds", "many", "seeds", ["integer", "'many'"]),
    ("seeds", 2.5, "seeds", ["integer", "2.5"]),
    ("seeds", True, "seeds", ["integer", "True"]),
    ("seeds", ..., "seeds", ["required"]),
    ("first_seed", -1, "first_seed", ["greater than or equal to 0"]),
    ("first_seed", 2**31, "first_seed", ["less than"]),
    ("description", "", "description", ["at least 1 character"]),
    ("ratios", [], None, ["ratios: magnitude, mine would run at them", "say which"]),
    ("ratios", [1], "ratios.0", ["greater than 1"]),
    ("ratios", [2, -4], "ratios.1", ["greater than 1"]),
    ("ratios", [2, 4, 2.0], "ratios", ["listed twice"]),
    ("ratios", ["2"], "ratios.0", ["number"]),
    ("methods.mine.ratios", [2, 4, 2.0], "methods.mine.ratios", ["listed twice"]),
    ("methods.mine.ratios", [], "methods.mine.ratios", ["at least 1 item"]),
    ("methods.mine.ratios", [1], "methods.mine.ratios.0", ["greater than 1"]),
    ("ratios", [float("nan")], "ratios.0", ["not nan"]),
    ("count", "weights", "count", ["'total', 'prunable' or 'multiply_adds'", "'weights'"]),
    ("selection", "train", "selection", ["'holdout' or 'test'"]),
    ("level", 99, "level", ["less than 1", "99"]),
    ("level", 0.5, "level", ["greater than 0.5"]),
    ("crossfit_splits", 0, "crossfit_splits", ["greater than or equal to 1"]),
    ("jobs.replicates", 0, "jobs.replicates", ["greater than or equal to 1"]),
    ("datasets.digits.source", "imagenet", "datasets.digits.source", ["'imagenet'", *SOURCES]),
    ("datasets.digits.holdout", 1, "datasets.digits.holdout", ["less than 1"]),
    ("datasets.digits.test_fraction", 0, "datasets.digits.test_fraction", ["greater than 0"]),
    ("datasets.digits.path", "x.npz", "datasets.digits", ["takes no path", "arrays", "folder"]),
    ("datasets.digits.source", "arrays", "datasets.digits", ["needs a path"]),
    (
        "datasets.digits",
        {"source": "mnist", "test_fraction": 0.5},
        "datasets.digits",
        ["has a test set"],
    ),
    ("datasets", {"Big": {"source": "digits"}}, "datasets.Big", ["with a letter", "not 'Big'"]),
    ("datasets", {}, "datasets", ["at least 1 item"]),
    ("datasets.more", {"source": "mnist"}, None, ["datasets.more", "no panel uses it"]),
    ("recipes.more", RECIPE, None, ["panels.0.recipe", "tiny", "more"]),
    ("recipes.tiny.training.phases", [], "recipes.tiny.training.phases", ["at least 1 item"]),
    (
        "recipes.tiny.training.phases.0.epochs",
        0,
        "recipes.tiny.training.phases.0.epochs",
        ["greater than or equal to 1"],
    ),
    (
        "recipes.tiny.training.phases.0.learning_rate",
        0,
        "recipes.tiny.training.phases.0.learning_rate",
        ["greater than 0"],
    ),
    ("recipes.tiny.training.momentum", 1, "recipes.tiny.training.momentum", ["less than 1"]),
    ("recipes.tiny.training.batch_size", 0, "recipes.tiny.training.batch_size", ["1, not 0"]),
    (
        "recipes.tiny.training.weight_decay",
        float("inf"),
        "recipes.tiny.training.weight_decay",
        ["finite"],
    ),
    (
        "recipes.tiny.training.augmentation",
        ["rotate"],
        "recipes.tiny.training.augmentation.0",
        ["'flip' or 'crop'"],
    ),
    ("methods.mine.criterion", "taylor", "methods.mine.criterion", ["'taylor'", *CRITERIA]),
    ("methods.mine.scope", "channel", "methods.mine.scope", ["'global', 'layer' or 'erk'"]),
    ("methods.mine.schedule", "slowly", "methods.mine.schedule", ["'one_shot'"]),
    ("methods.mine.criterion", "undecayed_signed", "methods.mine", ["scope: global"]),
    (
        "methods.mine",
        {"criterion": "undecayed_signed", "scope": "erk"},
        "methods.mine",
        ["scope: global"],
    ),
    ("methods.mine.epsilon", -1, "methods.mine.epsilon", ["greater than or equal to 0"]),
    ("methods.mine.gradient_examples", 0, "methods.mine.gradient_examples", ["1, not 0"]),
    ("methods.gradient", {"criterion": "gradient"}, None, ["methods: 'gradient'", "built in"]),
    ("methods.control", {"criterion": "gradient"}, None, ["methods: 'control'", "built in"]),
    ("methods.reseed", {"criterion": "gradient"}, None, ["methods: 'reseed'", "built in"]),
    ("methods.one", {"criterion": "gradient"}, None, ["methods: 'one'", "a word of the tables"]),
    ("methods.zero", {"criterion": "gradient"}, None, ["methods: 'zero'", "a word of the tables"]),
    ("methods.all", {"criterion": "gradient"}, None, ["methods: 'all'", "another name"]),
    ("methods.other", {"criterion": "gradient"}, None, ["methods.other", "no panel uses it"]),
    (
        "panels.0.architectures",
        ["vgg16"],
        None,
        ["panels.0.architectures", "'vgg16'", *KNOWN, "under architectures"],
    ),
    ("panels.0.architectures", ["mlp", "mlp"], None, ["panels.0.architectures", "listed twice"]),
    ("panels.0.architectures", [], "panels.0.architectures", ["at least 1 item"]),
    (
        "panels.0.methods",
        ["magnitud", "mine"],
        None,
        ["panels.0.methods", "'magnitud'", "control", *METHODS, "mine"],
    ),
    (
        "panels.0.methods",
        ["mine", "reseed"],
        None,
        ["panels.0.methods", "reseed is no method to list", "between its dense networks"],
    ),
    ("panels.0.methods", ["mine", "mine"], None, ["panels.0.methods", "listed twice"]),
    ("panels.0.dataset", "mnist", None, ["panels.0.dataset", "'mnist'", "digits"]),
    ("panels.0.recipe", "big", None, ["panels.0.recipe", "'big'", "tiny"]),
    ("jobs.ratios", 0, "jobs.ratios", ["greater than or equal to 1", "not 0"]),
    ("jobs.ratios", "all", "jobs.ratios", ["integer", "'all'"]),
    ("jobs.ratios", [2, 10], "jobs.ratios", ["integer"]),
    (
        "jobs.bundles",
        {"some": ["magnitud"]},
        None,
        ["jobs.bundles.some", "unknown method", "control", "mine"],
    ),
    ("jobs.bundles", {"some": ["dense"]}, None, ["jobs.bundles.some", "unknown method 'dense'"]),
    ("jobs.bundles", {"control": ["mine"]}, None, ["jobs.bundles.control", "method's name"]),
    ("jobs.bundles", {"random": ["mine"]}, None, ["jobs.bundles.random", "method's name"]),
    ("jobs.bundles", {"dense": ["mine"]}, None, ["jobs.bundles.dense", "method's name"]),
    ("jobs.bundles", {"reseed": ["mine"]}, None, ["jobs.bundles.reseed", "method's name"]),
    ("jobs.bundles", {"some": ["mine", "mine"]}, None, ["jobs.bundles.some", "listed twice"]),
    (
        "jobs.bundles",
        {"some": ["mine"], "more": ["mine"]},
        None,
        ["jobs.bundles.more", "already in bundle 'some'"],
    ),
]


@pytest.mark.parametrize(("key", "value", "named", "words"), WRONG)
def test_a_wrong_value_is_told_with_file_key_and_what_is_valid(tmp_path, key, value, named, words):
    path = write(tmp_path, changed(key, value))
    text = message(path)
    assert text.startswith(str(path))
    if named is not None:
        assert f"key '{named}" in text
    for word in words:
        assert word in text


def test_one_error_tells_all_that_is_wrong(tmp_path):
    values = changed("seeds", 0) | {"level": 2, "count": "x"}
    lines = message(write(tmp_path, values)).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(str(tmp_path)) for line in lines)


def test_the_ratios_of_a_job_must_fit_into_a_files_name(tmp_path):
    values = changed("jobs.ratios", 50) | {"ratios": [float(r) for r in range(2, 32)]}
    values["jobs"]["bundles"] = {"some": ["control", "magnitude"]}
    text = message(write(tmp_path, values))
    for word in ("jobs.ratios", "1-2-3-", "83 characters of at most 80", "carry fewer"):
        assert word in text
    values["jobs"]["ratios"] = 29
    assert load(write(tmp_path, values)).jobs.ratios == 29
    values["jobs"] = {"ratios": 50}  # without the control's ratio there is room, but for a method's
    assert "81 characters" in message(write(tmp_path, values))
    values["ratios"] = [2]
    assert load(write(tmp_path, values)).jobs.ratios == 50
    values["methods"]["mine"]["ratios"] = [float(r) for r in range(2, 32)]
    assert "81 characters" in message(write(tmp_path, values))


def test_a_regularizer_that_finds_nothing_in_a_network_is_named_with_its_recipe(tmp_path):
    asked = {"batch_norm_l1": {"weight": 0.1}}
    path = write(tmp_path, changed("recipes.tiny.finetuning.regularizers", asked))
    shapes = {"digits": describe("digits", path=None)}
    words = r"recipes\.tiny: regularizer batch_norm_l1 finds nothing in mlp, which has no"
    with pytest.raises(StudyError, match=words):
        check_feasible(load(path), path, shapes)


def test_a_ratio_of_its_own_that_a_network_cannot_reach_is_named_with_its_method(tmp_path):
    path = write(tmp_path, changed("methods.mine.ratios", [2, 50]) | {"count": "total"})
    shapes = {"digits": describe("digits", path=None)}
    with pytest.raises(StudyError, match=r"'methods\.mine\.ratios': mlp .* cannot reach ratio 50"):
        check_feasible(load(path), path, shapes)
    values = changed("ratios", [2, 50]) | {"count": "total"}
    values["methods"]["mine"]["ratios"] = [2]
    path = write(tmp_path, values)
    with pytest.raises(StudyError, match=r"key 'ratios': mlp on digits cannot reach ratio 50"):
        check_feasible(load(path), path, shapes)


def test_the_names_of_a_jobs_files_fit_a_file_system(tmp_path):
    long, longer = "a" * 60, "b" * 60
    values = copy.deepcopy(VALID)
    values["datasets"] = {long: values["datasets"].pop("digits")}
    values["recipes"] = {longer: RECIPE}
    values["panels"][0]["dataset"] = long
    values["panels"][0]["methods"] = ["control"]
    values["methods"] = {}
    text = message(write(tmp_path, values))
    for word in ("panels", f"{long}-mlp-{longer}-control", "133 characters of at most 130"):
        assert word in text
    values["recipes"] = {longer[3:]: RECIPE}
    panel = load(write(tmp_path, values)).networks()[0].panel
    name = "-".join([*panel, "control", "2" * 80, "seeds-2147483646-2147483647"])
    assert len(f"compress-{name}") <= 255
