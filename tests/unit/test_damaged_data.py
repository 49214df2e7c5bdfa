"""Users' own data that cannot be read: what is told, and where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from damaged_helpers import message
from PIL import Image

from recall_distortion import data
from recall_distortion.system.errors import DataError

# A user's own data


def class_folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for index in range(6):
            pixels = np.full((8, 8), 10 * index, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def prepare(source: str, path: Path | str, output: Path) -> None:
    options = {"data_root": "", "holdout": 0.5, "test_fraction": None, "seed": 0}
    data.prepare(source, output, path=str(path), **options)


@pytest.mark.parametrize("source", ["arrays", "folder"])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("x" * 300, "File name too long"),
        ("~nobody-of-this-name/x", "does not exist"),
        ("a\0b", "does not exist"),
        ("a\nb; $(touch owned) `id`", "does not exist"),
        ("../../nowhere", "does not exist"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, source: str, path: str, words: str) -> None:
    output = tmp_path / "out.safetensors"
    output.write_text("old")
    assert words in message(DataError, data.describe, source, path=path)
    assert words in message(DataError, prepare, source, path, output)
    assert output.read_text() == "old"


def test_a_file_whose_name_is_not_utf8(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", "cat", "dog")
    name = os.fsdecode(os.fsencode(root / "cat") + b"/caf\xe9.png")
    (root / "cat/0.png").rename(name)
    prepare("folder", root, tmp_path / "out.safetensors")
    Path(name).write_bytes(b"no image")
    text = message(DataError, prepare, "folder", root, tmp_path / "out.safetensors")
    assert r"cat/caf\udce9.png cannot be read as an image" in text
    os.rename(os.fsencode(root / "dog"), os.fsencode(root) + b"/\xff")
    assert "must be printable" in message(DataError, data.describe, "folder", path=str(root))


def test_one_folder_is_not_two_classes(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", "cat", "dog")
    (root / "owl").symlink_to("cat")
    text = message(DataError, data.describe, "folder", path=str(root))
    assert f"{root}/owl and {root}/cat are the same folder" in text


def test_a_split_that_cannot_be_names_the_data(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", "cat", "dog")
    for index in range(1, 6):
        (root / f"cat/{index}.png").unlink()
    text = message(DataError, prepare, "folder", root, tmp_path / "out.safetensors")
    assert text.startswith(f"{root}: class 'cat' has 1 image")


def test_images_of_a_million_pixels_are_read(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", "cat", "dog")
    for path in root.glob("*/*.png"):
        Image.new("L", (1000, 1000), 7).save(path)
    prepare("folder", root, tmp_path / "out.safetensors")
    assert data.load(tmp_path / "out.safetensors").train_images.shape == (6, 1, 1000, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["arrays", "folder"])
def test_images_for_which_there_is_no_memory(tmp_path: Path, source: str) -> None:
    """A small file can hold large images; a limit on a process's memory stands for a full one."""
    if source == "arrays":
        path = tmp_path / "own.npz"
        images = np.zeros((700, 1000, 1000), np.uint8)
        np.savez_compressed(path, images=images, labels=np.arange(len(images)) % 2)
        del images
        assert path.stat().st_size < 3_000_000
    else:
        path = class_folders(tmp_path / "own", "cat", "dog")
        for file in path.glob("*/*.png"):
            Image.new("1", (9000, 9000)).save(file)
    code = (
        "import resource, sys; from pathlib import Path; from recall_distortion import data\n"
        "from recall_distortion.system.errors import DataError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
        "try:\n"
        "    data.prepare(sys.argv[1], Path(sys.argv[3]), path=sys.argv[2], data_root='',\n"
        "        holdout=0.5, test_fraction=None, seed=0)\n"
        "except DataError as error: print(error)\n"
    )
    arguments = [source, str(path), str(tmp_path / "out.safetensors")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{path}: ")
    assert "more memory than there is" in done.stdout
