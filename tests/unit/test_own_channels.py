"""Channels of networks of one's own: what goes together, what stays, and that nothing is left."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import own_models
import pytest
import torch
from own_helpers import IMAGE, built
from study_helpers import changed, write

from recall_distortion import networks
from recall_distortion.compression.channel_ratios import widths
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.channels import channel_scores, layers_of
from recall_distortion.compression.pruning.smaller import check_smaller
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.networks import channel_groups, grouping, plans, structure, tracing
from recall_distortion.study import check_feasible, examine, examined, load
from recall_distortion.system.errors import NetworkError, StudyError

BUILT_IN = ["mlp", "cnn", "lenet5", "resnet20", "thin_mlp_3x5", "thin_cnn_2x3"]


def sizes(layers):
    return {name: group.size for name, group in structure.groups(layers).items()}


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_found_in_the_networks_here_is_their_plan(name):
    """Layer by layer: the same groups in the same places, shapes and positions."""
    image = (max(plans.architecture(name).minimum_image_size, 10),) * 2
    network, images = networks.build(name, channels=3, classes=5), torch.rand(2, 3, *image)
    known = SimpleNamespace(prunable=tuple(networks.prunable_parameters(network)))
    seen = tracing.trace(network, images, prunable=known.prunable)
    layers, stay = grouping.grouped(network, known, seen)
    found = grouping.whole_network(network, known, layers, images)
    assert not stay
    planned = plans.layers(name, 3, 5, image)
    named = {}  # of a group here in the plan; one by one
    for own, other in zip(found, planned, strict=True):
        for mine, its in ((own.inputs, other.inputs), (own.outputs, other.outputs)):
            for group, planned_group in zip(mine, its, strict=True):
                if isinstance(group, int):
                    assert group == planned_group
                else:
                    assert named.setdefault(group, planned_group) == planned_group
        for part in ("name", "kind", "area", "positions", "bias", "prunable"):
            assert getattr(own, part) == getattr(other, part), own.name
    assert len({*named.values()}) == len(named) == len(structure.groups(planned))
    assert structure.counts(found) == structure.counts(planned)


def test_channels_that_are_joined_go_together_and_are_counted():
    """By hand: weights, biases, batch norm and columns of what is left."""
    layers = layers_of(built("Joined"))
    assert sizes(layers) == {"a": 4, "b": 6, "last": 5, "hidden": 7}
    # a to 2, b to 3, last to 2, hidden to 3: convolutions, batch norms, the gate; the head stays.
    a, b, last, hidden = 2, 3, 2, 3
    weights = a * 9 + b * a * 9 + b * b + b * b + (a + b) * 9 + last * (a + b) + hidden * last * 16
    others = 2 * a + b + b + b + 2 * (a + b) + last + hidden + (hidden * 4 + 4)
    own = {"a": a, "b": b, "last": last, "hidden": hidden}
    assert structure.counts(layers, own).prunable_weights == weights
    assert structure.counts(layers, own).total == weights + others
    adds = 64 * (weights - b * b - hidden * last * 16) + b * b + hidden * last * 16 + hidden * 4
    assert structure.multiply_adds(layers, own) == adds
    whole = networks.counts(built("Joined"))
    assert structure.counts(layers).total == whole.total
    assert structure.counts(layers).prunable_weights == whole.prunable_weights


@pytest.mark.parametrize("function", ["Joined", "mobile", "Block", "Stubborn", "Spelled"])
def test_a_network_of_ones_own_without_some_channels_is_the_masked_one(function):
    unit, network = units.load("channel"), built(function)
    layers, generator = layers_of(network), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.add_(0.1 + 0.2 * torch.rand(value.shape, generator=generator))
            assert name
    kept = {
        name: torch.randperm(size, generator=generator) < widths(layers, 0.5)[name]
        for name, size in sizes(layers).items()
    }
    masks = unit.masks(network, kept)
    assert all(torch.equal(own, kept[name]) for name, own in unit.left(network, masks).items())
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for name, mask in masks.items():
        state[name] *= mask
    images = torch.rand(5, 1, *IMAGE, generator=generator)
    check_smaller(network, state, masks, kept, images)
    found = Sparsity.of(masks, network, "total", networks.output_positions(network, images))
    own = {name: int(value.sum()) for name, value in kept.items()}
    assert found.kept_total == structure.counts(layers, own).total
    assert found.kept_prunable == structure.counts(layers, own).prunable_weights
    assert found.multiply_adds == structure.multiply_adds(layers, own)
    assert found.kept_total < found.total


def test_criteria_see_all_that_makes_and_reads_channels():
    network, drawn = built("Joined"), torch.Generator().manual_seed(0)
    state = network.state_dict()
    scores = channel_scores(network, "l1_norm", images=None, generator=drawn)
    rows = [state[f"{name}.weight"].double().abs().flatten(1).sum(1) for name in ("b", "c", "gate")]
    each = state["each.weight"].double().abs().flatten(1).sum(1)
    torch.testing.assert_close(scores["b"], sum(rows) + each[4:])
    images = torch.rand(6, 1, *IMAGE, generator=drawn)
    scores = channel_scores(network, "chip", images=images, generator=drawn)
    assert {name: len(own) for name, own in scores.items()} == sizes(layers_of(network))


NAMED = {"inner": {"made_by": ["inner"], "read_by": ["last"]}}


def test_what_cannot_be_followed_stays_and_says_why():
    found = channel_groups.found(built("Stubborn"))
    assert sizes(found.layers) == {"inner": 10}
    said = {
        "free": "conv2d in own_models.py, line ",
        "grouped": "a convolution of 2 groups",
        "padded": "add in own_models.py, line ",
        "taken": "getitem in own_models.py, line ",
        "viewed": "without some of them it raised RuntimeError: Sizes of tensors must match",
    }
    assert set(said) == set(found.stay)
    assert all(found.stay[name].startswith(why) for name, why in said.items())
    with pytest.raises(NetworkError, match=r"all its channels stay \(.*mlp: add in own_models.py"):
        layers_of(built("Tokens"))


def test_arguments_may_be_named_and_weights_used_alone_stay():
    network = built("Spelled")
    found = channel_groups.found(network)
    assert sizes(found.layers) == {"a": 4, "b": 5, "last": 8}
    said = {
        "apart": "add in own_models.py, line ",
        "c": "conv2d in own_models.py, line ",
        "silent.weight": "no layer that is called has it",
    }
    assert set(said) == set(found.stay)
    assert all(found.stay[name].startswith(why) for name, why in said.items())
    assert structure.counts(found.layers).total == networks.counts(network).total
    kept = {"a": 2, "b": 3, "last": 5}
    gone = 2 * (9 + 1) + (5 * (4 + 1) - 3 * (2 + 1)) + 6 * 4 + 3 * (7 + 1) + 3 * 4
    counted = structure.counts(found.layers, kept).total
    assert counted == networks.counts(network).total - gone


def test_what_cannot_be_compared_or_seen_is_refused_with_what_to_do():
    with pytest.raises(NetworkError, match=r"in double precision, .* the type of what it gets"):
        layers_of(built("Spelled", options={"cast": True}))
    named = {"made_by": ["c", "silent"], "read_by": ["silent", "last"]}
    with pytest.raises(NetworkError, match="spelled: channels: silent is not called, so that nob"):
        layers_of(built("Spelled", channels={"x": named}))


def test_a_blocks_hidden_units_go_and_its_attention_stays():
    network = built("Block")
    found = channel_groups.found(network)
    assert sizes(found.layers) == {"mlp.0": 12}
    stay = ["patches", "mlp.2", "attention.in_proj_weight", "attention.out_proj.weight"]
    assert sorted(found.stay) == sorted(stay)
    whole, least = (structure.counts(found.layers, own).total for own in ({}, {"mlp.0": 1}))
    assert whole - least == 11 * (8 + 1 + 8)
    images = torch.rand(6, 1, *IMAGE, generator=torch.Generator().manual_seed(0))
    (scores,) = channel_scores(network, "chip", images=images, generator=torch.Generator()).values()
    seen = []
    network.mlp[2].register_forward_pre_hook(lambda _, given: seen.append(given[0].double()))
    network(images)
    # [N, tokens, units]: an image's map has a row a unit and a place a token.
    maps = seen[0].mT
    nuclear = torch.linalg.matrix_norm
    for unit in (0, 7):
        less = maps.clone()
        less[:, unit] = 0
        own = (nuclear(maps, "nuc") - nuclear(less, "nuc")).mean().detach()
        assert float(scores[unit]) == pytest.approx(float(own), rel=1e-5, abs=1e-6)


def test_groups_can_be_named_where_a_forward_decides():
    with pytest.raises(NetworkError) as caught:
        layers_of(built("Deciding"))
    assert "decides by the values of a tensor (bool in own_models.py, line " in str(caught.value)
    assert "name them by channels: {NAME: {made_by: [LAYER, ...]" in str(caught.value)
    layers = layers_of(built("Deciding", channels=NAMED))
    assert sizes(layers) == {"inner": 8}
    assert structure.counts(layers, {"inner": 3}).total == 3 * 65 + 3 * 4 + 4


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"made_by": ["a", "norm"], "read_by": ["b"]}, "channels.x: without some of them "),
        ({"made_by": ["a", "b"], "read_by": ["c"]}, "different numbers of channels: a 4, b 6"),
        (
            {"made_by": ["last"], "read_by": ["c"]},
            "channels.x: c reads 6 and not 5 channels, or so",
        ),
        ({"made_by": ["top"], "read_by": ["c"]}, "channels.x.made_by: top is no module of it"),
        ({"made_by": ["head"], "read_by": ["c"]}, "made_by: head is not pruned; its outputs stay"),
        ({"made_by": ["a"], "read_by": ["each"]}, "read_by: each is a Conv2d; here are linear lay"),
        ({"made_by": ["a"], "read_by": ["b", "b"]}, "read_by: b is of x, too"),
    ],
)
def test_a_name_that_does_not_hold_is_refused_with_its_group(named, words):
    with pytest.raises(NetworkError) as caught:
        layers_of(built("Joined", channels={"x": named}))
    assert words in str(caught.value)
    assert str(caught.value).startswith("architecture joined: channels")


def study_of(tmp_path: Path, function: str, **method: object) -> Path:
    shutil.copy(own_models.__file__, tmp_path / "models.py")
    values = changed("panels.0.architectures", ["mine"])
    values["architectures"] = {"mine": {"module": f"models.py:{function}"}}
    values["methods"]["mine"] = {"criterion": "l1_norm", "unit": "channel", "ratios": [2]} | method
    return write(tmp_path, values)


@pytest.mark.slow
def test_a_study_knows_the_groups_without_torch_and_looks_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shapes = {"digits": SimpleNamespace(channels=1, image_size=8, classes=4)}
    path = study_of(tmp_path, "Joined")
    study = load(path)
    found = examine(study, path, shapes)
    assert found["mine", "digits"].layers == tuple(layers_of(built("Joined")))
    monkeypatch.setattr(examined, "_ask", None)
    assert examine(load(path), path, shapes) == found
    check_feasible(study, path, shapes, found)
    (panel,) = [network.panel for network in study.networks()]
    loaded = "recall_distortion.networks.channel_groups"
    bundles = {name: loaded in study.modules(panel, name) for name in study.bundles(panel)}
    assert bundles["mine"]
    assert not bundles["magnitude"]
    far = load(study_of(tmp_path, "Joined", ratios=[5000]))
    with pytest.raises(StudyError, match=r"key 'methods.mine.ratios': mine on digits cannot reach"):
        check_feasible(far, path, shapes, found)
    norms = load(study_of(tmp_path, "Joined", criterion="batch_norm_scale"))
    with pytest.raises(StudyError, match="mine of mine on digits ranks channels by their batch n"):
        check_feasible(norms, path, shapes, found)
