"""Dense networks to compress, for the tests of what does it."""

from __future__ import annotations

import torch
from core_helpers import recipe, training_plan, write_prepared

from recall_distortion import data, networks
from recall_distortion.training import TrainingImages, train_block
from recall_distortion.training.replicates import load_block

SEQUENTIAL = {"engine": "sequential"}
SEEDS = [3, 4, 5]


def write_dense(folder):
    """Write data and the dense networks of three seeds into a folder, and return it."""
    write_prepared(folder / "data.safetensors")
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
