"""Label smoothing and regularizers are what their formulas say, alone, vectorized and killed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_helpers import prepared, recipe
from training_helpers import images_of, masks_of_all
from unfinished_helpers import Killed, always_kept, assert_same, killing_after, train

from recall_distortion import networks
from recall_distortion.fast.cpu import extremes as compiled
from recall_distortion.study import regularizers as facts
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import Engine, Run, fit_runs
from recall_distortion.training.objective import (
    AGGREGATIONS,
    REGULARIZERS,
    Extremes,
    Objective,
    cross_entropy,
)
from recall_distortion.training.randomness import generator
from recall_distortion.training.recipe import Regularizer
from recall_distortion.training.replicates import copy_state


def setting(folder, name, count=3):
    size = {"train": 48, "holdout": 14} if name == "resnet20" else {}
    data = prepared(folder / "data.safetensors", channels=3, **size)
    network = networks.build(name, channels=3, classes=4).to(memory_format=torch.channels_last)
    runs = []
    for seed in range(count):
        networks.initialize(network, generator(seed, "initialization"))
        masks = masks_of_all(network, seed) if seed == 1 else None
        runs.append(Run(seed, copy_state(network), masks))
    return network, images_of(data), runs


def slacks(z: np.ndarray, balance: float) -> tuple[list[float], list[float]]:
    """Return the slacks of a layer's units and points, from [B, units, ...] by loops."""

    def slack(values: np.ndarray) -> float:
        high, low = float(values.max()), float(values.min())
        return balance * max(1 - high, 0) + (1 - balance) * max(1 + low, 0)

    units = [slack(z[:, unit]) for unit in range(z.shape[1])]
    points = [slack(z[point]) for point in range(z.shape[0])]
    return units, points


def jumpstart(layers: list[np.ndarray], balance: float, aggregation: str) -> float:
    """Return one network's penalty, from its layers' pre-activations."""
    units, points = [], []
    for z in layers:
        of_units, of_points = slacks(z, balance)
        units += of_units
        points += of_points
    together = np.array(units + points)
    if aggregation == "norm":
        return math.sqrt((together**2).sum())
    if aggregation == "mean":
        return float(together.mean())
    return float(np.mean(units) + np.mean(points))


class Nothing:
    """Stands for the stack, which Jumpstart does not look at."""


@pytest.mark.parametrize("balance", [0.5, 0.2])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_jumpstart_is_its_formula_on_random_activations(aggregation, balance):
    """Of three networks, with layers of pixels and without, dead and linear units among them."""
    rng = np.random.default_rng(1)
    z = [
        rng.normal(0, 1, (3, 7, 5, 4, 2)),
        rng.normal(0, 0.4, (3, 7, 6)),
        rng.normal(0, 2, (3, 7, 3)),
    ]
    z[1][:, :, 0] -= 9  # dead
    z[1][:, :, 1] += 9  # linear
    taken = {str(i): [torch.from_numpy(layer)] for i, layer in enumerate(z)}
    options = Regularizer("jumpstart", 1.0, balance, aggregation)
    found = REGULARIZERS["jumpstart"].penalty(options, Nothing(), taken)
    expected = [jumpstart([layer[k] for layer in z], balance, aggregation) for k in range(3)]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_jumpstarts_gradient_is_that_of_finite_differences(aggregation):
    rng = torch.Generator().manual_seed(2)
    z = [
        torch.randn(2, 4, 3, 2, 2, generator=rng, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 4, 3, generator=rng, dtype=torch.float64, requires_grad=True),
    ]
    options = Regularizer("jumpstart", 1.0, 0.3, aggregation)

    def penalty(*layers):
        return REGULARIZERS["jumpstart"].penalty(options, Nothing(), {"a": layers})

    assert torch.autograd.gradcheck(penalty, z)


def test_compiled_penalties_refuse_a_second_derivative():
    z = torch.randn(2, 3, 4, requires_grad=True)
    found = compiled.Penalties.apply(compiled.Extremes.apply(z), 4, 0.5, "norm")
    with pytest.raises(NetworkError, match="first derivatives alone"):
        torch.autograd.grad(found.square().sum(), z, create_graph=True)


def test_equal_extremes_share_a_gradient_as_in_pytorch():
    z = torch.tensor([[[1.0, 2.0], [1.0, -3.0], [0.0, 2.0]]], requires_grad=True)
    ours = Extremes.apply(z, 1, 2)
    weights = [torch.rand_like(part) for part in ours]
    mine = torch.autograd.grad(sum((w * p).sum() for w, p in zip(weights, ours, strict=True)), z)
    plain = [z.amax(1, True), z.amin(1, True), z.amax(2, True), z.amin(2, True)]
    theirs = torch.autograd.grad(sum((w * p).sum() for w, p in zip(weights, plain, strict=True)), z)
    torch.testing.assert_close(mine, theirs)


LAYOUTS = {
    "linear": lambda: torch.randn(3, 5, 4),
    "linear, of more units": lambda: torch.randn(3, 5, 20),
    "wide": lambda: torch.randn(3, 5, 170),
    "many images": lambda: torch.randn(3, 150, 3),
    "images of a linear layer apart": lambda: torch.randn(67, 3, 4).transpose(0, 1),
    "those of more units": lambda: torch.randn(67, 3, 20).transpose(0, 1),
    "one after another": lambda: torch.randn(3, 5, 4, 6, 2),
    "of more places": lambda: torch.randn(3, 4, 7, 5, 5),
    "vectorized": lambda: torch.randn(5, 3, 4, 6, 2).transpose(0, 1),
    "channels last": lambda: torch.randn(3, 5, 6, 3, 7).permute(0, 1, 4, 2, 3),
    "vectorized, channels last": lambda: torch.randn(5, 3, 9, 9, 4).permute(1, 0, 4, 2, 3),
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_compiled_penalties_and_their_gradients_are_pytorchs(aggregation, ties):
    """As linear layers, and convolutions alone and vectorized, lay their results out."""
    layers = [make() for make in LAYOUTS.values()]
    layers = [(z.round() if ties else z / 2).requires_grad_() for z in layers]
    assert None not in [compiled.layout(z) for z in layers]
    units = sum(z.shape[2] for z in layers)
    found = compiled.Penalties.apply(compiled.Extremes.apply(*layers), units, 0.3, aggregation)
    highest, lowest = (
        torch.cat([kind(z, (over, *range(3, z.dim()))) for over in (1, 2) for z in layers], 1)
        for kind in (torch.amax, torch.amin)
    )
    slacks = 0.3 * F.relu(1 - highest) + 0.7 * F.relu(1 + lowest)
    assert slacks.eq(0).any()
    assert slacks.gt(0).any()
    plain = AGGREGATIONS[aggregation](slacks, units)
    torch.testing.assert_close(found, plain)
    weights = torch.randn_like(plain)
    mine, theirs = (torch.autograd.grad((weights * part).sum(), layers) for part in (found, plain))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    "z",
    [
        torch.zeros(3, 5, 0),
        torch.zeros(3, 5, 8)[..., :4],
        torch.zeros(3, 5, 8)[..., ::2],
        torch.zeros(3, 5, 4, 6, 2)[:, :, :, ::2],
        torch.zeros(1, 5, 4).expand(3, 5, 4),
        torch.zeros(3, 5, 4).double(),
    ],
)
def test_what_has_gaps_or_double_precision_is_left_to_pytorch(z):
    assert compiled.layout(z) is None


def test_no_slack_is_no_penalty_and_no_gradient_that_is_no_number():
    z = torch.tensor([[[2.0, -2.0], [-2.0, 2.0]]], requires_grad=True)
    options = Regularizer("jumpstart", 1.0)
    penalty = REGULARIZERS["jumpstart"].penalty(options, Nothing(), {"a": [z]})
    assert penalty.tolist() == [0.0]
    assert torch.autograd.grad(penalty.sum(), z)[0].eq(0).all()


@pytest.mark.parametrize("layers", ["hidden", "all"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_the_loss_of_a_step_is_cross_entropy_and_the_penalty(tmp_path, name, layers, at_once):
    """Pre-activations are computed here by the layers, before rectifier and pooling."""
    network, images, runs = setting(tmp_path, name)
    stack = Engine(at_once, fast=False).open(network, [run.state for run in runs[:at_once]])
    options = Regularizer("jumpstart", 0.3, layers=layers)
    index = torch.stack([torch.arange(k, k + 9) for k in range(at_once)])
    batch, labels = images.fit.batch(index.flatten()), images.fit.labels[index]
    found = Objective(0.1, (options,)).losses(stack, batch, labels, {})
    for k, run in enumerate(runs[:at_once]):
        own = networks.build(name, channels=3, classes=4)
        own.load_state_dict(run.state)
        x, z = images.fit.batch(index[k]), []
        modules = [own.conv1, own.conv2, own.fc1] if name == "cnn" else [own.fc1, own.fc2]
        for layer in modules:
            if isinstance(layer, torch.nn.Linear):
                x = x.flatten(1)
            z.append(layer(x))
            x = F.relu(z[-1])
            x = F.max_pool2d(x, 2) if x.dim() == 4 else x
        logits = own.classifier(x)
        z += [logits] if layers == "all" else []
        arrays = [layer.detach().double().numpy() for layer in z]
        expected = F.cross_entropy(logits, labels[k], label_smoothing=0.1).item()
        expected += 0.3 * jumpstart(arrays, 0.5, "norm")
        assert found[k].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_rectifier_in_place_leaves_the_pre_activations_that_are_taken(at_once):
    states, taken = [], []
    for in_place in (False, True):
        network = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(4, 3),
            torch.nn.ReLU(in_place),
            torch.nn.Linear(3, 2),
        )
        states = states or [copy_state(network)] * at_once
        stack = Engine(at_once).open(network, states)
        images = torch.linspace(-3, 3, at_once * 20).reshape(-1, 1, 2, 2)
        (z,) = stack.outputs(images, training=True, tapped=["1"])[1]["1"]
        gradient = torch.autograd.grad(z.square().sum(), stack.parameters[0])
        taken.append((z, *gradient))
    torch.testing.assert_close(*taken)
    assert taken[0][0].min() < 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_is_pytorchs_and_its_formula(smoothing):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, generator=rng)
    labels = torch.randint(4, (3, 5), generator=rng)
    found = cross_entropy(logits, labels, smoothing)
    log_p = logits.log_softmax(2)
    expected = (1 - smoothing) * -log_p.gather(2, labels[..., None])[..., 0]
    expected -= smoothing * log_p.mean(2)
    torch.testing.assert_close(found, expected)
    for k in range(3):
        plain = F.cross_entropy(logits[k], labels[k], label_smoothing=smoothing)
        assert found[k].mean().item() == pytest.approx(plain.item(), rel=1e-6)


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_l1_norm_of_scales_is_added(tmp_path, at_once):
    """A step without data's part: the gradient of a scale has its sign times the weight."""
    network, _, runs = setting(tmp_path, "resnet20", 2)
    stack = Engine(at_once).open(network, [run.state for run in runs[:at_once]])
    with torch.no_grad():
        stack.tensors["bn1.weight"][:, 3] = -2.0
    options = Regularizer("batch_norm_l1", 1.0)
    penalty = REGULARIZERS["batch_norm_l1"].penalty(options, stack, {})
    scales = [name for name in stack.names if ".bn" in name or name.startswith("bn")]
    scales = [name for name in scales if name.endswith(".weight")]
    assert len(scales) == 19
    for k in range(at_once):
        expected = sum(stack.tensors[name][k].abs().sum().item() for name in scales)
        assert penalty[k].item() == pytest.approx(expected, rel=1e-6)
    place = stack.names.index("bn1.weight")
    (gradient,) = torch.autograd.grad(penalty.sum(), stack.parameters[place])
    assert gradient.reshape(at_once, -1)[:, :5].tolist() == [[1, 1, 1, -1, 1]] * at_once


RECIPES = {
    "smoothed": {"label_smoothing": 0.2},
    "jumpstart": {"regularizers": [{"name": "jumpstart", "weight": 0.3}]},
    "balanced": {
        "regularizers": [
            {"name": "jumpstart", "weight": 0.5, "aggregation": "balanced", "layers": "all"}
        ]
    },
    "scales": {"regularizers": [{"name": "batch_norm_l1", "weight": 0.01}]},
}
TRAINED = [("mlp", "smoothed"), ("mlp", "jumpstart"), ("cnn", "balanced"), ("cnn", "smoothed")]


@pytest.mark.parametrize(("name", "what"), TRAINED)
def test_vectorized_and_alone_agree_and_the_recipe_changes_something(tmp_path, name, what):
    network, images, runs = setting(tmp_path, name)
    plan = recipe((2, 0.05), batch_size=17, **RECIPES[what])
    one, many, without = (
        list(fit_runs(network, images, made, runs, engine=Engine(k)))
        for k, made in ((1, plan), (3, plan), (1, recipe((2, 0.05), batch_size=17)))
    )
    for run, left, right, plain in zip(runs, one, many, without, strict=True):
        for key, value in left.state.items():
            torch.testing.assert_close(value, right.state[key], rtol=1e-4, atol=1e-5)
        assert not torch.equal(left.state["fc1.weight"], plain.state["fc1.weight"])
        for key, mask in (run.masks or {}).items():
            assert not left.state[key][~mask].any()
        for before, after in zip(left.history, right.history, strict=True):
            assert before["training_loss"] == pytest.approx(after["training_loss"], rel=1e-4)


@pytest.mark.parametrize("what", ["jumpstart", "scales"])
def test_batch_norm_and_regularizers_go_together_in_double_precision(tmp_path, what):
    network, images, runs = setting(tmp_path, "resnet20", 2)
    network.double()
    runs = [
        Run(run.seed, {k: v.double() if v.is_floating_point() else v for k, v in run.state.items()})
        for run in runs
    ]
    for part in (images.fit, images.validation):
        part._rows = part._rows.double()
    plan = recipe((1, 0.01), batch_size=17, **RECIPES[what])
    one, many = (list(fit_runs(network, images, plan, runs, engine=Engine(k))) for k in (1, 2))
    for left, right in zip(one, many, strict=True):
        for key, value in left.state.items():
            torch.testing.assert_close(value, right.state[key], rtol=1e-6, atol=1e-9)


def test_killed_with_a_regularizer_training_goes_on(tmp_path, monkeypatch):
    network, images, runs = setting(tmp_path, "cnn", 2)
    keeping = always_kept(monkeypatch)
    next(keeping)
    plan = recipe((3, 0.05), batch_size=17, **RECIPES["balanced"])
    undisturbed = train((network, images), None, runs, plan, 2)
    with pytest.raises(Killed):
        train((network, images), tmp_path / "kept", runs, plan, 2, killing_after(2))
    assert_same(train((network, images), tmp_path / "kept", runs, plan, 2), undisturbed)
    next(keeping, None)


def test_jumpstart_gives_dead_units_back(tmp_path):
    """Biases far below zero: without it no unit of the layer ever gets a gradient."""
    network, images, runs = setting(tmp_path, "mlp", 1)
    state = runs[0].state | {"fc2.bias": torch.full((32,), -4.0)}
    dead = {}
    for what, more in (("none", {}), ("jumpstart", RECIPES["jumpstart"])):
        plan = recipe((30, 0.02), weight_decay=0.0, **more)
        list(fit_runs(network, images, plan, [Run(0, state)]))  # the last epoch's, in the module
        with torch.no_grad():
            x = F.relu(network.fc1(images.fit.batch(slice(None)).flatten(1)))
            dead[what] = int((network.fc2(x).amax(0) <= 0).sum())
    assert dead == {"none": 32, "jumpstart": 0}


def test_what_a_network_has_not_is_refused(tmp_path):
    network, images, runs = setting(tmp_path, "mlp", 1)
    plan = recipe((1, 0.1), **RECIPES["scales"])
    with pytest.raises(NetworkError, match="batch_norm_l1: MLP has no batch norm"):
        list(fit_runs(network, images, plan, runs))


def test_compiled_loops_are_left_for_what_they_cannot_do_with_one_line(tmp_path, capsys):
    network, images, runs = setting(tmp_path, "cnn", 1)
    for precision, lines in (("bfloat16", 1), ("float32", 0)):
        engine = Engine(precision=precision)
        list(
            fit_runs(network, images, recipe((1, 0.1), **RECIPES["balanced"]), runs, engine=engine)
        )
        text = "the compiled loops have no pre-activations in bfloat16"
        assert capsys.readouterr().out.count(text) == lines
    list(fit_runs(network, images, recipe((1, 0.1), **RECIPES["smoothed"]), runs))
    assert capsys.readouterr().out == ""


def test_compiled_loops_are_left_for_other_penalties_of_pre_activations(tmp_path, capsys):
    network, images, runs = setting(tmp_path, "cnn", 1)
    both = Regularizer("jumpstart", 0.5), Regularizer("jumpstart", 0.1, layers="all")
    (fitted,) = fit_runs(network, images, recipe((1, 0.1), regularizers=both), runs)
    line = (
        "one after another, float32, by plain modules: the compiled loops have no pre-activations"
    )
    assert capsys.readouterr().out == f"{line} but for Jumpstart alone\n"
    assert math.isfinite(fitted.history[-1]["training_loss"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dropout": 0.5}, "no dropout"),
        (RECIPES["jumpstart"], "no pre-activations"),
        ({"optimizer": "adam"}, "no adam"),
    ],
)
def test_fused_units_are_left_for_what_they_cannot_do(tmp_path, capsys, values, words):
    network, _, _ = setting(tmp_path, "resnet20", 0)
    found = Engine(30, fused=True).suited(network, recipe((1, 0.1), **values))
    assert (found.fused, found.vectorized) == (False, True)
    way = "vectorized, up to 30 at once, float32, by plain modules"
    assert capsys.readouterr().out == f"{way}: fused residual units have {words}\n"
    kept = Engine(30, fused=True).suited(network, recipe((1, 0.1), **RECIPES["scales"]))
    assert kept.fused


def test_facts_and_functions_are_of_the_same_regularizers():
    assert list(facts.REGULARIZERS) == list(REGULARIZERS)
    for name, known in facts.REGULARIZERS.items():
        assert (known.own != ()) == REGULARIZERS[name].needs_preactivations
