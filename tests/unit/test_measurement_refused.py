"""Files of predictions and of sparsities that cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
from core_helpers import sealed_file
from measured_helpers import (
    CONTROL,
    CPU,
    DENSE,
    LABELS,
    NAMES,
    measured,
    write_predictions,
    write_sparsity,
)

from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.system.errors import TableError
from recall_distortion.tables.predictions import read_predictions


def test_blocks_of_different_test_sets_are_not_joined(tmp_path):
    one = write_predictions(tmp_path / "a.safetensors", [0], [DENSE])
    other = np.roll(LABELS, 1)
    two = write_predictions(tmp_path / "b.safetensors", [1], [DENSE], labels=other)
    with pytest.raises(TableError, match=r"mlp on small.*different test sets"):
        measured(tmp_path, one, two)
    pruned = write_predictions(tmp_path / "c.safetensors", [0], [CONTROL], labels=other)
    with pytest.raises(TableError, match=r"control at 1 and dense at 1.*different test sets"):
        measured(tmp_path, one, pruned)
    renamed = write_predictions(
        tmp_path / "d.safetensors", [0], [CONTROL], metadata={"class_names": list("abcde")}
    )
    with pytest.raises(TableError, match="different test sets"):
        measured(tmp_path, one, renamed)


def test_a_seed_that_was_evaluated_twice(tmp_path):
    files = [
        write_predictions(tmp_path / f"{name}.safetensors", seeds, [DENSE])
        for name, seeds in (("a", [0, 1]), ("b", [1, 2]))
    ]
    with pytest.raises(TableError, match=r"a\.safetensors and .*b\.safetensors both hold seed 1"):
        measured(tmp_path, *files)
    with pytest.raises(TableError, match="evaluated twice"):
        measured(tmp_path, files[0], files[0])


def test_a_network_without_its_dense_one(tmp_path):
    after = write_predictions(tmp_path / "a.safetensors", [0, 1], [CONTROL])
    with pytest.raises(TableError, match="no predictions of its dense networks"):
        measured(tmp_path, after)
    before = write_predictions(tmp_path / "b.safetensors", [0], [DENSE])
    with pytest.raises(TableError, match="no dense network of seed 1"):
        measured(tmp_path, before, after)


def test_a_class_without_a_test_image_names_network_and_class(tmp_path):
    labels = np.where(LABELS == 2, 0, LABELS)
    path = write_predictions(tmp_path / "a.safetensors", [0], [DENSE], labels=labels)
    with pytest.raises(TableError, match=r"\(usual\), dense at 1: .*no image of class 'a,b'"):
        measured(tmp_path, path)


def test_sparsities_of_networks_without_predictions_name_file_and_line(tmp_path):
    path = write_predictions(tmp_path / "a.safetensors", [0, 1], [DENSE])
    csv = write_sparsity(tmp_path / "block.csv", [0, 1], "magnitude", "2")
    with pytest.raises(TableError, match=r"line 2: magnitude of mlp on small \(usual\) has no"):
        measured(tmp_path, path, sparsity=[csv])
    assert not (tmp_path / "recall.csv").exists()


def test_files_of_an_earlier_version_say_so(tmp_path):
    own = {"dataset": "d", "architecture": "a", "recipe": "r", "class_names": NAMES, "failures": []}
    for state in ("pruned", "finetuned"):
        path = tmp_path / "p.safetensors"
        seeds = {f"magnitude/2/{state}": []}
        path.write_bytes(sealed_file(tmp_path, {"labels": LABELS}, own | {"seeds": seeds}))
        with pytest.raises(TableError, match=r"an earlier version wrote it .*run the study again"):
            read_predictions(path)


def test_damaged_and_foreign_files_name_the_file_and_the_remedy(tmp_path):
    path = write_predictions(tmp_path / "p.safetensors", [0, 1], [DENSE])
    good = path.read_bytes()
    labels = {"labels": LABELS.astype(np.int64)}
    own = {"dataset": "d", "architecture": "a", "recipe": "r", "class_names": NAMES, "failures": []}
    one = own | {"seeds": {"dense/1/dense": [0]}}

    def file(metadata, tensors=labels):
        return sealed_file(tmp_path, tensors, metadata)

    contents = {
        "cut off": good[:-10],
        "empty": b"",
        "text": b"dataset,architecture\nthis is no safetensors file",
        "without metadata": safetensors.numpy.save(labels),
        "a list": file([]),
        "without seeds": file(own),
        "a list of seeds": file(own | {"seeds": [[1]]}),
        "an unknown state": file(own | {"seeds": {"dense/1/final": []}}),
        "a ratio that is none": file(own | {"seeds": {"dense/all/dense": []}}),
        "a wrong key": file(own | {"seeds": {"dense": [1]}}),
        "without what made a cell": file(
            own | {"seeds": {"dense/1/dense": []}, "made": {"control/1": {"trained": CPU}}}
        ),
        "without an engine": file(
            own
            | {"seeds": {"dense/1/dense": []}}
            | {"made": {"dense/1": {"trained": {"device": "cpu", "torch": "2.10"}}}}
        ),
        "without labels": file(own | {"seeds": {}}, {"x": LABELS}),
        "without predictions": file(one),
        "of another size": file(
            one, labels | {"dense/1/dense/predicted": np.zeros((2, 53), np.int16)}
        ),
        "with losses of another size": file(
            one,
            labels
            | {"dense/1/dense/predicted": np.zeros((1, 53), np.uint8)}
            | {"dense/1/dense/loss": np.zeros((1, 52), np.float16)},
        ),
        "a failure at no stage": file(
            own
            | {"seeds": {"dense/1/dense": []}}
            | {"failures": [dict.fromkeys(("method", "ratio", "stage", "reason"), "x")]}
        ),
    }
    for what, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(TableError) as caught:
            read_predictions(path)
        assert str(caught.value).startswith(f"{path}: "), what
        assert "run the study again" in str(caught.value), what
    with pytest.raises(TableError, match="no such file"):
        read_predictions(tmp_path / "none.safetensors")


def test_tables_of_an_earlier_version_beside_the_new_ones_are_named_once(tmp_path):
    """Nothing reads them, and they say something else than what lies beside them."""
    path = write_predictions(tmp_path / "dense.safetensors", [0, 1], [DENSE])
    (tmp_path / "alpha.csv").write_text("dataset\n")
    (tmp_path / "effects.csv").write_text("dataset\n")
    with pytest.warns(UserWarning, match=r"still holds alpha\.csv, effects\.csv .* delete them"):
        write_measures([path], [], tmp_path / "recall.csv", tmp_path / "networks.csv")
    assert (tmp_path / "alpha.csv").exists()  # they are the user's
