"""Vectorized or one after another, replicates are the same but for rounding."""

from __future__ import annotations

import math

import pytest
import torch
from core_helpers import prepared, recipe

from recall_distortion import networks
from recall_distortion.data import load, prepare
from recall_distortion.system.errors import TrainingError
from recall_distortion.training import Engine, NonFiniteLoss, Run, TrainingImages, choose, fit_runs
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state
from recall_distortion.training.stacks import Alone

CASES = [
    # architecture, channels, size, augmentation, learning rate
    ("mlp", 1, 8, [], 0.05),
    ("mlp", 3, 10, ["flip"], 0.05),
    ("cnn", 1, 8, [], 0.05),
    ("cnn", 3, 11, ["flip", "crop"], 0.05),
    ("lenet300", 1, 28, ["crop"], 0.05),
    ("lenet5", 1, 28, [], 0.05),
    ("lenet5", 3, 14, ["crop"], 0.05),
]


def setting(folder, name, channels, size, augmentation):
    data = prepared(folder / "data.safetensors", channels=channels, size=size)
    images = TrainingImages.of(data, selection="holdout", device="cpu", augmentation=augmentation)
    network = networks.build(name, channels=channels, classes=4)
    return network, images


def runs_of(network, seeds=(0, 1, 2, 2)):
    """Return runs with masks of different densities, the second without, two of one seed."""
    runs = []
    for place, seed in enumerate(seeds):
        networks.initialize(network, generator(seed, "initialization"))
        rng = torch.Generator().manual_seed(place)
        masks = {
            name: torch.rand(weight.shape, generator=rng) < 0.8 - 0.2 * place
            for name, weight in networks.prunable_parameters(network).items()
        }
        runs.append(Run(seed, copy_state(network), None if place == 1 else masks))
    return runs


def same(left, right):
    return left.history == right.history and all(
        torch.equal(left.state[name], right.state[name]) for name in left.state
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels", "size", "augmentation", "rate"), CASES)
def test_vectorized_is_one_after_another_but_for_rounding(
    tmp_path, name, channels, size, augmentation, rate
):
    """Masks, augmentation, batch norm and the choice of the best epoch included."""
    network, images = setting(tmp_path, name, channels, size, augmentation)
    runs = runs_of(network)
    # A second phase whose rate is far too large, so that the best epoch is not the last.
    plan = recipe((2, rate), (1, 30 * rate), batch_size=17, augmentation=augmentation)
    one = list(fit_runs(network, images, plan, runs))
    many = list(fit_runs(network, images, plan, runs, engine=Engine(len(runs))))
    # Measured: parameters to 6e-8 losses to 3e-7.
    tolerance = {"rtol": 1e-4, "atol": 2e-6}
    for run, left, right in zip(runs, one, many, strict=True):
        assert set(left.state) == set(right.state)
        for key, value in left.state.items():
            torch.testing.assert_close(value, right.state[key], **tolerance)
        for key, mask in (run.masks or {}).items():
            assert (right.state[key][~mask] == 0).all()
        for before, after in zip(left.history, right.history, strict=True):
            assert before["selected"] == after["selected"]
            for column in ("training_loss", "validation_loss"):
                assert before[column] == pytest.approx(after[column], rel=1e-4)
    assert one[0].history[0]["training_loss"] != one[1].history[0]["training_loss"]


@pytest.mark.slow
def test_batch_norm_is_vectorized_with_its_running_statistics(tmp_path):
    """In double precision: where rounding flips a rectifier, single precision is off by 1 %."""
    network, images = setting(tmp_path, "resnet20", 3, 8, [])
    network.double()
    for part in (images.fit, images.validation):
        part._rows = part._rows.double()
    runs = runs_of(network)
    plan = recipe((2, 0.01), batch_size=17)
    one = list(fit_runs(network, images, plan, runs))
    many = list(fit_runs(network, images, plan, runs, engine=Engine(len(runs))))
    for left, right in zip(one, many, strict=True):
        for key, value in left.state.items():
            torch.testing.assert_close(value, right.state[key], rtol=1e-6, atol=1e-9)
        assert not torch.equal(left.state["bn1.running_mean"], torch.zeros(16).double())
        assert left.state["bn1.num_batches_tracked"] == right.state["bn1.num_batches_tracked"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seeds", "epochs"), [("mlp", 30, 30), ("cnn", 12, 20)])
def test_over_a_whole_training_the_means_agree_within_their_monte_carlo_error(
    tmp_path, name, seeds, epochs
):
    """Rounding grows over training and single networks part, but not in one direction."""
    path = tmp_path / "digits.safetensors"
    prepare("digits", path, path=None, data_root="", holdout=0.1, test_fraction=0.7, seed=0)
    data = load(path)
    images = TrainingImages.of(data, selection="test", device="cpu")
    network = networks.build(name, channels=1, classes=10)
    runs = [Run(run.seed, run.state) for run in runs_of(network, seeds=range(seeds))]
    plan = recipe((epochs, 0.05), batch_size=64)
    one = [fitted.history for fitted in fit_runs(network, images, plan, runs)]
    many = [fitted.history for fitted in fit_runs(network, images, plan, runs, engine=Engine(30))]
    for column in ("validation_accuracy", "validation_loss", "training_loss"):
        values = torch.tensor([[history[-1][column] for history in part] for part in (one, many)])
        difference = values[1].double() - values[0].double()
        error = difference.std() / seeds**0.5
        # Four errors of the paired mean, and what one image more or less is of the whole set.
        assert difference.mean().abs() <= 4 * error + 1e-6
        assert difference.std() < values[0].std() / 10, "seeds part more than rounding explains"


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet20"])
def test_the_same_block_vectorized_is_the_same_bit_for_bit(tmp_path, name):
    network, images = setting(tmp_path, name, 1, 8, [])
    plan = recipe((2, 0.05))
    runs = runs_of(network)
    first = list(fit_runs(network, images, plan, runs, engine=Engine(4)))
    second = list(fit_runs(network, images, plan, runs, engine=Engine(4)))
    assert all(same(left, right) for left, right in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("count", "at_once", "sizes"), [(7, 3, [2, 2, 3]), (4, 4, [4]), (3, 1, [1] * 3)]
)
def test_runs_are_split_into_stacks_of_even_size_and_keep_their_order(
    tmp_path, count, at_once, sizes
):
    network, images = setting(tmp_path, "mlp", 1, 8, [])
    runs = runs_of(network, seeds=range(count))
    plan = recipe((1, 0.05))
    seen = []
    found = fit_runs(
        network,
        images,
        plan,
        runs,
        engine=Engine(at_once),
        report=lambda rows, _: seen.append(rows),
    )
    seeds = [fitted.history[0]["seed"] for fitted in found]
    assert seeds == list(range(count))
    assert [len(rows) for rows in seen] == sizes


def test_one_that_is_left_over_is_its_own_module():
    network = networks.build("mlp", channels=1, classes=4)
    state = copy_state(network)
    assert isinstance(Engine(3).open(network, [state]), Alone)
    assert not isinstance(Engine(3).open(network, [state, state]), Alone)


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_run_that_fails_leaves_the_others_as_they_are(tmp_path, at_once):
    network, images = setting(tmp_path, "cnn", 1, 8, [])
    runs = runs_of(network, seeds=(5, 6, 7))
    plan = recipe((2, 0.05))
    expected = list(fit_runs(network, images, plan, runs, engine=Engine(at_once)))
    runs[1].state["classifier.weight"][0, 0] = math.inf
    seen = []
    found = list(
        fit_runs(
            network,
            images,
            plan,
            runs,
            engine=Engine(at_once),
            report=lambda rows, _: seen.append(rows),
        )
    )
    assert isinstance(found[1], NonFiniteLoss)
    assert "seed 6: training loss is nan in epoch 1" in str(found[1])
    for place in (0, 2):
        assert same(found[place], expected[place])
    # It is told once, and from then on the means of the others alone.
    assert [row["epoch"] for rows in seen for row in rows if row["seed"] == 6] == [1]


def test_a_stack_in_which_all_fail_ends_at_once_and_keeps_its_order(tmp_path):
    network, images = setting(tmp_path, "mlp", 1, 8, [])
    runs = runs_of(network, seeds=(4, 5))
    runs[1].state["classifier.weight"][0, 0] = math.inf  # the second fails in its first epoch
    plan = recipe((1, 0.05), (49, 1e4), batch_size=4)  # and the first in the second phase
    seen = []
    found = list(
        fit_runs(
            network, images, plan, runs, engine=Engine(2), report=lambda rows, _: seen.append(rows)
        )
    )
    assert all(isinstance(failure, TrainingError) for failure in found)
    assert [str(failure)[:6] for failure in found] == ["seed 4", "seed 5"]
    assert 1 < len(seen) < 50


@pytest.mark.parametrize("at_once", [1, 4])
def test_half_precision_learns_as_well_and_keeps_its_weights_in_single(tmp_path, at_once):
    network, images = setting(tmp_path, "lenet5", 1, 28, [])
    runs = runs_of(network)
    plan = recipe((4, 0.05))
    single = list(fit_runs(network, images, plan, runs, engine=Engine(at_once)))
    half = list(fit_runs(network, images, plan, runs, engine=Engine(at_once, "bfloat16")))
    for left, right in zip(single, half, strict=True):
        assert all(value.dtype == torch.float32 for value in right.state.values())
        assert not torch.equal(left.state["fc1.weight"], right.state["fc1.weight"])
        # bfloat16 has 8 bits: its losses of about 1 differ in the third digit.
        for before, after in zip(left.history, right.history, strict=True):
            assert before["training_loss"] == pytest.approx(after["training_loss"], abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (("mlp", 8, "cpu"), {}, Engine(60)),
        (("cnn", 8, "cpu"), {}, Engine(60)),
        (("cnn", 32, "cpu"), {}, Engine(1)),
        (("lenet300", 28, "cpu"), {}, Engine(1)),
        (("lenet5", 28, "cpu"), {}, Engine(30)),
        (("lenet5", 32, "cpu"), {}, Engine(1)),
        (("resnet20", 32, "cpu"), {}, Engine(1)),
        (("resnet20", 32, "cuda"), {}, Engine(30)),
        (("mlp", 8, "cpu"), {"engine": "sequential"}, Engine(1)),
        (("mlp", 8, "cpu"), {"at_once": 7}, Engine(7)),
        (("lenet5", 32, "cpu"), {"engine": "vectorized"}, Engine(30)),
        (("lenet5", 28, "cpu"), {"engine": "vectorized", "at_once": 5}, Engine(5)),
        (("resnet20", 32, "cpu"), {"engine": "vectorized"}, Engine(30)),
        (("lenet5", 28, "cpu"), {"precision": "bfloat16"}, Engine(30, "bfloat16")),
    ],
)
def test_the_engine_is_the_study_s_or_the_one_measured_to_be_fastest(arguments, options, expected):
    assert choose(*arguments, **options) == expected


def test_an_engine_says_what_it_is():
    assert str(Engine()) == "one after another, float32"
    assert str(Engine(30, "bfloat16")) == "vectorized, up to 30 at once, bfloat16"
    assert str(Engine(30, fused=True)) == "fused units, up to 30 at once, float32"
    exact = Engine(30, deterministic=True)
    assert str(exact) == "vectorized, up to 30 at once, deterministic, float32"


@pytest.fixture
def deterministic():
    """Set torch as ``processor.prepare_gpu`` does, as far as an engine asks, and put it back."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("engine", ["auto", "sequential"])
@pytest.mark.usefixtures("deterministic")
def test_an_engine_is_deterministic_as_torch_is_on_a_gpu(engine):
    assert choose("cnn", 8, "cuda", engine=engine).deterministic
    assert not choose("cnn", 8, "cpu", engine=engine).deterministic


def test_an_engine_is_not_deterministic_where_torch_is_not():
    assert not choose("cnn", 8, "cuda").deterministic
