"""Files are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
from core_helpers import REPOSITORY

from recall_distortion.system import files
from recall_distortion.system.errors import UnwritableError


def test_a_file_is_replaced_by_what_the_block_wrote(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with files.replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("first")
        assert not path.exists()
    with files.replacing(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert os.listdir(path.parent) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, error, before):
    path = tmp_path / "table.csv"
    if before is not None:
        path.write_text(before)

    def write():
        with files.replacing(path) as temporary:
            temporary.write_text("half of a ta")
            raise error

    with pytest.raises(error):
        write()
    assert os.listdir(tmp_path) == ([] if before is None else ["table.csv"])
    if before is not None:
        assert path.read_text() == before


def test_a_failing_rename_leaves_no_temporary(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(IsADirectoryError), files.replacing(tmp_path / "folder") as temporary:
        temporary.write_text("text")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_result_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    files.write_text(tmp_path / "written", "é")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "written")]
    assert modes[0] == modes[1]
    assert (tmp_path / "written").read_bytes() == "é".encode()


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.json"
    files.write_json(path, {"a": [1, 2.5]})
    assert json.loads(path.read_text()) == {"a": [1, 2.5]}
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [1, 2.5]}


def test_sha256_is_that_of_the_contents_in_order(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"x" * (1 << 20) + b"y")
    second.write_bytes(b"z")
    content = first.read_bytes() + second.read_bytes()
    assert files.sha256(first, second) == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert files.sha256(first, second) != files.sha256(second, first)


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    code = """
import os, signal, sys
from recall_distortion.system import files
with files.replacing(sys.argv[1]) as temporary:
    temporary.write_text("half of a ta")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "table.csv"
    assert python(code, path).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".partial-table.csv-")
    files.write_text(tmp_path / "other.csv", "other")  # whose it is not
    assert left.exists()
    with files.replacing(path) as living:
        living.write_text("mine")
        files.write_text(path, "whole")  # leaves the file of a writer at work
        assert living.exists()
    assert sorted(os.listdir(tmp_path)) == ["other.csv", "table.csv"]
    assert path.read_text() == "mine"


FULL = """
import resource, signal, sys
import torch
from recall_distortion.system import files
from recall_distortion.training import replicates
from recall_distortion.system.errors import UnwritableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    if sys.argv[2] == "text":
        files.write_text(sys.argv[1], "x" * 100_000)
    elif sys.argv[2] == "rows":
        rows = [{"a": "x" * 1000}] * 100
        replicates.write_rows(sys.argv[1], ["a"], rows)
    else:
        replicates.save_tensors(sys.argv[1], {"a": torch.zeros(100_000)}, {})
except UnwritableError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["text", "rows", "tensors"])
def test_a_full_disk_is_said_with_the_file_s_name_and_leaves_what_was_there(tmp_path, what):
    """A limit on files' sizes stands in for the disk's end."""
    path = tmp_path / "file.out"
    path.write_text("old")
    found = python(FULL, path, what)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{path}: cannot be written (")
    assert "File too large" in found.stdout
    assert "start the study again" in found.stdout
    assert os.listdir(tmp_path) == ["file.out"]
    assert path.read_text() == "old"


def test_a_file_in_a_folder_s_place_is_said_with_its_name(tmp_path):
    (tmp_path / "tables").write_text("")
    with pytest.raises(UnwritableError, match=r"tables/new/recall\.csv: cannot be written \(Not a"):
        files.write_text(tmp_path / "tables" / "new" / "recall.csv", "text")


def test_an_error_that_is_not_the_disk_s_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "file"):
        (tmp_path / "missing").read_text()
    assert os.listdir(tmp_path) == []
