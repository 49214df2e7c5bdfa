"""A study is strict: what is wrong in it is told with the file, the key and what is valid."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from core_helpers import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from recall_distortion import study as study_module
from recall_distortion.catalogue import ARCHITECTURES, CRITERIA, SOURCES
from recall_distortion.data import Shape, describe
from recall_distortion.errors import StudyError
from recall_distortion.study import METHODS, Study, check_feasible, format_ratio, load

RECIPE = {
    "training": {"phases": [{"epochs": 4, "learning_rate": 0.05}], "weight_decay": 0.0005},
    "finetuning": {"phases": [{"epochs": 2, "learning_rate": 0.05}]},
}
VALID = {
    "description": "A study.",
    "seeds": 3,
    "datasets": {"digits": {"source": "digits"}},
    "recipes": {"tiny": RECIPE},
    "methods": {"mine": {"criterion": "magnitude", "scope": "layer"}},
    "panels": [
        {"dataset": "digits", "architectures": ["mlp"], "methods": ["control", "magnitude", "mine"]}
    ],
    "ratios": [2, 10],
    "count": "prunable",
    "jobs": {"replicates": 2},
}
SHIPPED = sorted((REPOSITORY / "config" / "studies").glob("*.yaml"))


def changed(key: str, value: object) -> dict:
    """Return the valid study with one value set, by a dotted key; ``...`` removes it."""
    values = copy.deepcopy(VALID)
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    place = values
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return values


def write(folder: Path, values: object, name: str = "mystudy.yaml") -> Path:
    path = folder / name
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False))
    return path


def message(path: Path, overrides: dict | None = None) -> str:
    with pytest.raises(StudyError) as caught:
        load(path, overrides)
    text = str(caught.value)
    assert "pydantic" not in text
    assert "Traceback" not in text
    return text


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
    ("ratios", [], "ratios", ["at least 1 item"]),
    ("ratios", [1], "ratios.0", ["greater than 1"]),
    ("ratios", [2, -4], "ratios.1", ["greater than 1"]),
    ("ratios", [2, 4, 2.0], "ratios", ["listed twice"]),
    ("ratios", ["2"], "ratios.0", ["number"]),
    ("ratios", [float("nan")], "ratios.0", ["not nan"]),
    ("count", "weights", "count", ["'total' or 'prunable'", "'weights'"]),
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
    ("datasets", {"Big": {"source": "digits"}}, "datasets.Big", ["pattern"]),
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
    ("methods.mine.scope", "channel", "methods.mine.scope", ["'global' or 'layer'"]),
    ("methods.mine.schedule", "iterative", "methods.mine.schedule", ["'one_shot'"]),
    ("methods.mine.criterion", "undecayed_signed", "methods.mine", ["scope: global"]),
    ("methods.mine.epsilon", -1, "methods.mine.epsilon", ["greater than or equal to 0"]),
    ("methods.mine.gradient_examples", 0, "methods.mine.gradient_examples", ["1, not 0"]),
    ("methods.gradient", {"criterion": "gradient"}, None, ["methods: 'gradient'", "built in"]),
    ("methods.control", {"criterion": "gradient"}, None, ["methods: 'control'", "built in"]),
    ("methods.reseed", {"criterion": "gradient"}, None, ["methods: 'reseed'", "built in"]),
    ("methods.other", {"criterion": "gradient"}, None, ["methods.other", "no panel uses it"]),
    (
        "panels.0.architectures",
        ["vgg16"],
        "panels.0.architectures.0",
        ["'vgg16'", *ARCHITECTURES],
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
    text = message(write(tmp_path, values))
    for word in ("jobs.ratios", "1-2-3-", "83 characters of at most 80", "carry fewer"):
        assert word in text
    values["jobs"]["ratios"] = 29
    assert load(write(tmp_path, values)).jobs.ratios == 29


def test_one_dense_network_has_one_recipe(tmp_path):
    values = copy.deepcopy(VALID)
    values["recipes"]["other"] = RECIPE
    values["panels"][0]["recipe"] = "tiny"
    values["panels"].append({**values["panels"][0], "recipe": "other"})
    text = message(write(tmp_path, values))
    assert "panels.1.recipe" in text
    assert "mlp on digits" in text


def test_two_studies_mixed_in_one_file(tmp_path):
    text = yaml.safe_dump(VALID, sort_keys=False)
    told = message(write(tmp_path, text + text))
    line = len(text.splitlines()) + 1
    assert told.startswith(f"{tmp_path / 'mystudy.yaml'}, line {line}: the key 'description'")
    assert "twice" in told
    assert "two studies" in told
    assert "single document" in message(write(tmp_path, text + "---\n" + text))


def test_a_key_that_stands_twice_deep_in_the_file(tmp_path):
    text = yaml.safe_dump(VALID, sort_keys=False)
    text = text.replace("    source: digits\n", "    source: digits\n    source: mnist\n")
    assert "line 6: the key 'source' stands twice" in message(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "mapping"),
        ("- seeds\n- ratios\n", "mapping"),
        ("seeds: [1,\n", "line 2"),
        ("seeds: 3\n\tratios: [2]\n", "line 2"),
        ("seeds: 3\n1: 2\n", "key 1 is not a text"),
        ("seeds: 3\n? [a]\n: 2\n", "not a text"),
        ("seeds: !!python/object/apply:os.getcwd []\n", "constructor"),
        ("seeds: 2026-13-01\n", "not valid YAML"),
        ("description: a\0b\n", "not valid YAML"),
        ("seeds: &a [*a]\n", "recursive"),
    ],
)
def test_what_is_not_a_mapping_of_plain_yaml(tmp_path, text, word):
    told = message(write(tmp_path, text))
    assert told.startswith(str(tmp_path / "mystudy.yaml"))
    assert word in told


def test_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "mystudy.yaml"
    path.write_bytes(yaml.safe_dump(VALID).encode() + "# für".encode("latin-1"))
    told = message(path)
    assert str(path) in told
    assert "UTF-8" in told


def test_a_missing_file_names_those_that_are_there(tmp_path):
    write(tmp_path, VALID, "one.yaml")
    write(tmp_path, VALID, "two.yaml")
    told = message(tmp_path / "three.yaml")
    assert "three.yaml" in told
    assert "one, two" in told
    (tmp_path / "folder.yaml").mkdir()
    assert "folder.yaml" in message(tmp_path / "folder.yaml")


@pytest.mark.parametrize("name", ["my study.yaml", "study.yml", "a+b.yaml", "-x.yaml"])
def test_a_name_that_cannot_name_a_folder(tmp_path, name):
    assert "ends in .yaml" in message(write(tmp_path, VALID, name))


@pytest.mark.parametrize("text", ["5e-4", "5.0e-4", "5E-04", "0.0005", ".5e-3", "+5e-4"])
def test_numbers_with_exponents_are_numbers(tmp_path, text):
    content = yaml.safe_dump(VALID).replace("weight_decay: 0.0005", f"weight_decay: {text}")
    study = load(write(tmp_path, content))
    assert study.recipes["tiny"].training.weight_decay == 5e-4


def test_a_quoted_number_and_a_version_stay_texts(tmp_path):
    content = yaml.safe_dump(changed("description", "XX")).replace("XX", "'5e-4'")
    assert load(write(tmp_path, content)).description == "5e-4"
    content = yaml.safe_dump(changed("description", "XX")).replace("XX", "1e4x")
    assert load(write(tmp_path, content)).description == "1e4x"


# Overrides of the command line


@pytest.mark.parametrize("key", sorted(set(Study.model_fields) - set(study_module.OVERRIDES)))
def test_structure_is_not_overridden(tmp_path, key):
    told = message(write(tmp_path, VALID), {key: VALID.get(key)})
    assert f"'{key}'" in told
    assert "file under config/studies" in told


def test_an_unknown_override_names_what_is_valid(tmp_path):
    told = message(write(tmp_path, VALID), {"sedes": 5})
    assert told.startswith("command line")
    assert "'sedes'" in told
    for key in (*study_module.OVERRIDES, "study", "data_root", "gpus"):
        assert key in told


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", 0),
        ("seeds", "5"),
        ("ratios", 2),
        ("ratios", [0.5]),
        ("ratios", [2, 2]),
        ("count", "all"),
        ("selection", None),
        ("level", 1.5),
        ("crossfit_splits", True),
        ("first_seed", -1),
        ("deterministic", 1),
        ("deterministic", "yes"),
    ],
)
def test_an_override_is_checked_as_the_file_is(tmp_path, key, value):
    in_file = message(
        write(tmp_path, changed(key, value) if key in VALID else VALID | {key: value})
    )
    told = message(write(tmp_path, VALID), {key: value})
    assert told == in_file.replace(str(tmp_path / "mystudy.yaml"), "command line")


def test_an_override_does_not_mend_a_wrong_file(tmp_path):
    path = write(tmp_path, changed("seeds", 0))
    assert message(path, {"seeds": 5}).startswith(f"{path}: key 'seeds'")


def test_an_override_names_its_own_folder(tmp_path):
    path = write(tmp_path, VALID)
    study = load(path, {"seeds": 5})
    assert study.seeds == 5
    assert study.folder == "mystudy+seeds=5"
    assert load(path, {"deterministic": True}).folder == "mystudy+deterministic=true"
    assert load(path, {"deterministic": False}).folder == "mystudy"
    both = load(path, {"seeds": 5, "ratios": [2.5, 4]}).folder
    assert both == load(path, {"ratios": [4, 2.5], "seeds": 5}).folder
    folders = {
        load(path, overrides).folder
        for overrides in (
            {},
            {"seeds": 5},
            {"seeds": 6},
            {"first_seed": 5},
            {"ratios": [2]},
            {"ratios": [2, 4]},
            {"ratios": [2.5]},
            {"level": 0.95},
            {"count": "total"},
            {"selection": "test"},
            {"crossfit_splits": 5},
        )
    }
    assert len(folders) == 11


@pytest.mark.parametrize(
    "overrides",
    [{"seeds": 3}, {"ratios": [2, 10]}, {"ratios": [10, 2.0]}, {"level": 0.99}, {"first_seed": 0}],
)
def test_an_override_that_changes_nothing_names_no_folder(tmp_path, overrides):
    assert load(write(tmp_path, VALID), overrides).folder == "mystudy"


# Blocks, bundles, networks


@given(seeds=st.integers(1, 60), more=st.integers(0, 60), size=st.integers(1, 20))
def test_adding_seeds_keeps_the_full_blocks(seeds, more, size):
    def blocks(count):
        values = changed("jobs.replicates", size) | {"seeds": count, "first_seed": 7}
        return Study.model_validate(values).blocks()

    before, after = blocks(seeds), blocks(seeds + more)
    for found, count in ((before, seeds), (after, seeds + more)):
        assert [seed for part in found.values() for seed in part] == list(range(7, 7 + count))
        assert all(len(part) <= size for part in found.values())
        for name, part in found.items():
            first, last = (int(number) for number in name.removeprefix("seeds-").split("-"))
            assert part == list(range(first, last + 1))
    for name, part in before.items():
        if len(part) == size or not more:
            assert after[name] == part


def test_networks_gather_the_methods_of_all_panels():
    values = copy.deepcopy(VALID)
    values["panels"] += [
        {"dataset": "digits", "architectures": ["cnn", "mlp"], "methods": ["mine", "random"]}
    ]
    study = Study.model_validate(values)
    found = {(n.dataset, n.architecture): n.methods for n in study.networks()}
    assert found == {
        ("digits", "mlp"): ("control", "magnitude", "mine", "random"),
        ("digits", "cnn"): ("mine", "random"),
    }
    with pytest.raises(StudyError, match="no lenet5 on digits"):
        study.network("digits", "lenet5")
    cells = list(study.cells())
    assert len(cells) == len(set(cells)) == 1 + 3 * 2 + 2 * 2
    assert [cell for cell in cells if cell[2] == "control"] == [("digits", "mlp", "control", 1.0)]


@pytest.mark.parametrize("count", [1, 4, 5, 10])
def test_every_network_has_its_fits_in_one_job_and_the_last_one_goes_across(count):
    values = copy.deepcopy(VALID)
    values["datasets"] = {f"set_{n}": {"source": "digits"} for n in range(count)}
    panel = values["panels"][0]
    values["panels"] = [panel | {"dataset": name} for name in values["datasets"]]
    study = Study.model_validate(values)
    fits = study.fits()
    carried = [network for job in fits.values() for network in job["networks"]]
    assert carried == [(n.dataset, n.architecture) for n in study.networks()]
    assert [job["across"] for job in fits.values()] == [False] * (len(fits) - 1) + [True]
    for name, job in fits.items():
        first, last = (int(number) for number in name.removeprefix("networks-").split("-"))
        assert carried[first - 1 : last] == job["networks"]
        assert len(job["networks"]) <= 4


@given(
    chosen=st.lists(st.sampled_from(["control", *sorted(METHODS)]), min_size=1, unique=True),
    bundled=st.lists(st.sampled_from(["control", *sorted(METHODS)]), unique=True),
    cut=st.integers(0, 9),
)
def test_bundles_hold_each_method_of_a_network_once(chosen, bundled, cut):
    values = copy.deepcopy(VALID)
    del values["methods"]
    values["panels"][0]["methods"] = chosen
    values["jobs"]["bundles"] = {"one": bundled[:cut], "two": bundled[cut:]}
    study = Study.model_validate(values)
    bundles = study.bundles("digits", "mlp")
    assert sorted(m for methods in bundles.values() for m in methods) == sorted(chosen)
    for name, methods in bundles.items():
        assert methods
        if name in ("one", "two"):
            assert set(methods) <= set(values["jobs"]["bundles"][name])
        else:
            assert methods == (name,)
            assert name not in bundled
        expected = ["1"] if "control" in methods else []
        expected += ["2", "10"] if set(methods) != {"control"} else []
        assert study.ratio_groups("digits", "mlp", name) == {ratio: [ratio] for ratio in expected}


@pytest.mark.parametrize(
    ("methods", "size", "expected"),
    [
        (["control", "random"], 1, ["1", "2", "2.5", "10", "50"]),
        (["control", "random"], 2, ["1-2", "2.5-10", "50"]),
        (["random", "control"], 5, ["1-2-2.5-10-50"]),
        (["random", "control"], 99, ["1-2-2.5-10-50"]),
        (["random", "gradient"], 3, ["2-2.5-10", "50"]),
        (["control"], 3, ["1"]),
    ],
)
def test_a_job_carries_consecutive_ratios_and_the_control_its_own(methods, size, expected):
    values = changed("jobs", {"ratios": size, "bundles": {"some": methods}})
    values["ratios"] = [50, 2.5, 2, 10]
    values["panels"] = [
        {"dataset": "digits", "architectures": ["mlp"], "methods": [*methods, "mine"]},
        {"dataset": "digits", "architectures": ["cnn"], "methods": [methods[0]]},
    ]
    study = Study.model_validate(values)
    groups = study.ratio_groups("digits", "mlp", "some")
    assert list(groups) == expected
    for name, ratios in groups.items():
        assert "-".join(ratios) == name
    # A method of no bundle, and another network of which the bundle holds less.
    pruning = [
        ratio for group in study.ratio_groups("digits", "mlp", "mine").values() for ratio in group
    ]
    assert pruning == ["2", "2.5", "10", "50"]
    found = [
        ratio for group in study.ratio_groups("digits", "cnn", "some").values() for ratio in group
    ]
    assert found == (["1"] if methods[0] == "control" else pruning)


@given(
    ratios=st.lists(st.integers(2, 99), min_size=1, max_size=8, unique=True),
    size=st.integers(1, 9),
    bundled=st.booleans(),
)
def test_jobs_cover_every_cell_once_however_they_are_cut(ratios, size, bundled):
    values = changed("jobs.ratios", size) | {"ratios": ratios}
    values["jobs"]["bundles"] = {"some": ["control", "magnitude"]} if bundled else {}
    study = Study.model_validate(values)
    covered = [
        (network.dataset, network.architecture, method, float(ratio))
        for network in study.networks()
        for bundle, methods in study.bundles(network.dataset, network.architecture).items()
        for group in study.ratio_groups(network.dataset, network.architecture, bundle).values()
        for ratio in group
        for method in methods
        if (method == "control") == (ratio == "1")
    ]
    assert sorted(covered) == sorted(study.cells())


def test_what_decides_a_result_is_complete_and_nothing_else():
    study = Study.model_validate(VALID)
    training = study.training_parameters("digits", "mlp")
    assert set(training) == {"recipe", "selection", "engine"}
    assert training["engine"] == {"engine": "auto", "at_once": None, "precision": "float32"}
    assert training["recipe"]["weight_decay"] == 0.0005
    assert not study.deterministic
    mine = study.compression_parameters("digits", "mlp", "mine")
    assert mine["methods"]["mine"]["epsilon"] == 0.0005  # by default the training's weight decay
    assert mine["recipe"]["weight_decay"] == 0.0
    assert study.compression_parameters("digits", "mlp", "control")["methods"] == {"control": None}
    for values in (
        changed("seeds", 99),
        changed("jobs.replicates", 9),
        changed("jobs.ratios", 9),
        changed("ratios", [3]),
    ):
        other = Study.model_validate(values)
        assert other.training_parameters("digits", "mlp") == training
        assert other.compression_parameters("digits", "mlp", "mine") == mine
    own = Study.model_validate(changed("methods.mine.epsilon", 0.0))
    parameters = own.compression_parameters("digits", "mlp", "mine")
    assert parameters["methods"]["mine"]["epsilon"] == 0.0
    json.dumps([training, mine])  # plain values, as Snakemake's params need


@pytest.mark.parametrize(
    ("ratio", "text"), [(2.0, "2"), (2.5, "2.5"), (50, "50"), (1e6, "1000000")]
)
def test_ratios_in_file_names(ratio, text):
    assert format_ratio(ratio) == text
    assert float(text) == ratio


# Feasibility


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
        name: describe(dataset.source, path=dataset.path)
        for name, dataset in study.datasets.items()
        if not SOURCES[dataset.source].needs_path
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
            assert (dataset, architecture, method, ratio) in cells
        assert (dataset, architecture, "control", 1) in cells
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
