"""Dead and linear units and dead points, against counts by hand and by another way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from test_channels import chosen, images_for, masked, random_network
from torch import nn

from recall_distortion import networks
from recall_distortion.compression.pruning import units
from recall_distortion.evaluation.dead_units import DeadUnits, count
from recall_distortion.system.errors import NetworkError


def thin(first: list[float], second: list[list[float]], biases: list[list[float]]) -> nn.Module:
    """Return a thin MLP of two layers of three units, the first of which read the first pixel."""
    network = networks.build("thin_mlp_2x3", channels=1, classes=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.hidden[0].weight[:, 0] = torch.tensor(first)
        network.hidden[1].weight.copy_(torch.tensor(second))
        for layer, bias in zip(network.hidden, biases, strict=True):
            layer.bias.copy_(torch.tensor(bias))
    return network


def pixels(*first: float) -> torch.Tensor:
    images = torch.zeros(len(first), 1, 8, 8)
    images[:, 0, 0, 0] = torch.tensor(first)
    return images


def test_by_hand_over_two_batches_and_not_over_each() -> None:
    """The first layer's units are x, -x - 4 and 3; the second's read the first of them."""
    reads = [[1.0, 0, 0], [1.0, 0, 0], [0, 0, 0]]
    network = thin([1.0, -1.0, 0.0], reads, [[0, -4, 3], [-1, -2, -0.5]])
    batches = [pixels(-1, 0, -3), pixels(2, 1.5)]
    found = count(network, batches, pruned=False)
    # x is alive by the second batch alone, -x - 4 never; 3 is linear. Of the second layer
    # relu(x) - 1 is alive, relu(x) - 2 at best 0 and -0.5 dead, and three images reach nothing.
    assert found == DeadUnits(3 / 6, 1 / 6, 3 / 5, 6, 5, "1/3 2/3", "1/3 0/3", "0 3")
    assert count(network, batches[:1], pruned=False).dead_units_by_layer == "2/3 3/3"


def test_an_image_that_several_layers_stop_is_one_dead_point_of_the_network() -> None:
    reads = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    network = thin([1.0, 1.0, 1.0], reads, [[0, 0, 0], [-2, -2, -2]])
    found = count(network, [pixels(-1, 1, 3)], pruned=False)
    assert found.dead_points_by_layer == "1 2"
    assert found.dead_points == pytest.approx(2 / 3)


def counted(by_layer: str) -> list[int]:
    return [int(part.split("/")[0]) for part in by_layer.split()]


@pytest.mark.parametrize("name", ["lenet300", "cnn", "resnet20", "thin_cnn_2x3"])
def test_what_pruning_removed_is_no_unit(name: str) -> None:
    """Removed channels look dead, and nothing else of what is counted changes."""
    kept, images = chosen(name, 1), images_for(name)
    whole = random_network(name, 1)
    network = masked(whole, units.load("channel").masks(whole, kept))
    found = count(network, images.split(4), pruned=True)
    every = count(network, [images], pruned=False)
    removed = every.units - found.units
    assert removed > 0
    dead = [sum(counted(one.dead_units_by_layer)) for one in (every, found)]
    assert dead[0] - dead[1] == removed
    assert counted(found.linear_units_by_layer) == counted(every.linear_units_by_layer)
    assert found.dead_points_by_layer == every.dead_points_by_layer
    if name != "resnet20":  # whose groups have several rectifiers
        assert removed == sum(int((~own).sum()) for own in kept.values())


def test_units_behind_batch_norm_and_shortcut_are_those_of_the_rectifier() -> None:
    network, images = random_network("resnet20", 2), images_for("resnet20")
    found = count(network, [images], pruned=False)
    block = network.stage1[0]
    with torch.no_grad():
        seen = [network.bn1(network.conv1(images))]
        x = F.relu(seen[0])
        seen.append(block.bn1(block.conv1(x)))
        seen.append(block.bn2(block.conv2(F.relu(seen[1]))) + x)
    wanted = [f"{int((z.amax((0, 2, 3)) <= 0).sum())}/16" for z in seen]
    assert found.dead_units_by_layer.split()[:3] == wanted
    assert found.units == 7 * 16 + 6 * 32 + 6 * 64


def test_a_network_without_rectifiers_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.GELU(), nn.Linear(4, 2))
    with pytest.raises(NetworkError, match="dead_units: Sequential has no rectifier"):
        count(network, [pixels(1)], pruned=False)
