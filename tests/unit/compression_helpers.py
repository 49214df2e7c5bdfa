"""Dense networks to compress, for the tests of what does it."""

from __future__ import annotations

import torch
from core_helpers import recipe, training_plan, write_prepared

from recall_distortion import data, networks
from recall_distortion.compression import schedules
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.units import Unit
from recall_distortion.compression.schedules import Round
from recall_distortion.training import TrainingImages, train_block
from recall_distortion.training.replicates import load_block

SEQUENTIAL = {"engine": "sequential"}
SEEDS = [3, 4, 5]


def write_dense(folder, **options):
    """Write data and the dense networks of three seeds into a folder, and return it.

    ``options`` are those of ``write_prepared``.
    """
    write_prepared(folder / "data.safetensors", **options)
    train_block(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        folder / "dense.history.csv",
        training_plan(recipe((3, 0.05)), engine=SEQUENTIAL),
        architecture="mlp",
        seeds=SEEDS,
    )
    return folder


def images_of(folder):
    prepared = data.load(folder / "data.safetensors")
    return TrainingImages.of(prepared, selection="holdout", device="cpu")


def dense_network(folder, seed):
    network = networks.build("mlp", channels=1, classes=4)
    network.load_state_dict(load_block(folder / "dense.safetensors").state(seed))
    return network


def same(left, right):
    return set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)


def stepwise(fractions):
    """Return one chain: from each ratio to the next in one more round, but to the first."""
    chain = []
    for ratio, fraction in fractions.items():
        if chain:
            chain.append(Round(fraction + 0.2, ratio, asked=False))
        chain.append(Round(fraction, ratio))
    return [tuple(chain)]


def with_schedule(monkeypatch):
    """Have a schedule ``stepwise`` beside those that ship."""
    shipped = schedules.load

    def found(name):
        return stepwise if name == "stepwise" else shipped(name)

    monkeypatch.setattr(schedules, "load", found)


# A neuron of the MLP's first layer: its weights, its bias and what the second layer takes of it.
PARTS = ("fc1.weight", "fc1.bias", "fc2.weight")


def _scores(network, of_weights):
    return {"fc1": of_weights["fc1.weight"].sum(1)}


def _left(network, masks):
    return {"fc1": masks["fc1.bias"]}


def _masks(network, kept):
    rows = kept["fc1"]
    return {
        "fc1.weight": rows[:, None].expand_as(network.fc1.weight).clone(),
        "fc1.bias": rows.clone(),
        "fc2.weight": rows[None].expand_as(network.fc2.weight).clone(),
    }


def with_unit(monkeypatch):
    """Have a unit ``neuron`` beside those that ship."""
    shipped = units.load

    def found(name):
        return Unit(_scores, _left, _masks) if name == "neuron" else shipped(name)

    monkeypatch.setattr(units, "load", found)
