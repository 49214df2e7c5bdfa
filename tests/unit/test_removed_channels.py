"""A method's own shares of channels: what they leave, at which event, and which ratio names it."""

from __future__ import annotations

import copy

import pandas as pd
import pytest
import torch
from core_helpers import method, training_plan, write_prepared
from study_helpers import VALID, message, write

from recall_distortion import data, networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.selection import masked
from recall_distortion.compression.schedules.events import OfMethod
from recall_distortion.data import Shape
from recall_distortion.networks.structure import Group
from recall_distortion.report.definitions import definitions
from recall_distortion.study import Study, channels, check_feasible, load
from recall_distortion.system.errors import StudyError
from recall_distortion.training import DeviceImages, read, train_block
from recall_distortion.training.recipe import Recipe
from recall_distortion.training.replicates import copy_state
from recall_distortion.vocabulary import CONTROL_EVENTS, Panel

PANEL = Panel("digits", "lenet5", "tiny")
#: As Bartoldson et al. prune: the last layer most, the first one not at all.
SHARES = {"conv2": 0.3, "fc1": 0.3, "fc2": 0.9}
WHOLE = {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84}
LEFT = {"conv1": 6, "conv2": 12, "fc1": 84, "fc2": 9}
#: ceil(F + (N - F) (7 - i) / 7) after event i of 7, N and F being those above; by hand.
IN_SEVEN = {
    "conv1": [6, 6, 6, 6, 6, 6, 6],
    "conv2": [16, 15, 15, 14, 14, 13, 12],
    "fc1": [115, 110, 105, 100, 95, 90, 84],
    "fc2": [74, 63, 52, 42, 31, 20, 9],
}
#: conv1 26 * 6, conv2 (25 * 6 + 1) * 12, fc1 (25 * 12 + 1) * 84, fc2 85 * 9, classifier 10 * 10.
PARAMETERS = 156 + 1_812 + 25_284 + 765 + 100
RATIO = 2.19  # 61,706 / 28,117
OWN = {"criterion": "l2_norm", "unit": "channel", "removed": SHARES, "ratios": [RATIO]}
SEVEN = OWN | {"schedule": "events", "events": {"start": 1, "end": 7, "every": 1}}
SHAPES = {"digits": Shape(1, 28, 10)}


def study(own=OWN, *, architecture="lenet5", **further):
    values = copy.deepcopy(VALID)
    methods = {"own": own, **further}
    panel = {"dataset": "digits", "architectures": [architecture], "methods": [*methods]}
    values["recipes"]["tiny"]["training"]["phases"] = [{"epochs": 9, "learning_rate": 0.05}]
    return values | {"methods": methods, "panels": [panel], "ratios": [], "count": "total"}


def test_a_share_is_the_decimal_number_that_is_written():
    """The published filters that go: 153 of 512 at 30 %, 460 at 90 %."""
    wide = Group("wide", 512)
    assert [512 - channels.left(wide, {"wide": share}) for share in (0.3, 0.9)] == [153, 460]
    # In binary 1 - 0.7 lies above 0.3.
    assert channels.left(Group("ten", 10), {"ten": 0.7}) == 3
    assert channels.left(Group("ten", 10), {"ten": 0.99}) == 1
    assert channels.left(Group("ten", 10), {"other": 0.9}) == 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def images(folder):
    prepared = data.load(write_prepared(folder / "data.safetensors", classes=10, size=28))
    return DeviceImages(prepared.test_images, prepared.test_labels, prepared.mean, prepared.std)


@pytest.mark.parametrize("target", ["lowest", "highest", "random"])
def test_each_event_leaves_the_published_numbers(images, target):
    network, unit = networks.build("lenet5", channels=1, classes=10), units.load("channel")
    networks.initialize(network, torch.Generator().manual_seed(1))
    state, scored = copy_state(network), copy.deepcopy(network)
    by = {"criterion": "random"} if target == "random" else {"criterion": "l2_norm"}
    by |= {"target": target} if target == "highest" else {}

    def after(start, every):
        """Yield the masks after each event from ``start`` to epoch 7."""
        when = {"start": start, "every": every}
        own = method(**by, unit="channel", scope="layer", channels=LEFT, events=when)
        names = tuple(unit.masks(network, unit.left(network, whole)))
        events = OfMethod(own, 1 / RATIO, 7, 5, scored, names, ())
        left = {name: torch.ones_like(state[name], dtype=torch.bool) for name in names}
        for epochs in events.epochs:
            found = events.happen(epochs, masked(state, left), left).left
            assert not any((mask & ~left[name]).any() for name, mask in found.items())
            left = found
            yield found

    whole = {n: torch.ones_like(p, dtype=bool) for n, p in network.named_parameters()}
    found = list(after(1, 1))
    counts = {name: [] for name in WHOLE}
    for masks in found:
        for name, mask in unit.left(network, masks).items():
            counts[name].append(int(mask.sum()))
        # The masked network answers as one without the channels, which has as many parameters.
        unit.check(network, masked(state, masks), masks, images)
    assert counts == IN_SEVEN
    (once,) = after(7, 8)
    same = [torch.equal(once[name], mask) for name, mask in found[-1].items()]
    # By their norms they need not: what a layer reads goes with the events before.
    assert all(same) or target != "random"
    assert {name: int(mask.sum()) for name, mask in unit.left(network, once).items()} == LEFT


def test_a_study_runs_and_leaves_what_it_says(folder, images, tmp_path):
    path = write(
        tmp_path,
        study(
            SEVEN,
            once=SEVEN | {"criterion": "random", "events": {"start": 0, "end": 7}},
            shot={**OWN, "criterion": "l1_norm", "target": "highest"},
        ),
    )
    found = load(path)
    check_feasible(found, path, SHAPES)
    assert found.ratios_of("own") == [RATIO]
    dense = folder / "dense.safetensors"
    training = read(Recipe, found.training_parameters(PANEL)["recipe"], "recipe")
    train_block(
        folder / "data.safetensors", dense, tmp_path / "h.csv", training_plan(training),
        architecture="lenet5", seeds=[3],
    )  # fmt: skip
    files = [tmp_path / name for name in ("w.safetensors", "s.csv", "c.csv", "e.csv")]
    for name in ("own", "once", "shot"):
        plan = found.compression_parameters(PANEL, name)
        assert plan["methods"][name]["channels"] == LEFT
        assert not {"removed", "ratios"} & plan["methods"][name].keys()
        compress_block(
            Paths(folder / "data.safetensors", dense, *files),
            read(CompressionPlan, plan, name), panel=PANEL, ratios={name: [str(RATIO)]},
        )  # fmt: skip
        (row,) = pd.read_csv(files[1]).to_dict("records")
        assert (row["total"], row["kept_total"]) == (61_706, PARAMETERS)
        assert round(row["realised_ratio"], 2) == row["ratio"] == RATIO
        events = pd.read_csv(files[3])
        assert events["event"].max() == {"own": 7, "once": 1}.get(name) or events.empty
        (part,) = load_compressed(files[0])
        network = networks.build("lenet5", channels=1, classes=10)
        masks = {key: value[0] for key, value in part.masks.items()}
        left = units.load("channel").left(network, masks)
        assert {group: int(mask.sum()) for group, mask in left.items()} == LEFT


def test_what_does_not_say_it_is_told_nothing_of_it():
    plain = {key: value for key, value in SEVEN.items() if key not in ("removed", "ratios")}
    found = Study.model_validate(study(plain) | {"ratios": [2]})
    told = found.compression_parameters(PANEL, "own")["methods"]["own"]
    assert not {"removed", "channels"} & told.keys()


def test_published_numbers_may_go_at_events_as_well():
    values = study(
        {key: value for key, value in SEVEN.items() if key not in ("removed", "ratios")}
        | {"profile": "chip_resnet56"},
        architecture="resnet56",
    )
    panel = Panel("digits", "resnet56", "tiny")
    told = Study.model_validate(values).compression_parameters(panel, "own")["methods"]["own"]
    assert (told["channels"]["stage1.0.conv1"], told["channels"]["stage1"]) == (8, 9)
    assert told["events"] == {"start": 1, "every": 1}


WRONG = [
    ({"removed": {}}, "own.removed", "at least 1 item"),
    ({"removed": {"fc2": 1}}, "own.removed.fc2", "less than 1"),
    ({"removed": {"fc3": 0.5}}, "", "has no channels fc3; valid: conv1, conv2, fc1, fc2"),
    ({"removed": {"conv1": 0.1}}, "", "0.1 of the 6 channels of conv1 in lenet5 on digits (tiny)"),
    ({"ratios": None}, "own", "state that one, to two decimals, as ratios: [2.5]"),
    ({"ratios": [2, 3]}, "own", "state that one"),
    ({"ratios": [2.194]}, "own", "to two decimals"),
    ({"unit": "weight", "criterion": "magnitude"}, "own", "removed: it is of channels; add unit"),
    ({"profile": "chip_resnet56"}, "own", "say the same thing twice"),
    ({"sparsities": [0.5]}, "own", "sparsities are shares of single weights"),
    ({"schedule": "iterative"}, "own", "removed: schedule iterative goes through the study's"),
    ({"schedule": "gradual"}, "own", "schedule gradual removes single weights"),
    ({"weights": "int8", "ratios": None}, "own.removed", "unknown key"),
]


@pytest.mark.parametrize(("further", "key", "words"), WRONG)
def test_what_a_method_with_shares_cannot_say(tmp_path, further, key, words):
    own = {name: value for name, value in (OWN | further).items() if value is not None}
    text = message(write(tmp_path, study(own)))
    assert words in text
    assert f"key 'methods.{key}" in text or not key


def test_halves_that_a_shortcut_pads_with_lose_as_many(tmp_path):
    """A smaller ResNet pads with as many channels before as after; masked it would answer else."""
    uneven = OWN | {"removed": {"stage3_after": 0.5}, "ratios": [1.09]}
    text = message(write(tmp_path, study(uneven, architecture="resnet20")))
    assert "give stage3_before and stage3_after the same share" in text
    even = uneven | {"removed": {"stage3_before": 0.5, "stage3_after": 0.49}, "ratios": [1.21]}
    again = message(write(tmp_path, study(even, architecture="resnet20")))
    assert "give stage3_before" in again
    both = {"stage1": 0.5, "stage3_before": 0.5, "stage3_after": 0.5}
    load(write(tmp_path, study(uneven | {"removed": both}, architecture="resnet20")))


@pytest.mark.parametrize(
    ("shares", "count", "words"),
    [
        (SHARES, "total", "leaves 28,117 of 61,706 parameters; write ratios: [2.19]"),
        # Of 150 + 2400 + 48000 + 10080 weights 150 + 1800 + 25200 + 756.
        (SHARES, "prunable", "leaves 27,906 of 60,630 prunable weights; write ratios: [2.17]"),
        # 784 * 150 + 100 * 2400 + 58920, and 784 * 150 + 100 * 1800 + 25200 + 756 + 90.
        (SHARES, "multiply_adds", "leaves 323,646 of 416,520 multiply-adds; write ratios: [1.29]"),
        # One unit of 84: 120 weights and a bias, and 10 weights that read it.
        ({"fc2": 0.012}, "total", "leaves 61,575 of 61,706 parameters, which is ratio 1 to two"),
    ],
)
def test_another_ratio_is_refused_with_the_right_one_before_any_job(tmp_path, shares, count, words):
    values = study(OWN | {"removed": shares, "ratios": [4]}) | {"count": count}
    path = write(tmp_path, values)
    with pytest.raises(StudyError) as caught:
        check_feasible(load(path), path, SHAPES)
    where = f"{path}: key 'methods.own.ratios': lenet5 on digits: removed "
    assert str(caught.value).startswith(where + words)


def test_the_page_says_which_layers_lose_how_much():
    values = study(SEVEN, shot=OWN)
    values["panels"][0]["methods"].append(CONTROL_EVENTS)
    facts = Study.model_validate(values).facts()
    assert facts["methods"]["own"]["removed"] == SHARES
    sentence = next(one.sentence for one in definitions(facts, ["own"]))
    assert "of whose channels conv2 30 %, fc1 30 % and fc2 90 % go, rounded down" in sentence
    assert "at a ratio of its own: 2.19" in sentence
    assert "every group keeps the same" not in sentence
