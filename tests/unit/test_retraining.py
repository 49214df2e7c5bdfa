"""What follows a pruning besides fine-tuning: rewinding, fresh weights, shuffled masks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from compression_helpers import SEEDS, images_of, same, write_dense
from core_helpers import compression_plan, method, recipe
from unfinished_helpers import Killed, always_kept

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.controls import CONTROL_OF, WAY_OF, control_of
from recall_distortion.compression.facts import RETRAININGS, SCHEDULES
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell, GradualPlan, RetrainingPlan
from recall_distortion.compression.pruning.selection import method_masks
from recall_distortion.compression.retraining import after, prepare, until
from recall_distortion.compression.schedules.gradual import Gradual
from recall_distortion.compression.transfers import TRANSFERS
from recall_distortion.data.prepared import load
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.inference.estimates import answers
from recall_distortion.measures.networks import measure
from recall_distortion.system.errors import TrainingError
from recall_distortion.tables.predictions import read_all
from recall_distortion.training import Engine, Run, TrainingImages, Unfinished, fit_runs
from recall_distortion.training.passes import Pass
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import FINE_TUNING, copy_state, load_block
from recall_distortion.vocabulary import CONTROLS, RETRAINED, Panel

PANEL = Panel("small", "mlp", "usual")
TRAINING = recipe((3, 0.05))  # that of the dense networks of write_dense
EPOCHS = 1
KINDS = ("rewind", "rewind_rate", "reinit", "shuffled")
METHODS = {
    "control": None,
    "once": method("magnitude"),
    **dict.fromkeys(("control_rewind", "control_rewind_rate", "control_reinit")),
    **{f"by_{name}": method("magnitude", retraining=name) for name in KINDS},
}
ARMS = {
    "once": "control",
    "by_rewind": "control_rewind",
    "by_rewind_rate": "control_rewind_rate",
    "by_reinit": "control_reinit",
    "by_shuffled": "control_rewind",
}
RATIOS = {name: ["1"] if own is None else ["2", "10"] for name, own in METHODS.items()}


def plan(names, epochs=EPOCHS):
    return compression_plan(
        {name: METHODS[name] for name in names},
        recipe((2, 0.03)),
        retrainings={
            name: RetrainingPlan(TRAINING, 0 if name == "reinit" else epochs) for name in KINDS
        },
        engine={"engine": "sequential"},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"), noise=160.0)


def compress(folder, output, names=tuple(METHODS), unfinished=None):
    output.mkdir(exist_ok=True)
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        plan(names),
        panel=PANEL,
        ratios={name: RATIOS[name] for name in names},
        unfinished=unfinished,
    )
    return {part.cell: part for part in load_compressed(files[0])}


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("made")
    return compress(folder, output), output


def test_every_way_has_a_control_and_every_control_a_way():
    assert set(WAY_OF) == set(CONTROL_OF.values()) == set(CONTROLS)
    for arm, way in WAY_OF.items():
        assert CONTROL_OF[way] == control_of(*way) == arm
    assert {retraining for _, retraining in CONTROL_OF} == {*RETRAININGS, *TRANSFERS}
    assert {schedule for schedule, _ in CONTROL_OF} == set(SCHEDULES)
    for name in RETRAININGS:  # one that nobody knows is a schedule of rounds at once
        assert control_of("twice", name) == control_of("one_shot", name)


def test_recipes_are_cut_at_an_epoch():
    whole = recipe((3, 0.1), (2, 0.01))
    epochs = [(phase.epochs, phase.learning_rate) for phase in until(whole, 4).phases]
    assert epochs == [(3, 0.1), (1, 0.01)]
    assert [(p.epochs, p.learning_rate) for p in after(whole, 4).phases] == [(1, 0.01)]
    assert after(whole, 0) == whole
    assert until(whole, 3).phases == whole.phases[:1]
    for cut in (lambda: after(whole, 5), lambda: until(whole, 0)):
        with pytest.raises(TrainingError, match="of 5 epochs of training none is left"):
            cut()


def early(images, seed, epochs):
    """Return the weights after so many epochs, by a plain loop in the dense networks' order."""
    network = networks.build("mlp", channels=1, classes=4)
    networks.initialize(network, generator(seed, "initialization"))
    order, fit = generator(seed, "order"), images.fit
    optimizer = torch.optim.SGD(
        network.parameters(), 0.05, TRAINING.momentum, weight_decay=TRAINING.weight_decay,
        nesterov=True,
    )  # fmt: skip
    for _ in range(epochs):
        for index in torch.randperm(len(fit), generator=order).split(TRAINING.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(fit.batch(index)), fit.labels[index]).backward()
            optimizer.step()
    return copy_state(network)


@pytest.mark.parametrize("epochs", [0, 1, 2])
@pytest.mark.parametrize("name", ["rewind", "shuffled"])
def test_it_begins_with_the_weights_of_that_epoch(folder, name, epochs):
    images = images_of(folder)
    network = networks.build("mlp", channels=1, classes=4)
    found = prepare(
        name, network, images, plan(("control",), epochs), SEEDS, Engine(), Unfinished()
    )
    assert not found.of_dense
    assert [phase.epochs for phase in found.recipe.phases] == [3 - epochs]
    for seed in SEEDS:
        for key, value in early(images, seed, epochs).items():
            torch.testing.assert_close(found.starts[seed][key], value, rtol=1e-4, atol=1e-6)


def test_rewound_to_the_end_but_one_it_is_the_training_s_own(folder):
    """The last epoch of the dense networks, trained again from what is rewound, in their order."""
    images = images_of(folder)
    network = networks.build("mlp", channels=1, classes=4)
    found = prepare("rewind", network, images, plan((), 2), SEEDS, Engine(), Unfinished())
    dense = load_block(folder / "dense.safetensors")
    for seed in SEEDS:
        whole = early(images, seed, 3)
        for key, value in dense.state(seed).items():
            torch.testing.assert_close(whole[key], value, rtol=1e-4, atol=1e-6)
        assert not same(found.starts[seed], dense.state(seed))


def own_masks(folder, seed, fraction):
    network = networks.build("mlp", channels=1, classes=4)
    network.load_state_dict(load_block(folder / "dense.safetensors").state(seed))
    return method_masks(network, METHODS["once"], [fraction], None, seed=seed)[0]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ratio", ["2", "10"])
def test_networks_are_those_of_single_trainings(folder, made, name, ratio):
    images = images_of(folder)
    network = networks.build("mlp", channels=1, classes=4)
    part = made[0][Cell(f"by_{name}", ratio)]
    dense = load_block(folder / "dense.safetensors")
    for place, seed in enumerate(SEEDS):
        masks = own_masks(folder, seed, 1 / float(ratio))
        found = {key: mask[place] for key, mask in part.masks.items()}
        if name == "shuffled":
            assert {k: int(m.sum()) for k, m in found.items()} == {
                k: int(m.sum()) for k, m in masks.items()
            }
            assert not same(found, masks)
            masks = found
        else:
            assert same(found, masks)
        if name == "reinit":
            networks.initialize(network, generator(seed, "reinit initialization"))
            start = copy_state(network)
        else:
            start = dense.state(seed) if name == "rewind_rate" else early(images, seed, EPOCHS)
        left = TRAINING if name == "reinit" else after(TRAINING, EPOCHS)
        stage = "rewind" if name == "shuffled" else name
        run = Run(seed, start, masks)
        (alone,) = fit_runs(network, images, left, [run], stage=stage, engine=Engine())
        for key, value in alone.state.items():
            torch.testing.assert_close(part.retrained[key][place], value, rtol=1e-3, atol=1e-5)


def test_images_vary_as_the_recipe_says_that_trains(folder, tmp_path):
    """The training's flips where the training is repeated, although fine-tuning has none."""
    flipped = recipe((3, 0.05), augmentation=["flip"])
    names = ("control", "control_reinit", "control_gradual")
    files = [tmp_path / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        compression_plan(
            dict.fromkeys(names),
            recipe((2, 0.03)),
            gradual=GradualPlan(flipped, 1, 2),
            retrainings={"reinit": RetrainingPlan(flipped)},
            engine={"engine": "sequential"},
        ),
        panel=PANEL,
        ratios={name: ["1"] for name in names},
    )
    made = {part.cell.method: part for part in load_compressed(files[0])}
    prepared = load(folder / "data.safetensors")
    images = TrainingImages.of(
        prepared, selection="holdout", device="cpu", augmentation=flipped.augmentation
    )
    network = networks.build("mlp", channels=1, classes=4)
    seed = SEEDS[0]
    for way, removal in (("reinit", None), ("gradual", Gradual((), 1.0, 1, 2))):
        networks.initialize(network, generator(seed, f"{way} initialization"))
        run = Run(seed, copy_state(network), removal=removal)
        (alone,) = fit_runs(network, images, flipped, [run], stage=way, engine=Engine())
        for key, value in alone.state.items():
            found = made[f"control_{way}"].retrained[key][0]
            torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-5)
    start = load_block(folder / "dense.safetensors").state(seed)
    plain = fit_runs(
        network, images_of(folder), recipe((2, 0.03)), [Run(seed, start)],
        stage=FINE_TUNING, engine=Engine(),
    )  # fmt: skip
    for key, value in next(plain).state.items():
        found = made["control"].retrained[key][0]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-5)


def test_shuffled_masks_lie_within_each_other(made):
    few, many = (made[0][Cell("by_shuffled", ratio)].masks for ratio in ("10", "2"))
    for name, mask in few.items():
        assert (mask <= many[name]).all()


def test_nothing_is_removed_from_a_control_and_its_order_is_its_own(folder, made):
    images = images_of(folder)
    network = networks.build("mlp", channels=1, classes=4)
    found = {arm: made[0][Cell(arm, "1")] for arm in ARMS.values()}
    for arm, part in found.items():
        assert part.control == arm
        assert part.masks == {}
    # Were it in the training's own order, a network rewound to its start would be the dense one.
    dense = load_block(folder / "dense.safetensors")
    start = early(images, SEEDS[0], 0)
    order = {
        stage: next(iter(fit_runs(network, images, TRAINING, [Run(SEEDS[0], start)], stage=stage)))
        for stage in ("training", "rewind")
    }
    for key, value in dense.state(SEEDS[0]).items():
        torch.testing.assert_close(order["training"].state[key], value, rtol=1e-4, atol=1e-6)
    assert not same(order["rewind"].state, order["training"].state)
    states = [part.retrained for part in found.values()]
    assert not any(same(one, other) for i, one in enumerate(states) for other in states[:i])


def test_jobs_of_one_kind_make_what_a_job_of_all_makes(folder, made, tmp_path):
    for name in KINDS:
        names = (ARMS[f"by_{name}"], f"by_{name}")
        for cell, part in compress(folder, tmp_path / name, names).items():
            assert same(part.retrained, made[0][cell].retrained)
            assert same(part.masks, made[0][cell].masks)
            assert (part.control, part.of_dense) == (
                made[0][cell].control,
                made[0][cell].of_dense,
            )


@pytest.fixture
def _kept(monkeypatch):
    yield from always_kept(monkeypatch)


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("passes", [3, 20, 55])
def test_a_killed_job_goes_on(folder, made, tmp_path, monkeypatch, passes):
    count = iter(range(passes))
    run = Pass.run

    def killed(self, *inputs):
        if next(count, None) is None:
            raise Killed
        return run(self, *inputs)

    names = ("once", "by_rewind", "by_shuffled", "by_reinit")
    with monkeypatch.context() as patched:
        patched.setattr(Pass, "run", killed)
        with pytest.raises(Killed):
            compress(folder, tmp_path / "again", names, tmp_path / "unfinished")
    done = []
    monkeypatch.setattr(Pass, "run", lambda self, *inputs: done.append(1) or run(self, *inputs))
    found = compress(folder, tmp_path / "again", names, tmp_path / "unfinished")
    # 12 of fine-tuning, thrice 3 to begin and 12 to rewind and shuffle, 18 of fresh weights.
    assert len(done) == 60 - passes
    whole = compress(folder, tmp_path / "whole", names)
    for cell, part in found.items():
        assert same(part.retrained, whole[cell].retrained)
    assert not (tmp_path / "unfinished").exists()


@pytest.mark.slow
def test_tables_read_each_against_its_own_control(folder, made, tmp_path):
    inputs = folder / "data.safetensors", folder / "dense.safetensors"
    paths = [tmp_path / "dense.predictions", tmp_path / "all.predictions"]
    evaluate_block(*inputs, [], paths[0], panel=PANEL)
    evaluate_block(*inputs, [made[1] / "w.safetensors"], paths[1], panel=PANEL)
    parts, failures = read_all(paths)
    states = {}
    for part in parts:
        states.setdefault(part.method, set()).add(part.state)
    # What is rewound, or begins anew, was no pruned dense network just before.
    assert states["by_rewind_rate"] == states["once"] == {"compressed", RETRAINED}
    for name in ("by_rewind", "by_reinit", "by_shuffled"):
        assert states[name] == {RETRAINED}
    recall, table = measure(parts, pd.read_csv(made[1] / "sparsity.csv"), failures)
    effects = answers(recall, table)["effects"].set_index(["method", "ratio"])
    alphas = table[table["state"] == RETRAINED].pivot(
        index="seed", columns=["method", "ratio"], values="alpha"
    )
    for name in KINDS:
        for ratio in (2, 10):
            arm = ARMS[f"by_{name}"]
            expected = (alphas[f"by_{name}", ratio] - alphas[arm, 1]).mean()
            assert np.isfinite(expected)
            assert effects.loc[(f"by_{name}", ratio), "difference"] == pytest.approx(expected)
    assert not set(CONTROLS) & set(effects.index.get_level_values("method"))
