"""The workflow engine's own files: known ones are used, others left alone with a word."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from recall_distortion.system import provenance, records
from recall_distortion.system.errors import SetupError
from recall_distortion.system.records import FORMATS, Records

RESULTS = "results/one"
TABLE = f"{RESULTS}/tables/recall.csv"


def engine(monkeypatch: pytest.MonkeyPatch, **facts: int) -> None:
    """Let this process look like one of an engine whose module says these facts."""
    module = types.ModuleType("snakemake.persistence")
    vars(module).update(facts)
    monkeypatch.setitem(sys.modules, "snakemake.persistence", module)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the record of a table that the engine made here; the working folder is a study's."""
    monkeypatch.chdir(tmp_path)
    engine(monkeypatch, RECORD_FORMAT_VERSION=FORMATS[-1])
    table = Path(TABLE)
    table.parent.mkdir(parents=True)
    table.write_text("seed\n")
    time = table.stat().st_mtime
    kept = records.record(TABLE)
    kept.parent.mkdir(parents=True)
    kept.write_text(
        json.dumps({"rule": "measure", "input": [], "starttime": time, "endtime": time})
    )
    return kept


def test_what_was_made_is_written_down_and_known_elsewhere(made, monkeypatch, capsys):
    Records(RESULTS).finish()
    made.unlink()
    Records(RESULTS).restore()
    assert json.loads(made.read_text())["rule"] == "measure"
    assert capsys.readouterr().err == f"{RESULTS}: 1 files are as {provenance.NAME} records them.\n"


@pytest.mark.parametrize(
    ("facts", "kept", "named"),
    [
        ({"RECORD_FORMAT_VERSION": FORMATS[-1] + 1}, "file", f"format {FORMATS[-1] + 1} (file)"),
        ({}, "file", "format None (file)"),
        ({"RECORD_FORMAT_VERSION": FORMATS[-1]}, "DB", f"format {FORMATS[-1]} (db)"),
    ],
)
def test_records_of_another_kind_are_left_alone_with_a_word(
    made, monkeypatch, capsys, facts, kept, named
):
    Records(RESULTS).finish()
    written = Path(RESULTS, provenance.NAME).read_bytes()
    made.write_text("of another kind")
    lock = Path(".snakemake/locks/0.output.lock")
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{TABLE}\n")
    engine(monkeypatch, **facts)
    found = Records(RESULTS, kept)
    found.restore()
    found.finish()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in (named, RESULTS, "snakemake --touch", "dvc pull"))
    assert made.read_text() == "of another kind"
    assert lock.exists()
    assert Path(RESULTS, provenance.NAME).read_bytes() == written


def test_nothing_is_said_where_there_is_nothing_to_make_known(made, monkeypatch, capsys):
    engine(monkeypatch)
    Records(RESULTS).restore()
    assert capsys.readouterr().err == ""


def test_locks_of_this_study_that_are_nobodys_are_taken_away(made):
    locks = Path(".snakemake/locks")
    locks.mkdir(parents=True)
    for number, path in enumerate((TABLE, "results/one-more/tables/recall.csv")):
        (locks / f"{number}.output.lock").write_text(f"{path}\n")
    Records(RESULTS).restore()
    assert [lock.name for lock in locks.iterdir()] == ["1.output.lock"]


def test_a_study_at_work_is_left_to_whoever_works_on_it(made):
    lock = Path(".snakemake/locks/0.output.lock")
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{TABLE}\n")
    other = (
        "from recall_distortion.system.records import Records\n"
        f"found = Records({RESULTS!r}); found.begin(); print('at work', flush=True); input()"
    )
    command = [sys.executable, "-c", other]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout.readline() == "at work\n"
        found = Records(RESULTS)
        found.restore()
        with pytest.raises(SetupError, match="results/one: another Snakemake is at work"):
            found.begin()
        worker.communicate("\n")
    assert lock.exists()
