"""A study's file is read strictly; the command line may override its plain values."""

from __future__ import annotations

import pytest
import yaml
from study_helpers import VALID, changed, message, write

from recall_distortion import study as study_module
from recall_distortion.study import Study, load


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
