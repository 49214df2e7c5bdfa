"""Study files and names that are none: what is told, and that nothing is run."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest
import yaml
from core_helpers import REPOSITORY
from damaged_helpers import message

from recall_distortion.configuration import configure
from recall_distortion.study import load, parse
from recall_distortion.system.errors import StudyError

HOSTILE_NAMES = [
    "../digits", "/etc/passwd", "", ".", "a/b", "x" * 5000, "; $(touch owned)", "`id`", "a\nb",
    "digits.yaml", "*", "{x}", "\0",
]  # fmt: skip


# Studies and names


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_is_no_path_and_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config/studies"
    folder.mkdir(parents=True)
    text = (REPOSITORY / "config/studies/test.yaml").read_text()
    (folder / "digits.yaml").write_text(text)
    (tmp_path / "config/digits.yaml").write_text(text)
    told = message(StudyError, configure, {"study": name, "data_root": "data", "gpus": 0})
    assert "there is no study" in told
    assert "valid: digits" in told
    assert not (tmp_path / "owned").exists()
    # The same name for what a study file names.
    for key in ("datasets", "recipes"):
        match = re.search(rf"^{key}:\n  (\w+):", text, re.MULTILINE)
        assert match
        quoted = '"' + name.encode("unicode_escape").decode().replace('"', '\\"') + '"'
        (folder / "other.yaml").write_text(text.replace(f"\n  {match[1]}:", f"\n  {quoted}:", 1))
        told = message(StudyError, load, folder / "other.yaml")
        assert str(folder / "other.yaml") in told


NESTED = "x: &a [2, 2, 2, 2, 2, 2, 2, 2, 2]\n" + "".join(
    f"x{i}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for i, (a, b) in enumerate(itertools.pairwise("abcdefghi"))
)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # YAML 1.1 would read 8, 90 and 3661.
        ("seeds: 3", "seeds: 010", "not '010'"),
        ("seeds: 3", "seeds: 1:30", "not '1:30'"),
        ("ratios: [2, 10]", "ratios: [2, 1:01:01.5]", "not '1:01:01.5'"),
        ("ratios: [2, 10]", "ratios: *i", "its aliases (*) mean more values"),
        ("seeds: 3", "seeds: " + "[" * 5000, "nested too deeply"),
        ("seeds: 3", "seeds: 2026-13-01", "not valid YAML: month must be in 1..12"),
        ("seeds: 3", "seeds: !!python/object/apply:os.system [touch owned]", "line 3: could not"),
    ],
)
def test_a_study_file_means_what_it_seems_to_say(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    text = (REPOSITORY / "config/studies/test.yaml").read_text()
    assert old in text
    path = tmp_path / "other.yaml"
    path.write_text((NESTED if "*i" in new else "") + text.replace(old, new, 1))
    told = message(StudyError, load, path)
    assert told.startswith(str(path))
    assert words in told
    assert len(told) < 10_000


@pytest.mark.parametrize("value", ["2026-13-01", "[" * 5000, "!!python/name:os.system"])
def test_a_value_of_the_command_line_that_is_none(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(REPOSITORY)
    told = message(StudyError, configure, {"study": "test", "gpus": 0, "seeds": value})
    assert told.startswith("command line: key 'seeds': ")
    assert told.endswith(" is not a value")


def test_shipped_studies_have_the_numbers_that_they_had() -> None:
    """The stricter reading of numbers changes none of them."""

    class Exponents(yaml.SafeLoader):
        """YAML 1.1 with 5e-4 as the number it is."""

    Exponents.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^\d+e-?\d+$"), list("0123456789")
    )
    files = sorted((REPOSITORY / "config/studies").glob("*.yaml"))
    assert len(files) > 4
    for path in files:
        assert parse(path.read_text()) == yaml.load(path.read_text(), Exponents)


def test_a_pipe_is_no_study(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "other.yaml")
    assert "other.yaml: is no file" in message(StudyError, load, tmp_path / "other.yaml")
