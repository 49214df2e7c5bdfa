"""Events and instability from predictions and from what jobs counted, by loops of this test."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from measured_helpers import CELLS, CLASSES, DENSE, LABELS, PREDICTED, SEEDS, failed, write_blocks

from recall_distortion.compression.events import EVENT_COLUMNS
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.measures.networks import further
from recall_distortion.measures.stability import stability
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.predictions import read_all
from recall_distortion.tables.schema import COLUMNS, STABILITY

NAMES = [column.name for column in STABILITY]
PLACES = {"": range(len(LABELS)), "_even": range(0, 53, 2), "_odd": range(1, 53, 2)}


def accuracy(cell, seed, places):
    predicted = PREDICTED[cell, seed]
    return sum(int(predicted[i] == LABELS[i]) for i in places) / len(places)


def balances(cell, seed, places):
    whole = accuracy(cell, seed, places)
    recalls = [
        accuracy(cell, seed, [i for i in places if LABELS[i] == label]) for label in range(CLASSES)
    ]
    return [(recall - whole) / whole for recall in recalls]


def alpha(cell, seed, places):
    before, after = balances(DENSE, seed, places), balances(cell, seed, places)
    return sum(b * a for b, a in zip(before, after, strict=True)) / sum(b * b for b in before)


def measured(folder, events=()):
    predictions, sparsity = write_blocks(folder, [range(3), range(3, 6)])
    made = [folder / f"{name}.csv" for name in ("recall", "networks", "events")]
    write_measures(predictions, sparsity, *made[:2], events=events, events_csv=made[2])
    networks = read_table(made[1], "networks", further=STABILITY)
    return networks, read_table(made[2], "events")


@pytest.fixture(scope="module")
def of_one_shot(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("made") / "study")


def test_one_shot_is_one_event_from_the_dense_network_to_the_compressed_one(of_one_shot):
    _, events = of_one_shot
    compressed = [cell for cell in CELLS if cell[2] == "compressed"]
    assert len(events) == len(compressed) * len(SEEDS) * (1 + CLASSES)
    assert (events["event"] == 1).all()
    assert (events["epoch"] == 0).all()
    rows = events.set_index(["method", "ratio", "seed", "class"])
    for cell in compressed:
        for seed in SEEDS:
            for label in ["all", *range(CLASSES)]:
                row = rows.loc[(cell[0], float(cell[1]), seed, str(label))]
                own = [i for i in PLACES[""] if label in ("all", LABELS[i])]
                assert row["before"] == pytest.approx(accuracy(DENSE, seed, own))
                assert row["after"] == pytest.approx(accuracy(cell, seed, own))


def test_networks_have_instability_and_what_each_half_says(of_one_shot):
    networks, _ = of_one_shot
    rows = networks.set_index(["method", "ratio", "state", "seed"])
    for cell in CELLS:
        if cell == DENSE:
            continue
        shot = (*cell[:2], "compressed")
        for seed in set(SEEDS) - set(failed(cell, SEEDS)):
            row = rows.loc[(cell[0], float(cell[1]), cell[2], seed)]
            for word, places in PLACES.items():
                before = accuracy(DENSE, seed, places)
                after = before if cell[0] == "control" else accuracy(shot, seed, places)
                assert row[f"instability{word}"] == pytest.approx((before - after) / before)
                if word:
                    assert row[f"accuracy{word}"] == pytest.approx(accuracy(cell, seed, places))
                    assert row[f"alpha{word}"] == pytest.approx(alpha(cell, seed, places))
    others = networks[networks["method"].isin(["dense", "reseed"]) | (networks["failure"] != "")]
    assert len(others)
    assert others[NAMES].isna().all(axis=None)


def counted(rng, support):
    before = rng.integers(1, support + 1)
    return before, rng.integers(0, before + 1)


def test_events_within_a_job_are_averaged_and_take_the_place_of_one_shot(tmp_path, of_one_shot):
    """The mean is over events, each relative to the accuracy just before it."""
    rng, rows, expected = np.random.default_rng(1), [], []
    support = np.array([np.bincount(LABELS[half::2], minlength=CLASSES) for half in (0, 1)])
    place = ("small", "mlp", "usual", "magnitude", 10.0, 4)
    for event, epoch in ((1, 0), (2, 3)):
        before, after = counted(rng, support)
        expected.append((before, after))
        rows += [
            [*place, event, epoch, half, label, *(a[half, label] for a in (support, before, after))]
            for half in (0, 1) for label in range(CLASSES)
        ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(EVENT_COLUMNS))
    assert list(EVENT_COLUMNS) == COLUMNS["job_events"]
    write_table(tmp_path / "job.csv", "job_events", table)
    networks, events = measured(tmp_path / "study", [tmp_path / "job.csv"])
    own = networks[(networks["method"] == "magnitude") & (networks["ratio"] == 10)]
    (row,) = own[(own["seed"] == 4) & (own["state"] == "retrained")].to_dict("records")
    for word, chosen in (("", [0, 1]), ("_even", [0]), ("_odd", [1])):
        each = [
            (before[chosen].sum() - after[chosen].sum()) / before[chosen].sum()
            for before, after in expected
        ]
        assert row[f"instability{word}"] == pytest.approx(np.mean(each))
    of_seed = events[(events["method"] == "magnitude") & (events["ratio"] == 10)]
    of_seed = of_seed[(of_seed["seed"] == 4) & (of_seed["class"] == "all")]
    assert of_seed[["event", "epoch"]].to_numpy().tolist() == [[1, 0], [2, 3]]
    assert of_seed["after"].tolist() == pytest.approx([a.sum() / 53 for _, a in expected])
    rest = networks[~networks.index.isin(own.index)]
    assert rest[NAMES].equals(of_one_shot[0].loc[rest.index, NAMES])


@pytest.mark.parametrize(("control", "events"), [("control_events", [2]), ("control", [1, 2])])
def test_what_goes_before_any_training_is_no_event(tmp_path, of_one_shot, control, events):
    """Of a chain's rounds the first comes after no epoch of its retraining, and is one."""
    predictions, _ = write_blocks(tmp_path / "study", [range(3), range(3, 6)])
    parts, _ = read_all(predictions)
    parts = [
        dataclasses.replace(part, control=control) if part.method == "magnitude" else part
        for part in parts
        if part.method != "magnitude" or part.state != "compressed"
    ]
    place = ("small", "mlp", "usual", "magnitude", 10.0, 4)
    rows = [
        [*place, event, epoch, half, label, 5, 4, 3 - event]
        for event, epoch in ((1, 0), (2, 3)) for half in (0, 1) for label in range(CLASSES)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(EVENT_COLUMNS))
    networks = of_one_shot[0].drop(columns=NAMES)
    removals, measured_networks = stability(parts, table, networks)
    of_method = removals[removals["method"] == "magnitude"]
    assert sorted(set(of_method["event"])) == events
    row = measured_networks.set_index(["method", "ratio", "state", "seed"])
    found = row.loc[("magnitude", 10.0, "retrained", 4), "instability"]
    assert found == pytest.approx(np.mean([(4 - (3 - event)) / 4 for event in events]))


def test_a_jobs_counts_without_predictions_are_refused(tmp_path):
    row = ["small", "mlp", "usual", "gone", 2.0, 0, 1, 0, 0, 0, 5, 4, 3]
    write_table(
        tmp_path / "job.csv", "job_events", pd.DataFrame([row], columns=list(EVENT_COLUMNS))
    )
    with pytest.raises(TableError, match="gone of mlp on small"):
        measured(tmp_path / "study", [tmp_path / "job.csv"])
    assert not (tmp_path / "study" / "networks.csv").exists()


def test_tables_without_events_have_no_such_columns(of_one_shot):
    networks, _ = of_one_shot
    assert set(NAMES) <= {column.name for column in further(networks)}
    assert not set(NAMES) & {column.name for column in further(networks.drop(columns=NAMES))}
