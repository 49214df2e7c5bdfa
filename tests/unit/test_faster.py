"""Which networks have a fast form on a CPU: those that it computes, and no others."""

from __future__ import annotations

import pytest
from torch import nn

from recall_distortion import networks
from recall_distortion.fast import faster
from recall_distortion.networks.mlp import MLP


class Other(MLP):
    def forward(self, images):
        return -super().forward(images)


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def with_another(layer):
    network = networks.build("mlp", channels=1, classes=4)
    network.fc2 = layer
    return network


def more(name):
    network = networks.build(name, channels=1, classes=4)
    network.further = nn.Linear(4, 4)
    return network


def in_another_order():
    network = networks.build("mlp", channels=1, classes=4)
    first = network.fc1
    del network.fc1
    network.fc1 = first
    return network


def sharing(what):
    network = networks.build("thin_mlp_4x8", channels=1, classes=4)
    if what == "layer":
        network.hidden[2] = network.hidden[1]
    else:
        network.hidden[2].weight = network.hidden[1].weight
    return network


def patched(layer, name="mlp"):
    network = networks.build(name, channels=1, classes=4)
    module = network.get_submodule(layer)
    forward = module.forward
    module.forward = lambda x: -forward(x)
    return network


def with_stride():
    network = networks.build("thin_cnn_2x3", channels=1, classes=4)
    network.hidden[1].stride = (2, 2)
    return network


@pytest.mark.parametrize(
    "network",
    [
        Other(1, 4),
        patched(""),
        patched("fc2"),
        patched("hidden.1", "thin_cnn_2x3"),
        with_stride(),
        with_another(Scaled(32, 32)),
        with_another(nn.Linear(32, 32, bias=False)),
        with_another(nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32))),
        more("mlp"),
        more("cnn"),
        in_another_order(),
        sharing("layer"),
        sharing("weight"),
        networks.build("mlp", channels=1, classes=4).double(),
        networks.build("mlp", channels=1, classes=4).to("meta"),
    ],
    ids=[
        "derived",
        "patched",
        "patched layer",
        "patched convolution",
        "convolution with a stride",
        "other layer",
        "no bias",
        "two layers",
        "one more",
        "one more after convolutions",
        "another order",
        "one layer twice",
        "one weight twice",
        "double precision",
        "elsewhere",
    ],
)
def test_what_it_would_not_compute_is_left_to_the_plain_network(network):
    assert faster(network) is None
