"""What the workflow is asked to do is checked before any job starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from core_helpers import REPOSITORY

from recall_distortion.configuration import cautions, configure
from recall_distortion.study import measuring, paths
from recall_distortion.system.devices import Usable, visible
from recall_distortion.system.errors import DataError, StudyError


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def test_the_shipped_configuration():
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    found = configure(config)
    assert found.study.name == "digits"
    assert found.study.folder == "digits"
    assert found.data_root == "data"
    assert found.gpus == len(visible())


def test_every_other_key_overrides_the_study():
    found = configure({"study": "test", "seeds": 5, "gpus": 0, "data_root": "/elsewhere"})
    assert found.study.seeds == 5
    assert found.study.folder == "test+seeds=5"
    assert (found.gpus, found.data_root) == (0, "/elsewhere")


@pytest.mark.parametrize(
    ("seeds", "said"),
    [(1, ["1 seed: there will be no interval"]), (2, ["2 seeds: where the test set is too small"]),
     (4, ["4 seeds: where the test set is too small"]), (5, [])],
)  # fmt: skip
def test_too_few_seeds_are_said_before_anything_runs(seeds, said):
    study = configure({"study": "test", "seeds": seeds, "gpus": 0}).study
    assert [line[: len(start)] for line, start in zip(cautions(study), said, strict=True)] == said


def test_a_study_without_a_control_is_told_what_it_cannot_answer():
    (line,) = cautions(configure({"study": "fashion_mnist_equal_sparsity", "gpus": 0}).study)
    assert line.startswith(
        "No control for lenet5 on fashion_mnist (published): whether a change is pruning's"
    )


def test_what_masks_share_is_not_trained_for_again(tmp_path, monkeypatch):
    """Where predictions alone were brought, the terminal says what is lacking of one data set."""
    study = configure({"study": "fashion_mnist_transfer", "gpus": 0}).study
    monkeypatch.chdir(tmp_path)
    usual = cautions(study)
    results = tmp_path / "results/fashion_mnist_transfer"
    place = results / "compressed/mnist/lenet300/short/tickets/1-2-10-50/seeds-000-004.safetensors"
    place.parent.mkdir(parents=True)
    place.with_suffix(".sparsity.csv").touch()
    table = "results/fashion_mnist_transfer/predictions/mnist/lenet300/short/mask_overlap.csv"
    (line,) = [line for line in cautions(study) if line not in usual]
    assert line.startswith(
        f"No table of what masks share was brought where weights were not ({table})"
    )
    place.touch()
    assert measuring.not_brought(study, results) == {}
    place.unlink()
    Path(table).parent.mkdir(parents=True)
    Path(table).touch()
    assert cautions(study) == usual


def test_what_is_measured_on_weights_is_not_trained_for_again(tmp_path, monkeypatch):
    """Where predictions were brought alone; one line says how many tables of a kind are lacking."""
    study = configure({"study": "fashion_mnist_stability", "gpus": 0}).study
    monkeypatch.chdir(tmp_path)
    usual = cautions(study)
    results = tmp_path / "results/fashion_mnist_stability"
    (network, *_) = study.networks()
    (block, *_) = study.blocks()
    bundles = measuring.bundles(study, network)
    tables = []
    for bundle in bundles:
        place = network.panel._asdict() | {"bundle": bundle, "block": block}
        predictions = results / f"{paths.PREDICTIONS.format(**place)}.safetensors"
        predictions.parent.mkdir(parents=True, exist_ok=True)
        predictions.touch()
        tables.append(str(predictions.with_suffix(".curvature.csv")))
    lacking = measuring.not_brought(study, results)
    assert lacking["curvature"] == tables
    (line,) = [line for line in cautions(study) if line not in usual and "curvature" in line]
    assert f" and {len(tables) - 1} more): curvature will not be answered" in line
    Path(tables[0]).touch()
    dense = results / f"{paths.DENSE.format(**network.panel._asdict(), block=block)}.safetensors"
    assert measuring.not_brought(study, results)["curvature"] == tables[1:]
    Path(tables[0]).unlink()
    dense.parent.mkdir(parents=True)
    dense.touch()
    assert measuring.not_brought(study, results)["curvature"] == tables[1:]


@pytest.mark.parametrize("name", ["digit", "../studies/test", "test.yaml", None, 3, ["test"]])
def test_an_unknown_study_names_the_known_ones(name):
    with pytest.raises(StudyError) as caught:
        configure({"study": name})
    assert ", ".join(
        sorted(path.stem for path in (REPOSITORY / "config/studies").glob("*.yaml"))
    ) in str(caught.value)


@pytest.mark.parametrize("gpus", [-1, "all", 1.5, True, None])
def test_an_impossible_number_of_gpus(gpus):
    with pytest.raises(StudyError, match=r"'gpus'.*'auto' or a number"):
        configure({"study": "test", "gpus": gpus})


@pytest.mark.parametrize("root", ["", 3, None])
def test_an_impossible_data_root(root):
    with pytest.raises(StudyError, match="'data_root'"):
        configure({"study": "test", "data_root": root})


def test_an_override_that_cannot_be_reached_is_told():
    with pytest.raises(StudyError) as caught:
        configure({"study": "test", "count": "total", "ratios": [2, 50]})
    for word in ("test.yaml", "'ratios'", "mlp on digits", "largest feasible ratio is 10"):
        assert word in str(caught.value)


def test_a_users_own_data_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((REPOSITORY / "config" / "studies" / "test.yaml").read_text())
    values["datasets"]["digits"] = {"source": "arrays", "path": str(tmp_path / "own.npz")}
    studies = tmp_path / "config" / "studies"
    studies.mkdir(parents=True)
    (studies / "own.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(DataError, match=r"own\.npz"):
        configure({"study": "own"})
    images = np.zeros((40, 6, 6), np.uint8)
    labels = np.arange(40) % 4
    np.savez(tmp_path / "own.npz", train_images=images, train_labels=labels)
    with pytest.raises(StudyError, match=r"mlp needs images of at least 8 x 8 pixels"):
        configure({"study": "own"})


@pytest.mark.parametrize("value", ["", "-1"])
def test_gpus_auto_counts_none_where_the_environment_shows_none(monkeypatch, value):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert configure({"study": "test"}).gpus == 0


def test_gpus_auto_counts_those_that_can_be_used_and_says_what_is_wrong_with_others(
    monkeypatch, capsys
):
    found = Usable(["0", "2"], ["GPU 1 cannot be used: it is too old"])
    monkeypatch.setattr("recall_distortion.system.devices.usable", lambda: found)
    assert configure({"study": "test"}).gpus == 2
    said = "GPU 1 cannot be used: it is too old\nThe study is computed on GPU 0, 2.\n"
    assert capsys.readouterr().err == said
    none = Usable([], found.problems)
    monkeypatch.setattr("recall_distortion.system.devices.usable", lambda: none)
    assert configure({"study": "test"}).gpus == 0
    assert capsys.readouterr().err.endswith("too old\nThe study is computed on the CPU.\n")
    assert configure({"study": "test", "gpus": 3}).gpus == 3  # as is said, and nothing is tried
    assert capsys.readouterr().err == ""


def test_a_gpu_is_shared_only_where_that_is_said():
    assert configure({"study": "test"}).jobs_per_gpu == 1
    assert configure({"study": "test", "jobs_per_gpu": 3}).jobs_per_gpu == 3


@pytest.mark.parametrize("sharing", [0, -1, "3x", 1.5, True])
def test_an_impossible_sharing_of_a_gpu(sharing):
    with pytest.raises(StudyError, match=r"'jobs_per_gpu'.*a whole number from 1 on"):
        configure({"study": "test", "jobs_per_gpu": sharing})


@pytest.mark.parametrize("folder", ["o'brien", "a\\b", "line\nbreak", 'it\'s "$(x)"'])
def test_a_folder_that_a_jobs_shell_would_misread_is_refused(folder):
    with pytest.raises(StudyError, match=r"'data_root'.*make a link"):
        configure({"study": "test", "data_root": folder})


@pytest.mark.parametrize("name", ["my <results>.npz", "{dataset}.npz", "{x.npz"])
def test_a_path_with_a_placeholder_is_refused(tmp_path, monkeypatch, name):
    """Snakemake would look for the data, and for changes of them, in another place."""
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "config/studies/test.yaml").read_text()
    study = tmp_path / "config/studies/own.yaml"
    study.parent.mkdir(parents=True)
    study.write_text(text.replace("source: digits", f"source: arrays, path: '{name}'", 1))
    np.savez(tmp_path / name, images=np.zeros((40, 8, 8), np.uint8), labels=np.arange(40) % 2)
    with pytest.raises(StudyError, match=r"own\.yaml: key 'datasets\.digits\.path'.*make a link"):
        configure({"study": "own", "gpus": 0})
    (tmp_path / "plain.npz").symlink_to(name)
    study.write_text(study.read_text().replace(name, "plain.npz"))
    configure({"study": "own", "gpus": 0})
