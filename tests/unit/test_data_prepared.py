"""prepare and load: what is written, all of it or nothing, and the same each time."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import recall_distortion
from recall_distortion import data
from recall_distortion.data import preparing
from recall_distortion.data.images import RawData
from recall_distortion.data.prepared import Shape
from recall_distortion.data.sources import SOURCES
from recall_distortion.data.sources import digits as digits_module
from recall_distortion.system import sealed
from recall_distortion.system.errors import DataError


def prepare(output, source="digits", **options):
    settings = {
        "path": None,
        "data_root": "",
        "holdout": 0.1,
        "test_fraction": None,
        "seed": 0,
    } | options
    data.prepare(source, output, **settings)
    return data.load(output)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("digits") / "digits.safetensors", seed=3)


def test_digits(digits):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert digits.shape == data.describe("digits") == data.Shape(1, 8, 10)
    assert len(digits.test_labels) == round(len(bunch.target) / 2)
    assert len(digits.holdout_index) == round(0.1 * len(digits.train_labels))
    assert digits.class_names == tuple("0123456789")
    assert digits.source == "digits"
    assert digits.checksum.startswith("sha256:")

    def rows(images, labels):
        return sorted((label, image.tobytes()) for image, label in zip(images, labels, strict=True))

    # Scaling to 0..255 keeps all of scikit-learn's 17 levels apart.
    images = np.concatenate([digits.train_images, digits.test_images])[:, 0]
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    levels = np.rint(images / 255 * 16).astype(np.uint8)
    assert rows(levels, labels) == rows(bunch.images.astype(np.uint8), bunch.target)


def test_digits_are_read_without_the_packages_that_take_seconds_to_import():
    code = (
        "import sys; from recall_distortion.data.sources import digits; digits.read(); "
        "assert not {'sklearn', 'scipy', 'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_digits_that_are_not_where_they_are_looked_for(monkeypatch):
    monkeypatch.setattr(digits_module, "_TABLE", "sklearn/elsewhere.csv.gz")
    with pytest.raises(DataError, match=r"scikit-learn [\d.]+ does not hold.*elsewhere\.csv\.gz"):
        digits_module.read()


def test_classes_are_in_proportion_in_every_part(digits):
    every = np.concatenate([digits.train_labels, digits.test_labels])
    whole = np.bincount(every) / len(every)
    for labels in (
        digits.test_labels,
        digits.train_labels[digits.fit_index],
        digits.train_labels[digits.holdout_index],
    ):
        assert np.all(np.abs(np.bincount(labels) - whole * len(labels)) < 2)


def test_mean_and_deviation_are_those_of_the_fit_images(digits):
    fit = digits.train_images[digits.fit_index] / 255
    np.testing.assert_allclose(digits.mean, fit.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(digits.std, fit.std((0, 2, 3)), rtol=1e-6)


def test_moments_in_several_chunks_and_of_a_constant_channel():
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 700, 701)).astype(np.uint8)
    images[:, 1] = 7
    mean, std = preparing._moments(images, np.array([0, 2, 3, 8]))
    chosen = images[[0, 2, 3, 8]] / 255
    np.testing.assert_allclose(mean, chosen.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std[[0, 2]], chosen.std((0, 2, 3))[[0, 2]], rtol=1e-6)
    assert std[1] == 1


def test_same_seed_same_bytes_in_another_process(tmp_path):
    outputs = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    prepare(outputs[0], seed=5)
    code = (
        "import sys; from pathlib import Path; from recall_distortion import data; "
        "data.prepare('digits', Path(sys.argv[1]), path=None, data_root='', holdout=0.1, "
        "test_fraction=None, seed=5)"
    )
    subprocess.run([sys.executable, "-c", code, str(outputs[1])], check=True)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_another_seed_splits_otherwise_and_a_holdout_leaves_the_test_set(tmp_path, digits):
    other = prepare(tmp_path / "a.safetensors", seed=4)
    assert not np.array_equal(other.test_images, digits.test_images)
    same = prepare(tmp_path / "b.safetensors", seed=3, holdout=0.3)
    assert np.array_equal(same.test_images, digits.test_images)
    assert len(same.holdout_index) == round(0.3 * len(same.train_labels))


def test_the_file_is_plain_safetensors_with_the_metadata(tmp_path):
    output = tmp_path / "a.safetensors"
    loaded = prepare(output)
    assert np.array_equal(safetensors.numpy.load_file(output)["mean"], loaded.mean)
    with safetensors.safe_open(output, framework="numpy") as file:
        metadata = file.metadata()
    content = json.loads(metadata["recall_distortion"])
    assert content["class_names"] == list("0123456789")
    assert content["holdout"] == 0.1
    assert content["seed"] == 0
    assert (output.stat().st_mode & 0o444) == (0o666 & ~os_umask()) & 0o444


def os_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("failure", [OSError("no space"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_the_old_file_or_none(tmp_path, monkeypatch, failure):
    output = tmp_path / "a.safetensors"
    seal = sealed.seal

    def fail(path):
        seal(path)
        path.write_bytes(path.read_bytes()[:100])
        raise failure

    monkeypatch.setattr(sealed, "seal", fail)
    with pytest.raises(type(failure)):
        prepare(output)
    assert os.listdir(tmp_path) == []
    output.write_text("old")
    with pytest.raises(type(failure)):
        prepare(output)
    assert os.listdir(tmp_path) == [output.name]
    assert output.read_text() == "old"


def test_wrong_arguments(tmp_path):
    output = tmp_path / "a.safetensors"
    for options, message in (
        ({"source": "imagenet"}, "unknown data source 'imagenet'; known are arrays, digits"),
        ({"source": "mnist", "test_fraction": 0.5}, "mnist has its own test set"),
        ({"path": "x"}, "takes no path"),
        ({"source": "folder"}, "needs a path"),
        ({"seed": -1}, "whole number"),
        ({"seed": 1.5}, "whole number"),
        ({"holdout": 0}, "hold-out set's fraction"),
        ({"holdout": 0.999}, "hold-out set of 0.999"),
        ({"test_fraction": 1.0}, "test set's fraction"),
    ):
        with pytest.raises(DataError, match=message):
            prepare(output, **options)
    assert os.listdir(tmp_path) == []


def test_load_refuses_what_is_missing_foreign_or_damaged(tmp_path):
    output = tmp_path / "a.safetensors"
    with pytest.raises(DataError, match="run the step 'prepare' first"):
        data.load(output)
    prepare(output)
    whole = output.read_bytes()
    for content in (b"", b"text, not tensors", whole[:50], whole[:-1]):
        output.write_bytes(content)
        with pytest.raises(DataError, match=r"damaged \(.*delete it and run the step") as caught:
            data.load(output)
        assert str(output) in str(caught.value)
    for metadata in ({}, [], {"class_names": 3}):
        sealed.write(output, {"weight": np.zeros(3)}, metadata)
        with pytest.raises(DataError, match="not a prepared data set; delete it and run the step"):
            data.load(output)


def test_load_refuses_inconsistent_tensors(tmp_path):
    output = tmp_path / "a.safetensors"
    prepare(output)
    good = safetensors.numpy.load_file(output)
    with safetensors.safe_open(output, framework="numpy") as file:
        metadata = json.loads(file.metadata()["recall_distortion"])
    half = good["test_labels"][:5]
    for change, message in (
        ({"mean": good["mean"].astype(np.float64)}, "mean is float64"),
        ({"mean": np.zeros(2, np.float32)}, "one number per channel"),
        ({"test_labels": half}, "899 test images|898 test images"),
        ({"test_labels": good["test_labels"] + 1}, "test_labels do not lie"),
        ({"test_images": good["test_images"][:, :, 1:]}, "differ in shape"),
        ({"holdout_index": good["holdout_index"][1:]}, "do not part"),
        ({"holdout_index": good["holdout_index"] * 0}, "do not part"),
    ):
        sealed.write(output, good | change, metadata)
        with pytest.raises(DataError, match=message):
            data.load(output)


def test_describe_agrees_with_the_catalogue_and_needs_no_torch():
    code = (
        "import sys; from recall_distortion import data; "
        "print(data.describe('cifar100')); assert 'torch' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "Shape(channels=3, image_size=32, classes=100)"


def test_prepared_file_does_not_depend_on_memory_layout(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 4, 4)).astype(np.uint8)
    tensors = {"a": images, "b": np.asfortranarray(images)}
    sealed.write(tmp_path / "x", tensors, {"z": "1", "a": "é"})
    loaded = safetensors.numpy.load_file(tmp_path / "x")
    assert np.array_equal(loaded["a"], images)
    assert np.array_equal(loaded["b"], images)
    assert RawData(images, images, None, None, (), "").test_images is None


def test_a_source_whose_data_are_not_as_it_says_is_named(tmp_path, monkeypatch):
    """It says channels, size and classes before its data are read; the networks hang on it."""
    digits = dataclasses.replace(SOURCES["digits"], shape=Shape(3, 8, 10))
    monkeypatch.setitem(SOURCES, "digits", digits)
    output = tmp_path / "digits.safetensors"
    with pytest.raises(DataError) as found:
        prepare(output)
    assert "the source 'digits' says Shape(channels=3" in str(found.value)
    assert "but its data have Shape(channels=1" in str(found.value)
    assert not output.exists()


def test_two_files_of_one_source_are_an_error(tmp_path):
    """Which of them a study means could not be told."""
    package = Path(recall_distortion.__file__).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    again = tmp_path / package.name / "data/sources/again.py"
    again.write_text("from recall_distortion.data.sources.digits import SOURCES\n")
    command = [sys.executable, "-c", "import recall_distortion.data.sources"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "sources.again and recall_distortion.data.sources.digits both have a source 'digits'"
    )


def test_a_part_of_the_training_images_is_taken_from_each_class(tmp_path):
    """The test set stays; what is taken is drawn by the seed, and as many as were asked for."""
    whole, some, same, other = (
        prepare(tmp_path / f"{number}.safetensors", training_images=images, seed=seed)
        for number, (images, seed) in enumerate(((None, 0), (200, 0), (200, 0), (200, 1)))
    )
    assert (len(some.train_labels), len(some.fit_index), len(some.holdout_index)) == (200, 180, 20)
    assert np.array_equal(some.test_images, whole.test_images)
    counts = np.bincount(some.train_labels, minlength=10)
    shares = 200 * np.bincount(whole.train_labels, minlength=10) / len(whole.train_labels)
    assert (abs(counts - shares) < 1).all()
    assert np.array_equal(some.train_images, same.train_images)
    assert not np.array_equal(some.train_images, other.train_images)
    of_whole = {image.tobytes() for image in whole.train_images}
    assert {image.tobytes() for image in some.train_images} <= of_whole
    with pytest.raises(DataError, match=r"training_images: there are \d+, not 5000"):
        prepare(tmp_path / "none.safetensors", training_images=5000)
