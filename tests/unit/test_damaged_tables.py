"""Damaged and contradicting tables: what is told, where, and that nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from core_helpers import REPOSITORY
from damaged_helpers import message

from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table

STUDY_TABLES = REPOSITORY / "results/digits/tables"
INFERRED = ("estimates", "tests", "published")


def few_lines(name: str, path: Path) -> list[str]:
    """Return the first lines of a shipped table, which hold whole networks, and write them."""
    lines = (STUDY_TABLES / f"{name}.csv").read_text().splitlines(keepends=True)[:31]
    path.write_text("".join(lines))
    return lines


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",121,", ",120,", r"line 2, column recall: '0.968' does not follow from correct and"),
        ("0.968,", "0.908,", r"line 2, column recall: '0.908' does not follow"),
        ("0.968,", "9.968,", r"line 2, column recall: '9.968' is not a number from 0 to 1"),
        (",125,", ",I25,", r"line 2, column support: 'I25' is not a number"),
        ("dense,1,", "dense,0.5,", r"line 2, column ratio: '0.5' is not a ratio from 1 on"),
        ("dense,0,0,", "dense,-1,0,", r"line 2, column seed: '-1' is not a whole number"),
        ("dense,0,0,", "dense,0,0\n", r"damaged \(line 2 has 8 cells for 20 columns\)"),
        ("0.0284", "0.0294", r"line 2, column balance"),
        ("digits,cnn", 'digits,"cnn', r"damaged"),
    ],
)
def test_a_change_in_a_table_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "recall.csv"
    lines = few_lines("recall", path)
    read_table(path, "recall")
    assert old in lines[1]
    path.write_text("".join([lines[0], lines[1].replace(old, new, 1), *lines[2:]]))
    text = message(TableError, read_table, path, "recall")
    assert text.startswith(str(path))
    assert re.search(words, text)
    assert "delete it and run the study again" in text


@pytest.mark.parametrize("lost", [1, 5, 60])
def test_a_table_that_is_cut_off(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "recall.csv"
    few_lines("recall", path)
    path.write_bytes(path.read_bytes()[:-lost])
    assert "damaged (" in message(TableError, read_table, path, "recall")


def test_a_table_of_words_where_truths_belong(tmp_path: Path) -> None:
    path = tmp_path / "tests.csv"
    few_lines("tests", path)
    path.write_text(path.read_text().replace(",True,", ",Truf,", 1))
    text = message(TableError, read_table, path, "tests")
    assert "column paired: 'Truf' is not True or False" in text


@pytest.fixture(scope="module")
def magnitude(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped study's tables of one network and one method."""
    folder = tmp_path_factory.mktemp("magnitude")
    arms = ("dense", "control", "magnitude", "reseed")
    for name in ("recall", "networks"):
        lines = (STUDY_TABLES / f"{name}.csv").read_text().splitlines(keepends=True)
        keep = tuple(f"digits,cnn,small,{arm}," for arm in arms)
        kept = [lines[0], *(line for line in lines if line.startswith(keep))]
        (folder / f"{name}.csv").write_text("".join(kept))
    return folder


@pytest.mark.parametrize(
    ("name", "method", "column", "words"),
    [
        ("networks", "control", "alpha", "alpha is contradicted for control at 1, retrained"),
        ("networks", "control", "accuracy", "accuracy is contradicted for control at 1"),
        ("networks", "control", "accuracy_before", "accuracy_before is contradicted for control"),
        ("networks", "dense", "accuracy", "accuracy is contradicted for dense at 1, dense, seed 0"),
        ("networks", "control", "alpha_crossfit", "alpha_crossfit is contradicted for control"),
        ("networks", "control", "crossfit_numerator", "alpha_crossfit is contradicted for control"),
        ("networks", "control", "method", "networks.csv lacks, but"),
        ("networks", "control", "seed", "networks.csv lacks, but"),
        ("networks", "magnitude", "realised_ratio", "realised_ratio does not follow from the"),
        ("networks", "magnitude", "total", "column total: '3658.001' is not a whole number from 0"),
        ("networks", "magnitude", None, "networks.csv lacks, but"),
        ("recall", "control", None, "rows are missing or changed for control at 1, retrained"),
    ],
)
def test_tables_that_contradict_each_other_stop_the_inference(
    tmp_path: Path, magnitude: Path, name: str, method: str, column: str | None, words: str
) -> None:
    for path in magnitude.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / f"{name}.csv"
    lines = path.read_text().splitlines(keepends=True)
    row = next(i for i, line in enumerate(lines) if line.startswith(f"digits,cnn,small,{method},"))
    if column is None:
        del lines[row]
    else:
        cells = lines[row].rstrip("\n").split(",")
        place = lines[0].rstrip("\n").split(",").index(column)
        words_of = {"method": "controm", "seed": "77"}
        cells[place] = words_of.get(column) or str(float(cells[place]) + 0.001)
        lines[row] = ",".join(cells) + "\n"
    path.write_text("".join(lines))
    inputs = [tmp_path / f"{part}.csv" for part in ("recall", "networks")]
    outputs = {part: tmp_path / "out" / f"{part}.csv" for part in INFERRED}
    text = message(TableError, write_estimates, *inputs, outputs, architectures={})
    assert words in text
    assert str(path) in text
    assert "run the study again" in text
    assert not (tmp_path / "out").exists()
