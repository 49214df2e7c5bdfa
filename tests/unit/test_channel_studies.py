"""Studies that remove channels: what they may say, what their jobs make, what tables say of it."""

from __future__ import annotations

import csv

import pandas as pd
import pytest
from compression_helpers import SEEDS, dense_network, images_of, write_dense
from core_helpers import compression_plan, method, recipe
from measured_helpers import measured, read, write_blocks
from study_helpers import VALID, message, write

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.channel_ratios import fraction_of_channels, widths
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import RetrainingPlan
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.selection import method_masks
from recall_distortion.compression.pruning.units import Unit
from recall_distortion.data.prepared import Shape
from recall_distortion.inference.consistency import require_sparsities
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.networks import plans, structure
from recall_distortion.study import METHODS, Study, check_feasible, load
from recall_distortion.system.errors import NetworkError, StudyError, TableError
from recall_distortion.tables.files import read_table
from recall_distortion.tables.schema import SOMETIMES
from recall_distortion.vocabulary import Panel

CHANNEL = {"criterion": "chip", "unit": "channel"}


def study(mine=CHANNEL, *, architecture="cnn", methods=("mine",), **values):
    """Return a study whose method ``mine`` removes channels, or what it is given."""
    panel = {"dataset": "digits", "architectures": [architecture], "methods": list(methods)}
    return VALID | {"methods": {"mine": mine}, "panels": [panel]} | values


WRONG = [
    ({"unit": "block"}, "methods.mine.unit", ["'weight' or 'channel'"]),
    ({"criterion": "magnitude"}, "methods.mine", ["magnitude does not score a channel", "l1_norm"]),
    ({"scope": "global"}, "methods.mine", ["unit channel takes layer alone"]),
    ({"schedule": "gradual"}, "methods.mine", ["gradual removes single weights"]),
    ({"retraining": "shuffled"}, "methods.mine", ["which would be no channels"]),
    ({"sparsities": [0.5]}, "methods.mine", ["shares of single weights"]),
    ({"criterion": "l1_norm", "feature_images": 9}, "methods.mine", ["l1_norm looks at no"]),
    ({"criterion": "l1_norm", "gradient_examples": 9}, "methods.mine", ["looks at no gradient"]),
    ({"criterion": "l1_norm", "epsilon": 0.1}, "methods.mine", ["epsilon: l1_norm has no such"]),
    ({"feature_images": 0}, "methods.mine.feature_images", ["greater than or equal to 1"]),
    ({"profile": "chip_resnet56", "ratios": [2]}, "methods.mine", ["ratios say nothing"]),
    ({"profile": "chip_resnet56", "schedule": "iterative"}, "methods.mine", ["remove profile"]),
    ({"profile": "chip"}, "methods.mine.profile", ["'chip_resnet56'"]),
]


@pytest.mark.parametrize(("further", "key", "words"), WRONG)
def test_what_a_method_of_channels_cannot_say(tmp_path, further, key, words):
    text = message(write(tmp_path, study(CHANNEL | further)))
    assert f"key '{key}" in text
    for word in words:
        assert word in text


def test_what_a_method_of_weights_cannot_say(tmp_path):
    text = message(write(tmp_path, study({"criterion": "chip"})))
    assert "chip does not score a weight; valid with unit: weight: magnitude," in text
    text = message(write(tmp_path, study({"criterion": "magnitude", "profile": "chip_resnet56"})))
    assert "add unit: channel" in text


def test_what_networks_and_ratios_cannot_do(tmp_path):
    def told(**values):
        return message(write(tmp_path, study(**values)))

    by_norm = {"criterion": "batch_norm_scale", "unit": "channel"}
    text = told(mine=by_norm)
    assert (
        "mine of cnn on digits (tiny) ranks channels by their batch norm, and cnn has none" in text
    )
    assert "l1_norm, l2_norm, chip, random" in text
    Study.model_validate(study(by_norm, architecture="resnet20"))
    text = told(methods=("mine", "magnitude"), count="multiply_adds")
    assert "magnitude of cnn on digits (tiny) removes single weights" in text
    text = told(mine=CHANNEL | {"profile": "chip_resnet56"}, ratios=[])
    assert "chip_resnet56 is of resnet56" in text

    rounds = {"criterion": "magnitude", "schedule": "iterative"}
    values = study(CHANNEL | {"schedule": "iterative"}, methods=("mine", "rounds"))
    values["methods"]["rounds"] = rounds
    text = message(write(tmp_path, values))
    assert "mine and rounds remove different units of cnn on digits (tiny) in rounds" in text
    assert "control_iterative is no control of both" in text
    values = study(methods=("mine", "small"))
    values["methods"]["small"] = {"weights": "int8", "of": "mine"}
    assert "mine removes whole channels" in message(write(tmp_path, values))


@pytest.mark.parametrize(("count", "largest"), [("total", "81.28"), ("multiply_adds", "34.61")])
def test_a_ratio_that_no_channels_leave_is_refused_when_the_study_is_read(tmp_path, count, largest):
    path = write(tmp_path, study(ratios=[2, 100], count=count))
    with pytest.raises(StudyError) as caught:
        check_feasible(load(path), path, {"digits": Shape(1, 8, 10)})
    text = str(caught.value)
    assert text.startswith(f"{path}: key 'ratios': cnn on digits cannot reach ratio 100")
    assert f"largest feasible ratio is {largest}." in text
    path = write(tmp_path, study(ratios=[2, float(largest)], count=count))
    check_feasible(load(path), path, {"digits": Shape(1, 8, 10)})


def test_a_study_says_what_its_jobs_need(tmp_path):
    rounds = {"criterion": "l1_norm", "unit": "channel", "schedule": "iterative"}
    values = study(methods=("control", "mine", "magnitude", "control_iterative", "rounds"))
    values["methods"]["rounds"] = rounds
    found = load(write(tmp_path, values))
    panel = found.networks()[0].panel
    pruning = "recall_distortion.compression.pruning"
    own = found.modules(panel, "mine")
    assert f"{pruning}.channel_scores.chip" in own
    assert f"{pruning}.units.channel" in own
    assert not [name for name in own if "weight" in name or ".scores." in name]
    assert f"{pruning}.units.channel" in found.modules(panel, "control_iterative")
    assert [name for name in found.modules(panel, "magnitude") if pruning in name] == [
        f"{pruning}.scores.magnitude",
        f"{pruning}.units.weight",
    ]
    assert not [name for name in found.modules(panel, "control") if pruning in name]

    given = found.compression_parameters(panel, "mine")
    assert given["methods"]["mine"]["unit"] == "channel"
    assert given["methods"]["mine"]["scope"] == "layer"
    assert given["methods"]["mine"]["feature_images"] == 640
    assert given["plan"] == structure.word(plans.layers("cnn", 1, 2))
    rounds_of = found.compression_parameters(panel, "control_iterative")
    assert rounds_of["unit"] == "channel"
    # What removes weights is told nothing of this, so that it is not made again.
    for bundle in ("magnitude", "control"):
        given = found.compression_parameters(panel, bundle)
        assert not {"plan", "unit"} & set(given)
    assert set(found.compression_parameters(panel, "magnitude")["methods"]["magnitude"]) == {
        "criterion",
        "scope",
        "schedule",
        "gradient_examples",
        "epsilon",
    }
    assert found.facts()["methods"]["mine"] == {
        "criterion": "chip",
        "scope": "layer",
        "schedule": "one_shot",
        "unit": "channel",
        "feature_images": 640,
    }
    for name in ("l1_norm", "l2_norm", "chip", "batch_norm_scale", "random_channels"):
        assert METHODS[name].unit == "channel"


def test_the_published_rates_of_chip():
    """Of 853,018 parameters they leave 240,793 where stage 3 keeps all of its 64 channels."""
    values = study(CHANNEL | {"profile": "chip_resnet56"}, architecture="resnet56")
    found = Study.model_validate(values | {"ratios": [], "count": "total"})
    assert found.ratios_of("mine") == [3.54]
    panel = found.networks()[0].panel
    own = found.compression_parameters(panel, "mine")["methods"]["mine"]["channels"]
    layers = plans.layers("resnet56", 3, 10)
    assert set(own) == set(structure.groups(layers))
    left = {layer.name: structure.width(layer.outputs, own) for layer in layers}
    assert {left[f"stage{s}.{b}.conv1"] for s in (1, 2, 3) for b in range(9)} == {8, 12, 19}
    assert [left[f"stage{s}.4.conv2"] for s in (1, 2, 3)] == [9, 19, 51]
    assert structure.counts(layers, own).total == 201_931
    # The published count, of a stem and a third stage that lose nothing, by the same numbers.
    inputs, total = 16, 27 * 16 + 2 * 16 + 64 * 10 + 10
    for stage, inner in ((9, 8), (19, 12), (64, 19)):
        for _ in range(9):
            total += 9 * inputs * inner + 2 * inner + 9 * inner * stage + 2 * stage
            inputs = stage
    assert total == 240_793
    assert round(853_018 / total, 2) == 3.54

    network = networks.build("resnet56", channels=3, classes=10)
    definition = method("l1_norm", unit="channel", scope="layer", channels=own)
    (masks,) = method_masks(network, definition, [1 / 3.54], None, seed=0)
    kept = units.load("channel").left(network, masks)
    assert {group: int(value.sum()) for group, value in kept.items()} == own


# Jobs


ROUNDS = {"schedule": "iterative", "unit": "channel", "scope": "layer"}
MADE = {
    "control": None,
    "control_iterative": None,
    "l1": method("l1_norm", unit="channel", scope="layer"),
    "chip": method("chip", unit="channel", scope="layer", feature_images=40),
    "rounds": method("l1_norm", **ROUNDS),
    "ticket": method("random", retraining="rewind", **ROUNDS),
    "fresh": method("l2_norm", unit="channel", scope="layer", retraining="reinit"),
    "rate": method("l1_norm", unit="channel", scope="layer", retraining="rewind_rate"),
}
RATIOS = ["2", "5"]


def compress(folder, output, methods=MADE, count="total"):
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    training = recipe((2, 0.05))
    plan = compression_plan(
        methods,
        recipe((1, 0.05)),
        count=count,
        engine={"engine": "vectorized"},
        retrainings={n: RetrainingPlan(training, 1) for n in ("rewind", "rewind_rate", "reinit")},
    )
    plan = plan.__class__(**{**vars(plan), "unit": "channel"})
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        plan,
        panel=Panel("small", "mlp", "usual"),
        ratios={name: ["1"] if name == "control" else RATIOS for name in methods},
    )
    with open(files[1], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {(part.cell.method, part.cell.ratio): part for part in load_compressed(files[0])}, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"))


@pytest.mark.parametrize("count", ["total", "multiply_adds"])
def test_every_schedule_and_retraining_keeps_the_channels_of_the_ratio(folder, tmp_path, count):
    found, rows = compress(folder, tmp_path, count=count)
    layers, unit = plans.layers("mlp", 1, 4, (8, 8)), units.load("channel")
    network, images = dense_network(folder, SEEDS[0]), images_of(folder).fit
    assert len(rows) == len(SEEDS) * len(RATIOS) * (len(MADE) - 2)
    for (name, ratio), part in found.items():
        if MADE[name] is None:
            assert not part.masks
            continue
        own = widths(layers, fraction_of_channels(layers, float(ratio), count))
        small = structure.counts(layers, own)
        for index, seed in enumerate(SEEDS):
            masks = {key: value[index] for key, value in part.masks.items()}
            kept = unit.left(network, masks)
            assert {group: int(value.sum()) for group, value in kept.items()} == own
            state = {key: value[index] for key, value in part.retrained.items()}
            for key, mask in masks.items():
                assert not state[key][~mask].any()
                assert state[key][mask].abs().sum() > 0
            unit.check(network, state, masks, images)
            (row,) = [
                row
                for row in rows
                if (row["method"], row["ratio"], row["seed"]) == (name, ratio, str(seed))
            ]
            assert int(row["kept_total"]) == small.total
            assert int(row["kept_prunable"]) == small.prunable_weights
            assert int(row["multiply_adds"]) == structure.multiply_adds(layers, own)
            dense_adds = structure.multiply_adds(layers)
            assert int(row["dense_multiply_adds"]) == dense_adds
            sizes = (int(row["total"]), small.total)
            if count == "multiply_adds":
                sizes = dense_adds, int(row["multiply_adds"])
            assert float(row["realised_ratio"]) == pytest.approx(sizes[0] / sizes[1])
            assert float(row["realised_ratio"]) >= float(ratio)
            if name in ("rounds", "ticket") and ratio == "5":
                before = found[name, "2"].masks
                assert not any((mask & ~before[key][index]).any() for key, mask in masks.items())
    # A control of rounds has those of channels: 2 and 4 for ratios 2 and 5 by weights, fewer here.
    history = pd.read_csv(tmp_path / "history.csv")
    epochs = history.groupby(["method", "ratio"])["epoch"].max()
    for ratio in (2, 5):
        assert epochs["control_iterative", ratio] == epochs["rounds", ratio]


def test_a_network_of_which_something_is_left_fails_its_job(folder, tmp_path, monkeypatch):
    whole = units.load("channel")

    def forgets(network, kept):
        masks = whole.masks(network, kept)
        del masks["fc1.bias"]
        return masks

    monkeypatch.setattr(
        units,
        "load",
        lambda name: Unit(**{**vars(whole), "masks": forgets}),
    )
    with pytest.raises(NetworkError, match=r"MLP: of fc1\.bias masks leave 32 numbers"):
        compress(folder, tmp_path, {"l1": MADE["l1"]})
    assert not list(tmp_path.iterdir())


# Tables


def test_networks_csv_counts_parameters_and_multiply_adds(tmp_path):
    predictions, sparsity = write_blocks(tmp_path / "in", [list(range(6))])
    paths = measured(tmp_path, *predictions, sparsity=sparsity)
    assert "multiply_adds" not in read(paths, "networks")
    for path in sparsity:
        table = pd.read_csv(path)
        adds = (4000 / table["realised_ratio"]).round().astype(int)
        whole = pd.read_csv(path)["total"]
        table = table.assign(
            kept_total=(whole / table["realised_ratio"]).round().astype(int),
            multiply_adds=adds,
            dense_multiply_adds=4000,
        )
        table.to_csv(path, index=False)
    paths = measured(tmp_path, *predictions, sparsity=sparsity)
    table = read_table(paths["networks"], "networks", further=[*FURTHER, *SOMETIMES])
    whole = table["method"].isin(["dense", "control"])
    failed = table["failure"] != ""
    assert (table.loc[whole & ~failed, "multiply_adds"] == 4000).all()
    assert table.loc[table["method"] == "reseed", "multiply_adds"].isna().all()
    pruned = table["realised_ratio"].notna()
    expected = (4000 / table.loc[pruned, "realised_ratio"]).round()
    assert (table.loc[pruned, "multiply_adds"] == expected).all()
    assert "dense_multiply_adds" not in table


@pytest.mark.parametrize("counted", ["prunable", "total", "multiply_adds"])
def test_a_realised_ratio_follows_from_what_is_left(counted):
    panel = {"dataset": "d", "architecture": "cnn", "recipe": "r"}
    row = {"method": "l1", "ratio": 4.0, "state": "retrained", "seed": 0, "prunable": 100}
    row |= {"kept_prunable": 30, "total": 150, "kept_total": 40, "multiply_adds": 500}
    dense = {"method": "dense", "ratio": 1.0, "state": "dense", "seed": 0, "multiply_adds": 1750}
    row["realised_ratio"] = {"prunable": 100 / 30, "total": 150 / 40, "multiply_adds": 3.5}[counted]
    require_sparsities(pd.DataFrame([panel | dense, panel | row]), "networks.csv")
    row["realised_ratio"] = 150 / (150 - 100 + 30)  # were biases and inputs not counted
    with pytest.raises(TableError, match="does not follow"):
        require_sparsities(pd.DataFrame([panel | dense, panel | row]), "networks.csv")
