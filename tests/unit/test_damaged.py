"""Damaged and wrong input, one example each: what is told, where, and that nothing is lost."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import yaml
from core_helpers import REPOSITORY, write_prepared
from PIL import Image
from test_fuzz import BLOCK, LABELS, PREDICTIONS, SEALED, TABLES, WEIGHTS, sealed

from recall_distortion import checksums, columns, data
from recall_distortion.configuration import configure
from recall_distortion.errors import DataError, RecallDistortionError, StudyError, TableError
from recall_distortion.inference.tables import write_tests
from recall_distortion.measurement import measure, read_predictions
from recall_distortion.replicates import load_block
from recall_distortion.study import load, parse
from recall_distortion.tables import read_table

STUDY_TABLES = REPOSITORY / "results/digits/tables"
INFERRED = (
    "intervals", "tests", "pooled", "effects", "equal_sparsity", "seeds_needed", "tradeoff",
    "influence", "published",
)  # fmt: skip
HOSTILE_NAMES = [
    "../digits", "/etc/passwd", "", ".", "a/b", "x" * 5000, "; $(touch owned)", "`id`", "a\nb",
    "digits.yaml", "*", "{x}", "\0",
]  # fmt: skip


def message(error: type[RecallDistortionError], function, *arguments, **options) -> str:
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    text.encode("utf-8")  # whatever bytes a file's name has, a log can hold the message
    return text


# Weights, predictions, prepared data


@pytest.mark.parametrize("kind", [*SEALED, "prepared"])
def test_one_flipped_bit_in_the_numbers_is_noticed(tmp_path: Path, kind: str) -> None:
    """The format itself does not notice it, and the numbers would be others."""
    path = tmp_path / "file.safetensors"
    if kind == "prepared":
        write_prepared(path)
        read = data.load
    else:
        read, tensors, metadata = SEALED[kind]
        path.write_bytes(sealed(tmp_path, tensors, metadata))
    read(path)
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    safetensors.numpy.load_file(path)
    text = message(RecallDistortionError, read, path)
    assert text.startswith(str(path))
    assert "its content does not match its checksum" in text
    assert re.search("delete (it|the file) and run", text)


def test_a_changed_seed_or_class_name_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    for read, tensors, metadata, old, new in (
        (load_block, WEIGHTS, BLOCK, b"[0, 1]", b"[0, 3]"),
        (read_predictions, LABELS, PREDICTIONS, b'\\"b\\"', b'\\"x\\"'),
    ):
        content = sealed(tmp_path, tensors, metadata)
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        assert "does not match its checksum" in message(TableError, read, path)


def test_a_file_without_a_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(sealed(tmp_path, LABELS, PREDICTIONS))
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    del metadata[checksums.KEY]
    safetensors.numpy.save_file(LABELS, path, metadata)
    assert "holds no checksum" in message(TableError, read_predictions, path)


def test_a_sealed_file_is_plain_safetensors_and_is_sealed_once(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    metadata = {name: 'é"\\\n\x7f\u2028' for name in "zyxabc"}
    tensors = {"ü": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "empty": np.zeros((0, 3))}
    checksums.save(path, tensors, metadata)
    checksums.verify(path)
    first = path.read_bytes()
    checksums.save(path, tensors, dict(reversed(metadata.items())))
    assert path.read_bytes() == first
    with safetensors.safe_open(path, framework="numpy") as file:
        found = file.metadata()
    assert len(found.pop(checksums.KEY)) == 64
    assert found == metadata
    assert np.array_equal(safetensors.numpy.load_file(path)["ü"], tensors["ü"])
    with pytest.raises(ValueError, match="sealed already"):
        checksums.seal(path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": ["a", "b", "b"]}, "class_names holds 'b' twice"),
        ({"class_names": ["a", "b"]}, "a label lies outside 0 to 1: 0 to 2"),
        ({"class_names": ["a", "b", "c", "d"]}, "no image of class 'd'"),
        ({"class_names": "abc"}, "are not texts"),
        ({"seeds": {"dense/1/dense": [1, 1]}}, "not different whole numbers"),
        ({"seeds": {"dense/1/dense": [0, None]}}, "not different whole numbers"),
        ({"seeds": {"dense/inf/dense": [0, 1]}}, "the key 'dense/inf/dense'"),
        ({"failures": [{"method": "dense"}]}, "the failure"),
        ({"failures": [{**PREDICTIONS["failures"][0], "method": "x"}]}, "a failure of 'x'"),
    ],
)
def test_predictions_that_cannot_be_are_told_with_the_file(
    tmp_path: Path, change: dict, words: str
) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(sealed(tmp_path, LABELS, PREDICTIONS | change))
    text = message(TableError, read_predictions, path)
    assert text.startswith(f"{path}: ")
    assert words in text


@pytest.mark.parametrize("seeds", [3, [0, 0], [0, "1"], [0, True]])
def test_weights_whose_seeds_cannot_be(tmp_path: Path, seeds: object) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(sealed(tmp_path, WEIGHTS, BLOCK | {"seeds": seeds}))
    assert message(TableError, load_block, path).startswith(f"{path}: not a block of replicates")


def test_a_sparsity_of_another_study_is_told(tmp_path: Path) -> None:
    tables = {name: tmp_path / f"{name}.csv" for name in TABLES}
    predictions, sparsity = tmp_path / "p.safetensors", tmp_path / "block.csv"
    predictions.write_bytes(sealed(tmp_path, LABELS, PREDICTIONS))
    sparsity.write_text(
        ",".join(columns.SPARSITY_COLUMNS) + "\nd,mlp,magnitude,2,0,2,0.5,7,14,14\n"
    )
    text = message(TableError, measure, [predictions], [sparsity], tables)
    assert text.startswith(f"{sparsity}, line 2: magnitude of mlp on d has no predictions")
    assert not tables["recall"].exists()


def test_a_damaged_input_leaves_the_tables_that_are_there(tmp_path: Path) -> None:
    tables = {name: tmp_path / f"{name}.csv" for name in TABLES}
    for path in tables.values():
        path.write_text("old\n")
    predictions, sparsity = tmp_path / "p.safetensors", tmp_path / "block.csv"
    predictions.write_bytes(sealed(tmp_path, LABELS, PREDICTIONS))
    sparsity.write_text("dataset,seed\nd")
    assert str(sparsity) in message(TableError, measure, [predictions], [sparsity], tables)
    predictions.write_bytes(predictions.read_bytes()[:-1])
    assert str(predictions) in message(TableError, measure, [predictions], [], tables)
    assert {path.read_text() for path in tables.values()} == {"old\n"}


# Tables


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
        ("dense,0,0,", "dense,0,0\n", r"damaged \(line 2 has 7 cells for 16 columns\)"),
        ("0.0284", "0.0294", r"line 2, column balance"),
        ("digits,cnn", 'digits,"cnn', r"damaged"),
    ],
)
def test_a_change_in_a_table_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "recall.csv"
    lines = few_lines("recall", path)
    read_table(path, columns.RECALL_COLUMNS)
    assert old in lines[1]
    path.write_text("".join([lines[0], lines[1].replace(old, new, 1), *lines[2:]]))
    text = message(TableError, read_table, path, columns.RECALL_COLUMNS)
    assert text.startswith(str(path))
    assert re.search(words, text)
    assert "delete it and run the study again" in text


@pytest.mark.parametrize("lost", [1, 5, 60])
def test_a_table_that_is_cut_off(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "recall.csv"
    few_lines("recall", path)
    path.write_bytes(path.read_bytes()[:-lost])
    assert "damaged (" in message(TableError, read_table, path, columns.RECALL_COLUMNS)


def test_a_table_of_words_where_truths_belong(tmp_path: Path) -> None:
    path = tmp_path / "influence.csv"
    few_lines("influence", path)
    path.write_text(path.read_text().replace(",False\n", ",Falsf\n", 1))
    text = message(TableError, read_table, path, columns.INFLUENCE_COLUMNS)
    assert "column changes: 'Falsf' is not True or False" in text


@pytest.fixture(scope="module")
def magnitude(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped study's tables of one network and one method."""
    folder = tmp_path_factory.mktemp("magnitude")
    for name in ("recall", "alpha", "crossfit", "sparsity"):
        lines = (STUDY_TABLES / f"{name}.csv").read_text().splitlines(keepends=True)
        keep = (
            "digits,cnn,dense,",
            "digits,cnn,control,",
            "digits,cnn,magnitude,",
            "digits,cnn,res",
        )
        kept = [lines[0], *(line for line in lines if line.startswith(keep))]
        (folder / f"{name}.csv").write_text("".join(kept))
    return folder


@pytest.mark.parametrize(
    ("name", "column", "words"),
    [
        ("alpha", "alpha", "alpha is contradicted for control at 1, finetuned, seed 0"),
        ("alpha", "accuracy_after", "accuracy_after is contradicted for control at 1"),
        ("alpha", "alpha_crossfit", "alpha_crossfit is contradicted for control at 1"),
        ("crossfit", "numerator", "alpha_crossfit is contradicted for control at 1"),
        ("alpha", "method", "alpha.csv lacks, but"),
        ("crossfit", "seed", "crossfit.csv lacks, but"),
        ("sparsity", "realised_ratio", "realised_ratio does not follow from the weights beside it"),
        ("sparsity", "total", "column total: '3658.001' is not a whole number from 0 on"),
        ("sparsity", "seed", "no row for magnitude at 2, seed 0, of cnn on digits"),
        ("sparsity", None, "no row for magnitude at 2, seed 0, of cnn on digits"),
        ("recall", None, "rows are missing or changed for control at 1, finetuned, seed 0, of cnn"),
    ],
)
def test_tables_that_contradict_each_other_stop_the_inference(
    tmp_path: Path, magnitude: Path, name: str, column: str | None, words: str
) -> None:
    for path in magnitude.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / f"{name}.csv"
    lines = path.read_text().splitlines(keepends=True)
    method = "magnitude" if name == "sparsity" else "control"
    row = next(i for i, line in enumerate(lines) if line.startswith(f"digits,cnn,{method},"))
    if column is None:
        del lines[row]
    else:
        cells = lines[row].rstrip("\n").split(",")
        place = lines[0].rstrip("\n").split(",").index(column)
        words_of = {"method": "controm", "seed": "77"}
        cells[place] = words_of.get(column) or str(float(cells[place]) + 0.001)
        lines[row] = ",".join(cells) + "\n"
    path.write_text("".join(lines))
    inputs = [tmp_path / f"{part}.csv" for part in ("recall", "alpha", "crossfit", "sparsity")]
    outputs = {part: tmp_path / "out" / f"{part}.csv" for part in INFERRED}
    text = message(TableError, write_tests, *inputs, outputs, 0.99)
    assert words in text
    assert str(path) in text
    assert "run the study again" in text
    assert not (tmp_path / "out").exists()


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
        "from recall_distortion.errors import DataError\n"
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


# Code in files


def test_no_reader_runs_code_from_a_file() -> None:
    """Weights, arrays and studies are read as plain values: no pickle, no shell, no evaluation.

    torchvision unpickles CIFAR itself, after its checksums have been compared.
    """
    banned = {"torch.load", "pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "eval"}
    banned |= {"exec", "os.system", "os.popen", "pd.read_pickle", "yaml.unsafe_load", "torch.save"}
    found = []
    files = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "workflow").rglob("*.py")]
    assert len(files) > 80
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                if ast.unparse(node) == "from pickle import UnpicklingError":
                    continue  # what Numba raises at its own cache of compiled functions
                names = {alias.name.split(".")[0] for alias in node.names}
                names |= {(getattr(node, "module", "") or "").split(".")[0]}
                found += [f"{path}: imports {name}" for name in names & banned]
            elif isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                options = {word.arg: ast.unparse(word.value) for word in node.keywords}
                safe = {
                    "np.load": options.get("allow_pickle") == "False",
                    "yaml.load": options.get("Loader") == "_Loader",
                }
                if name in banned or not safe.get(name, True) or options.get("shell") == "True":
                    found.append(f"{path}: {ast.unparse(node)}")
    assert not found
