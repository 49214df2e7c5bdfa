"""Layers of which pruning left no weight are counted, and told where there are any."""

from __future__ import annotations

import pandas as pd
import torch
from measured_helpers import SEEDS, measured, read, write_blocks

from recall_distortion import networks
from recall_distortion.compression.pruning.masks import global_masks, layer_masks
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.inference.estimates import answers
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.tables.files import read_table
from recall_distortion.tables.schema import SOMETIMES


def test_layers_without_any_weight_are_counted():
    network = networks.build("lenet5", channels=1, classes=10)
    scores = {
        name: torch.rand(weight.shape) + (name == "fc2.weight")
        for name, weight in networks.prunable_parameters(network).items()
    }
    masks = global_masks(scores, 1 / 50)
    assert Sparsity.of(masks, network, "total").empty_layers == 3
    assert Sparsity.of(masks | {"fc1.bias": torch.zeros(120).bool()}, network, "total") != (
        Sparsity.of(masks, network, "total")
    )
    del masks["conv1.weight"]
    assert Sparsity.of(masks, network, "total").empty_layers == 2
    assert Sparsity.of(layer_masks(scores, 1 / 50), network, "total").empty_layers == 0


def test_networks_csv_counts_them_where_a_network_has_any(tmp_path):
    predictions, sparsity = write_blocks(tmp_path / "in", [list(SEEDS)])
    chosen = next(path for path in sparsity if path.name.startswith("magnitude-10"))
    written = pd.read_csv(chosen)
    for lost in ([0] * 6, [0, 2, 0, 1, 0, 0]):
        written.assign(empty_layers=lost).to_csv(chosen, index=False)
        paths = measured(tmp_path, *predictions, sparsity=sparsity)
        assert ("empty_layers" in read(paths, "networks")) == any(lost)
    # As estimates read it.
    table = read_table(paths["networks"], "networks", further=[*FURTHER, *SOMETIMES])
    cell = (table["method"] == "magnitude") & (table["ratio"] == 10)
    for seed, many in zip(SEEDS, lost, strict=True):
        own = table[cell & (table["seed"] == seed) & (table["failure"] == "")]
        assert set(own["empty_layers"]) == {many}
    assert table.loc[~cell, "empty_layers"].isna().all()

    found = answers(read(paths, "recall"), table)["sparsity"]
    retrained = found[found["state"] == "retrained"].set_index(["method", "ratio"])["note"]
    # Of the six networks one could not be retrained.
    words = "layer collapse: 2 of 5 networks have a layer without any weight"
    assert retrained["magnitude", 10] == words
    assert set(retrained.drop(("magnitude", 10))) == {""}
