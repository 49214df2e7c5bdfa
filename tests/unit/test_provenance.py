"""A file gets back how it was made only if it is the file that was made so."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from recall_distortion.system import provenance, sealed
from recall_distortion.system.errors import DataError
from recall_distortion.system.files import write_json

STUDY = "results/study"
WEIGHTS = f"{STUDY}/dense/weights.safetensors"
FIT = f"{STUDY}/inference/fit.csv"
TABLE = f"{STUDY}/tables/table.csv"
INPUTS = {WEIGHTS: ["src/train.py"], FIT: [WEIGHTS], TABLE: [FIT]}


def record_of(name: str) -> Path:
    return Path("records", name.replace("/", "!"))


def mark_of(name: str) -> Path:
    return Path("marks", name.replace("/", "!"))


def write(name: str, content: str) -> None:
    path = Path(name)
    if path.suffix == ".safetensors":
        sealed.write(path, {"content": np.frombuffer(content.encode(), np.uint8)}, {})
    else:
        path.write_text(content)


def make(name: str, content: str, time: float) -> None:
    """Write a file and its record as the engine would."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(name, content)
    os.utime(path, (time, time))
    record = {
        "rule": path.stem,
        "input": INPUTS[name],
        "input_checksums": {part: f"sha256:{part}" for part in INPUTS[name]},
        "conda_env": "long",
        "job_hash": int(time),  # another in each process
        "starttime": time - 1,
        "endtime": path.stat().st_mtime,
    }
    record_of(name).parent.mkdir(exist_ok=True)
    record_of(name).write_text(json.dumps(record))


def record(name: str) -> dict:
    return json.loads(record_of(name).read_text())


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files, one made from the other, and what ``save`` says of them."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(INPUTS):
        make(name, f"content {number}", 1_700_000_000.123456 + number)
    provenance.save(STUDY, record_of)


def copy() -> None:
    """Do what a clone does: all files new, no records, nothing that is not shared."""
    shutil.rmtree("records")
    shutil.rmtree(Path(FIT).parent)
    for name in (WEIGHTS, TABLE):
        os.utime(name)


@pytest.mark.usefixtures("made")
def test_a_copy_gets_records_and_times_back() -> None:
    before = {name: record(name) for name in INPUTS}
    times = {name: Path(name).stat().st_mtime for name in (WEIGHTS, TABLE)}
    copy()
    assert provenance.restore(STUDY, record_of, mark_of).known == 2
    for name in INPUTS:
        assert record(name) == {k: v for k, v in before[name].items() if k != "conda_env"}
    for name, time in times.items():
        assert Path(name).stat().st_mtime == pytest.approx(time, rel=0, abs=1e-6)
    assert provenance.restore(STUDY, record_of, mark_of).known == 0
    assert not Path(FIT).exists()


@pytest.mark.usefixtures("made")
def test_a_copy_writes_down_the_same_again() -> None:
    before = Path(STUDY, provenance.NAME).read_bytes()
    copy()
    provenance.restore(STUDY, record_of, mark_of)
    provenance.save(STUDY, record_of)
    assert Path(STUDY, provenance.NAME).read_bytes() == before


@pytest.mark.usefixtures("made")
def test_foreign_weights_get_nothing_back_and_are_to_be_made_again() -> None:
    """Another study's, or an earlier run's that DVC put back."""
    copy()
    weights = Path(WEIGHTS).read_bytes()
    write(WEIGHTS, "another study's")
    time = Path(WEIGHTS).stat().st_mtime
    for known in (1, 0):
        assert provenance.restore(STUDY, record_of, mark_of) == (known, [WEIGHTS])
        assert not record_of(WEIGHTS).exists()
        assert Path(WEIGHTS).stat().st_mtime == time
        assert mark_of(WEIGHTS).exists()
    assert not mark_of(TABLE).exists()
    Path(WEIGHTS).write_bytes(weights)
    assert provenance.restore(STUDY, record_of, mark_of) == (1, [])
    assert not mark_of(WEIGHTS).exists()


@pytest.mark.usefixtures("made")
def test_foreign_weights_where_these_were_made_are_to_be_made_again() -> None:
    write(WEIGHTS, "another study's")
    assert provenance.restore(STUDY, record_of, mark_of) == (0, [WEIGHTS])
    make(WEIGHTS, "content 0", 1_800_000_000.5)  # the engine made them again, and took its mark
    mark_of(WEIGHTS).unlink()
    assert provenance.restore(STUDY, record_of, mark_of) == (0, [])


@pytest.mark.usefixtures("made")
def test_damaged_weights_are_left_to_who_reads_them() -> None:
    Path(WEIGHTS).write_bytes(Path(WEIGHTS).read_bytes()[:-1])
    assert provenance.restore(STUDY, record_of, mark_of) == (0, [])
    assert not mark_of(WEIGHTS).exists()


@pytest.mark.usefixtures("made")
def test_a_table_beside_weights_is_named_unless_they_are_foreign_too() -> None:
    beside = f"{STUDY}/dense/weights.history.csv"
    INPUTS[beside] = []
    try:
        make(beside, "loss", 1_700_000_000.5)
    finally:
        del INPUTS[beside]
    provenance.save(STUDY, record_of)
    Path(beside).write_text("edited")
    with pytest.raises(DataError, match=rf"^{beside}: not what the study wrote"):
        provenance.restore(STUDY, record_of, mark_of)
    write(WEIGHTS, "another study's")
    assert provenance.restore(STUDY, record_of, mark_of) == (0, [beside, WEIGHTS])


@pytest.mark.usefixtures("made")
def test_the_engines_own_mark_stays() -> None:
    write_json(mark_of(WEIGHTS), {"external_jobid": None})
    write(WEIGHTS, "half of the next run")
    assert provenance.restore(STUDY, record_of, mark_of) == (0, [])
    assert mark_of(WEIGHTS).exists()


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("keeps_its_time", [True, False])
def test_a_table_that_was_changed_is_named_and_left(copied: bool, keeps_its_time: bool) -> None:
    if copied:
        copy()
    time = Path(TABLE).stat().st_mtime
    Path(TABLE).write_text("edited")
    if keeps_its_time:
        os.utime(TABLE, (time, time))
    for _ in range(2):
        with pytest.raises(DataError, match=rf"^{TABLE}: not what the study wrote") as caught:
            provenance.restore(STUDY, record_of, mark_of)
    assert Path(TABLE).read_text() == "edited"
    remove, put_back = re.findall("`(.+?)`", str(caught.value))
    assert put_back == f"git checkout HEAD -- {STUDY}"
    subprocess.run(shlex.split(remove), check=True)
    assert not Path(TABLE).exists()
    provenance.restore(STUDY, record_of, mark_of)


@pytest.mark.usefixtures("made")
def test_a_folder_in_a_tables_place_is_named() -> None:
    Path(TABLE).unlink()
    Path(TABLE).mkdir()
    with pytest.raises(DataError, match=rf"^{TABLE}: not what the study wrote"):
        provenance.restore(STUDY, record_of, mark_of)


@pytest.mark.usefixtures("made")
def test_a_table_that_a_killed_job_left_is_the_engines() -> None:
    write_json(mark_of(TABLE), {"external_jobid": None})
    Path(TABLE).write_text("half of the next run")
    assert provenance.restore(STUDY, record_of, mark_of) == (0, [])


@pytest.mark.usefixtures("made")
def test_what_was_made_here_since_keeps_its_own_record() -> None:
    make(TABLE, "made anew", 1_800_000_000)
    before = record(TABLE)
    assert provenance.restore(STUDY, record_of, mark_of).known == 0
    assert record(TABLE) == before


@pytest.mark.usefixtures("made")
def test_a_file_that_replaced_an_older_one_takes_its_record_along() -> None:
    newest = Path(STUDY, provenance.NAME).read_bytes()
    content = Path(TABLE).read_bytes()
    make(TABLE, "older", 1_600_000_000)
    Path(TABLE).write_bytes(content)  # as a pull would
    assert Path(STUDY, provenance.NAME).read_bytes() == newest
    assert provenance.restore(STUDY, record_of, mark_of).known == 1
    assert record(TABLE)["endtime"] == pytest.approx(1_700_000_002.123456, rel=0, abs=1e-6)


@pytest.mark.usefixtures("made")
def test_a_file_made_again_elsewhere_with_the_same_content_takes_the_later_record() -> None:
    older = Path(TABLE).read_text()
    here = record_of(TABLE).read_bytes()
    make(TABLE, older, 1_800_000_000)
    write_json(record_of(TABLE), record(TABLE) | {"params": "others"})
    provenance.save(STUDY, record_of)
    record_of(TABLE).write_bytes(here)
    time = json.loads(here)["endtime"]
    os.utime(TABLE, (time, time))  # git leaves a file alone whose content is the same
    assert provenance.restore(STUDY, record_of, mark_of).known == 1
    assert record(TABLE)["endtime"] == Path(TABLE).stat().st_mtime == 1_800_000_000


def make_again(first: float, **contents: str) -> None:
    """Make all three files at other times, with their content or with another."""
    for number, name in enumerate(INPUTS):
        make(name, contents.get(Path(name).stem, f"content {number}"), first + number)


@pytest.mark.usefixtures("made")
def test_what_comes_out_the_same_again_leaves_nothing_to_commit() -> None:
    before = Path(STUDY, provenance.NAME).read_bytes()
    copy()
    provenance.restore(STUDY, record_of, mark_of)
    make_again(1_800_000_000.5)
    provenance.save(STUDY, record_of)
    assert Path(STUDY, provenance.NAME).read_bytes() == before
    times = [Path(name).stat().st_mtime for name in INPUTS]
    assert times == pytest.approx([1_700_000_000.123456 + i for i in range(3)], rel=0, abs=1e-6)
    # For the engine, too, it is as if nothing had been made.
    assert provenance.restore(STUDY, record_of, mark_of).known == 0
    assert record(TABLE)["endtime"] == Path(TABLE).stat().st_mtime


@pytest.mark.usefixtures("made")
def test_what_was_made_from_something_new_is_as_new_though_it_came_out_the_same() -> None:
    """The engine compares times where it has no checksum, and would make it again and again."""
    make_again(1_800_000_000.5, weights="others")
    provenance.save(STUDY, record_of)
    for number, name in enumerate(INPUTS):
        assert Path(name).stat().st_mtime == 1_800_000_000.5 + number
    assert "17000000" not in Path(STUDY, provenance.NAME).read_text()


@pytest.mark.usefixtures("made")
def test_what_was_made_before_the_change_keeps_its_time() -> None:
    make_again(1_800_000_000.5, table="others")
    provenance.save(STUDY, record_of)
    times = [Path(name).stat().st_mtime for name in INPUTS]
    assert times[:2] == pytest.approx([1_700_000_000.123456, 1_700_000_001.123456])
    assert times[2] == 1_800_000_002.5


@pytest.mark.usefixtures("made")
def test_of_an_input_of_others_without_a_checksum_nothing_is_known() -> None:
    make_again(1_800_000_000.5)
    changed = record(WEIGHTS) | {"input_checksums": {}}
    write_json(record_of(WEIGHTS), changed)
    provenance.save(STUDY, record_of)
    known = Path(STUDY, provenance.NAME).read_bytes()
    make_again(1_900_000_000.5)
    write_json(record_of(WEIGHTS), record(WEIGHTS) | {"input_checksums": {}})
    provenance.save(STUDY, record_of)
    assert Path(WEIGHTS).stat().st_mtime == 1_900_000_000.5
    assert Path(STUDY, provenance.NAME).read_bytes() != known


@pytest.mark.usefixtures("made")
def test_an_edited_file_is_not_claimed_to_have_been_made() -> None:
    Path(TABLE).write_text("edited")
    provenance.save(STUDY, record_of)
    assert TABLE not in Path(STUDY, provenance.NAME).read_text()


@pytest.mark.usefixtures("made")
def test_a_touched_file_is_still_known() -> None:
    os.utime(TABLE)
    before = Path(STUDY, provenance.NAME).read_bytes()
    provenance.save(STUDY, record_of)
    assert Path(STUDY, provenance.NAME).read_bytes() == before


@pytest.mark.usefixtures("made")
def test_what_a_run_made_and_could_not_write_down_is_written_down_later() -> None:
    kept = Path(STUDY, provenance.NAME)
    whole = kept.read_text()
    time = kept.stat().st_mtime_ns
    provenance.catch_up(STUDY, record_of)
    assert kept.stat().st_mtime_ns == time  # nothing to catch up with
    Path(TABLE).write_text("edited")
    provenance.catch_up(STUDY, record_of)
    assert kept.stat().st_mtime_ns == time  # not made, so not claimed, and what was known stays
    make(TABLE, "content 2", 1_700_000_002.123456)
    kept.unlink()
    provenance.catch_up(STUDY, record_of)
    assert kept.read_text() == whole
    make(TABLE, "content 3", 1_700_000_099.5)
    provenance.catch_up(STUDY, record_of)
    assert "1700000099.5" in kept.read_text()


@pytest.mark.usefixtures("made")
def test_what_is_gone_and_led_to_nothing_is_forgotten() -> None:
    Path(TABLE).unlink()
    Path(FIT).unlink()
    provenance.save(STUDY, record_of)
    text = Path(STUDY, provenance.NAME).read_text()
    assert WEIGHTS in text
    assert FIT not in text


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("text", ["<<<<<<< HEAD\n{}", "{}", "[]", '{"jobs": [{"outputs": {}}, 1]}'])
def test_a_damaged_file_says_what_to_do(text: str) -> None:
    Path(STUDY, provenance.NAME).write_text(text)
    message = r"results/study/provenance\.json: damaged .* delete it"
    with pytest.raises(DataError, match=message):
        provenance.restore(STUDY, record_of, mark_of)
    with pytest.raises(DataError, match=message):
        provenance.save(STUDY, record_of)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'"{TABLE}": {{', '"/etc/passwd": {'),
        (f'"{TABLE}": {{', f'"{STUDY}/../../other": {{'),
        (f'"{TABLE}": {{', '"a\\u0000b": {'),
        ('"endtime": 17', '"endtime": "17'),
        ('"endtime": 17', '"endtime": 1e999, "other": 17'),
        ('"record": {', '"record": 1, "other": {'),
        ('{\n  "jobs"', "[" * 100_000),
    ],
)
def test_a_record_that_cannot_be_says_what_to_do(old: str, new: str) -> None:
    path = Path(STUDY, provenance.NAME)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=r"results/study/provenance\.json: damaged .* delete it"):
        provenance.restore(STUDY, record_of, mark_of)


@pytest.mark.usefixtures("made")
def test_a_folder_in_its_place_says_what_to_do() -> None:
    Path(STUDY, provenance.NAME).unlink()
    Path(STUDY, provenance.NAME).mkdir()
    with pytest.raises(DataError, match=r"results/study/provenance\.json: damaged .* delete it"):
        provenance.restore(STUDY, record_of, mark_of)


@pytest.mark.usefixtures("made")
def test_a_file_of_another_user_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    copy()

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(DataError, match=r"weights\.safetensors: its time .* cache\.type copy"):
        provenance.restore(STUDY, record_of, mark_of)


def test_without_the_file_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert provenance.restore(STUDY, record_of, mark_of).known == 0
    assert not list(tmp_path.iterdir())
