"""Files are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest

from recall_distortion import files


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
