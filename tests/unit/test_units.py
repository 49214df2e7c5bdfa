"""What is removed as one: a choice of units becomes masks of all that these are made of."""

from __future__ import annotations

import csv
import pkgutil

import pytest
import torch
from compression_helpers import (
    PARTS,
    SEEDS,
    dense_network,
    images_of,
    same,
    with_unit,
    write_dense,
)
from core_helpers import compression_plan, method, recipe

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.facts import UNITS, WEIGHT
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Method
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.selection import loss_gradient, method_masks
from recall_distortion.data import load
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.system.errors import NetworkError
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.training import DeviceImages
from recall_distortion.vocabulary import Panel

VECTORIZED = {"engine": "vectorized"}


@pytest.fixture(autouse=True, scope="module")
def _neurons():
    with pytest.MonkeyPatch.context() as patch:
        with_unit(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"))


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_units_with_the_highest_scores_stay_with_all_that_they_are_made_of(folder, scope):
    network = dense_network(folder, 3)
    neurons = method("magnitude", unit="neuron", scope=scope)
    (masks,) = method_masks(network, neurons, [0.25], None, seed=3)
    assert tuple(masks) == PARTS
    sums = network.fc1.weight.detach().abs().sum(1)
    expected = torch.zeros(32, dtype=torch.bool)
    expected[sums.topk(8).indices] = True
    assert torch.equal(masks["fc1.bias"], expected)
    assert torch.equal(masks["fc1.weight"], expected[:, None].expand(32, 64))
    assert torch.equal(masks["fc2.weight"], expected[None].expand(32, 32))


@pytest.mark.parametrize("criterion", ["magnitude", "random"])
@pytest.mark.parametrize("counts", [[32, 31, 1], [20, 10, 5, 0], [7, 7]])
@pytest.mark.parametrize("seed", range(3))
def test_units_within_what_is_left_are_nested_and_exact(criterion, counts, seed):
    network = networks.build("mlp", channels=1, classes=4)
    neurons, masks = method(criterion, unit="neuron"), None
    for count in counts:
        before = masks
        (masks,) = method_masks(network, neurons, [count / 32], None, seed=seed, within=before)
        assert int(masks["fc1.bias"].sum()) == count
        for name in PARTS if before else ():
            assert not (masks[name] & ~before[name]).any()


@pytest.fixture(scope="module")
def pruned(folder, tmp_path_factory):
    """Files of networks without half of their parameters, by neurons: weights and sparsities."""
    output = tmp_path_factory.mktemp("pruned")
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    methods = {"neurons": method("gradient", unit="neuron")}
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        compression_plan(
            methods, recipe((2, 0.05)), count="total", engine={"engine": "vectorized"}
        ),
        panel=Panel("small", "mlp", "usual"),
        ratios={"neurons": ["2"]},
    )
    return files


def test_networks_without_some_units_are_smaller_networks(folder, pruned):
    """After retraining, too, a removed neuron's bias and outputs are nothing, and are counted."""
    files = pruned
    (part,) = load_compressed(files[0])
    images = images_of(folder).fit
    total = networks.counts(dense_network(folder, 3)).total
    with open(files[1], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for index, seed in enumerate(SEEDS):
        network = dense_network(folder, seed)
        gradient = loss_gradient(network, images, 32, seed=seed)
        kept = part.masks["fc1.bias"][index]
        of_weights = (network.fc1.weight * gradient["fc1.weight"]).abs().sum(1)
        assert of_weights[kept].min() >= of_weights[~kept].max()
        network.load_state_dict({name: v[index] for name, v in part.retrained.items()})
        assert not network.fc1.bias[~kept].any()
        small = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(64, int(kept.sum())),
            torch.nn.ReLU(),
            torch.nn.Linear(int(kept.sum()), 32),
            torch.nn.ReLU(),
            network.classifier,
        )
        small[1].weight.data, small[1].bias.data = network.fc1.weight[kept], network.fc1.bias[kept]
        small[3].weight.data, small[3].bias.data = network.fc2.weight[:, kept], network.fc2.bias
        batch = images.batch(slice(0, 9))
        torch.testing.assert_close(network(batch), small(batch), rtol=1e-5, atol=1e-6)
        assert float(rows[index]["realised_ratio"]) == pytest.approx(
            total / sum(value.numel() for value in small.parameters())
        )


def test_networks_without_some_units_are_evaluated_without_them(folder, pruned, tmp_path):
    """Before retraining they are the dense networks with their biases masked, too."""
    data, dense = folder / "data.safetensors", folder / "dense.safetensors"
    evaluate_block(
        data, dense, pruned[:1], tmp_path / "p.safetensors", panel=Panel("small", "mlp", "usual")
    )
    found = {part.state: part for part in read_predictions(tmp_path / "p.safetensors")[0]}
    (part,) = load_compressed(pruned[0])
    prepared = load(data)
    images = DeviceImages(
        prepared.test_images, prepared.test_labels, prepared.mean, prepared.std
    ).batch(slice(None))
    for index, seed in enumerate(SEEDS):
        network = dense_network(folder, seed).eval()
        for name, masks in part.masks.items():
            network.get_parameter(name).data *= masks[index]
        expected = network(images).argmax(1).tolist()
        assert found["compressed"].predicted[index].tolist() == expected


def test_a_weight_is_itself(folder):
    network = dense_network(folder, 3)
    tensors = {"fc1.weight": torch.ones(2)}
    unit = units.load("weight")
    for translate in (unit.scores, unit.left, unit.masks):
        assert same(translate(network, tensors), tensors)


def test_the_units_of_the_facts_are_those_that_can_be_loaded():
    assert set(UNITS) == {module.name for module in pkgutil.iter_modules(units.__path__)}
    for name, facts in UNITS.items():
        assert facts.name == name
        assert facts.meaning
    assert method("magnitude").unit == Method.unit == WEIGHT.name
    with pytest.raises(NetworkError, match="unknown unit 'block'; there is no module"):
        units.load("block")
