"""What networks get right just before and just after each removal, by half and class."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
import torch
from compression_helpers import SEEDS, dense_network, images_of, with_schedule, write_dense
from core_helpers import compression_plan, method, recipe
from unfinished_helpers import Killed, always_kept, killing_after

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.events import EVENT_COLUMNS, Watch
from recall_distortion.compression.methods import GradualPlan
from recall_distortion.compression.schedules.gradual import STAGE, Gradual
from recall_distortion.data import load
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.training import DeviceImages, Engine, Run, Unfinished, fit, fit_runs
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state
from recall_distortion.vocabulary import CONTROL_GRADUAL, CONTROL_ITERATIVE, Panel

PANEL = Panel("small", "mlp", "usual")
CLASSES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # So noisy that networks are wrong now and then.
    return write_dense(tmp_path_factory.mktemp("dense"), noise=160.0)


@pytest.fixture(scope="module")
def test_images(folder):
    data = load(folder / "data.safetensors")
    return DeviceImages(data.test_images, data.test_labels, data.mean, data.std)


def counted(labels, predicted):
    """Return the rows (half, class, support, correct) by loops of this test."""
    found = []
    for half, label in itertools.product(range(2), range(CLASSES)):
        own = [i for i in range(half, len(labels), 2) if labels[i] == label]
        found.append([half, label, len(own), sum(int(predicted[i]) == label for i in own)])
    return found


def test_networks_together_and_alone_are_counted_as_their_predictions_say(folder, test_images):
    network = dense_network(folder, SEEDS[0])
    states = [copy_state(dense_network(folder, seed)) for seed in SEEDS]
    watch = Watch(test_images, CLASSES, Engine())
    together = watch(Engine(len(SEEDS)).open(network, states))
    assert together.shape == (len(SEEDS), 2, CLASSES)
    for state, counts in zip(states, together, strict=True):
        assert torch.equal(watch.of_state(network, state), counts)
        network.load_state_dict(state)
        with torch.no_grad():
            predicted = network.eval()(test_images.batch(slice(None))).argmax(1)
        expected = torch.tensor(counted(test_images.labels.tolist(), predicted.tolist()))
        assert torch.equal(counts.flatten(), expected[:, 3])
        assert torch.equal(watch.support.flatten(), expected[:, 2])


def compress(folder, output, methods, ratios):
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv", "e.csv")]
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        compression_plan(methods, recipe((2, 0.03)), gradual=GradualPlan(recipe((5, 0.05)), 1, 3)),
        panel=PANEL,
        ratios=ratios,
    )
    table = pd.read_csv(files[-1])
    assert tuple(table) == EVENT_COLUMNS
    assert {tuple(row) for row in table[list(Panel._fields)].to_numpy()} in ({PANEL}, set())
    return table


def of_predictions(folder, weights, output):
    paths = folder / "data.safetensors", folder / "dense.safetensors"
    evaluate_block(*paths, weights, output, panel=PANEL)
    return {
        (part.method, part.ratio, part.state, seed): counted(part.labels, part.predicted[index])
        for part in read_predictions(output)[0]
        for index, seed in enumerate(part.seeds)
    }


def counts_of(rows, word):
    return rows[["half", "class", "support", word]].to_numpy().tolist()


def test_rounds_begin_at_the_dense_network_and_end_in_what_is_retrained(
    folder, tmp_path, monkeypatch
):
    with_schedule(monkeypatch)
    methods = {
        "steps": method("magnitude", schedule="stepwise"),
        "once": method("magnitude"),
        CONTROL_ITERATIVE: None,
    }
    table = compress(
        folder, tmp_path, methods, {name: ["2", "10"] for name in ("steps", "once")}
        | {CONTROL_ITERATIVE: ["2"]},
    )  # fmt: skip
    assert set(table["method"]) == {"steps"}, "of one shot files have both, a control loses nothing"
    dense = of_predictions(folder, [], tmp_path / "dense.safetensors")
    compressed = of_predictions(folder, [tmp_path / "w.safetensors"], tmp_path / "p.safetensors")
    for seed in SEEDS:
        own = table[table["seed"] == seed]
        chain = own[own["ratio"] == 10]
        events = [rows for _, rows in chain.groupby("event")]
        assert [set(rows["epoch"]) for rows in events] == [{0}, {2}, {4}]
        assert counts_of(events[0], "before") == dense["dense", "1", "dense", seed]
        assert counts_of(events[-1], "after") == compressed["steps", "10", "compressed", seed]
        assert counts_of(events[1], "before") == compressed["steps", "2", "retrained", seed]
        first = own[own["ratio"] == 2]
        assert first.drop(columns="ratio").equals(events[0].drop(columns="ratio").set_axis(
            first.index
        ))  # fmt: skip
        assert (chain["before"] != chain["after"]).any()


def trained(folder, runs, watch, at_once, kept=None, report=None):
    return list(
        fit_runs(
            dense_network(folder, SEEDS[0]), images_of(folder), recipe((5, 0.05), batch_size=17),
            runs, engine=Engine(at_once), stage=STAGE, report=report,
            unfinished=Unfinished(kept, {}), watch=watch,
        )
    )  # fmt: skip


@pytest.fixture
def _kept(monkeypatch):
    yield from always_kept(monkeypatch)


@pytest.mark.usefixtures("_kept")
def test_removals_within_a_training_are_counted_at_the_epoch_between(folder, test_images, tmp_path):
    """The network just before is what so many epochs of the same training make."""
    network = networks.build("mlp", channels=1, classes=CLASSES)
    runs, names = [], tuple(networks.prunable_parameters(network))
    for seed in SEEDS:
        networks.initialize(network, generator(seed, f"{STAGE} initialization"))
        removal = Gradual(names, 0.05, 1, 3) if seed != SEEDS[1] else None
        runs.append(Run(seed, copy_state(network), removal=removal))
    watch = Watch(test_images, CLASSES, Engine())
    whole = trained(folder, runs, watch, 1)
    assert [[one["epoch"] for one in found.events] for found in whole] == [[2, 3], [], [2, 3]]
    two = recipe((2, 0.05), batch_size=17)  # its second epoch is the better one
    network.load_state_dict(runs[0].state)
    early = fit(network, images_of(folder), two, seed=SEEDS[0], stage=STAGE)
    assert early.history[1]["selected"] == 1
    weights = {name: early.state[name] for name in names}
    masks = runs[0].removal.masks(2, weights)
    masked = early.state | {name: weights[name] * mask for name, mask in masks.items()}
    expected = [watch.of_state(network, state).tolist() for state in (early.state, masked)]
    first = whole[0].events[0]
    assert [first["before"], first["after"]] == expected
    assert expected[0] != expected[1]

    assert [one.events for one in trained(folder, runs, watch, 3)] == [o.events for o in whole]
    with pytest.raises(Killed):
        trained(folder, runs, watch, 1, tmp_path / "kept", killing_after(3))
    again = trained(folder, runs, watch, 1, tmp_path / "kept")
    assert [one.events for one in again] == [one.events for one in whole]


def test_a_job_writes_the_removals_of_what_it_trains_and_none_of_the_control(folder, tmp_path):
    slowly = method("magnitude", scope="layer", schedule="gradual", of_sparsity=True)
    table = compress(
        folder, tmp_path, {CONTROL_GRADUAL: None, "slowly": slowly},
        {CONTROL_GRADUAL: ["1"], "slowly": ["1.43", "10"]},
    )  # fmt: skip
    assert set(table["method"]) == {"slowly"}
    events = table.groupby(["ratio", "seed"])[["event", "epoch"]].agg(["min", "max", "nunique"])
    assert set(map(tuple, events.to_numpy().tolist())) == {(1, 2, 2, 2, 3, 2)}
    assert len(events) == 2 * len(SEEDS)
    assert (table["after"] <= table["support"]).all()
    assert (table["before"] <= table["support"]).all()
