"""From hand-written files of predictions to the tables of a study."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from measured_helpers import (
    CELLS,
    CLASSES,
    CONTROL,
    CPU,
    DENSE,
    FAILED,
    GPU,
    LABELS,
    LOSS,
    NAMES,
    PREDICTED,
    PROBABILITY,
    SEEDS,
    measured,
    read,
    run,
    write_blocks,
    write_predictions,
)

from recall_distortion.measures.distortion import (
    HalfBalances,
    crossfit,
    recall_table,
    slope,
    split_halves,
)
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.tables.schema import COLUMNS, STABILITY
from recall_distortion.vocabulary import NETWORK

MEASURES = COLUMNS["networks"][len(NETWORK) : COLUMNS["networks"].index("realised_ratio")]
SPARSITY = ["realised_ratio", "kept_fraction", "kept_prunable", "prunable", "total"]
MADE = ["device", "engine", "torch"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return run(tmp_path_factory.mktemp("measured") / "one", [list(SEEDS)])


@pytest.mark.parametrize("name", ["recall", "networks"])
def test_a_table_has_its_columns_in_order(paths, name):
    header = paths[name].read_text(encoding="utf-8").splitlines()[0]
    further = [c.name for c in (*FURTHER, *STABILITY)] if name == "networks" else []
    assert header.split(",") == [*COLUMNS[name], *further]


@pytest.mark.parametrize(
    "blocks", [[[0, 1], [2, 3], [4, 5]], [[0], [1, 2, 3, 4], [5]], [[3, 4, 5], [0, 1, 2]]]
)
def test_tables_do_not_depend_on_how_seeds_are_cut_into_blocks(paths, tmp_path, blocks):
    again = run(tmp_path / "again", blocks)
    for name, path in paths.items():
        assert again[name].read_bytes() == path.read_bytes(), name


def test_tables_do_not_depend_on_the_order_of_files(paths, tmp_path):
    predictions, sparsity = write_blocks(tmp_path / "again", [[0, 1], [2, 3], [4, 5]])
    # The methods' order is that of their first files; everything else is free.
    first = [predictions[place] for place in (4, 6, 9)]
    rest = [path for path in predictions if path not in first]
    for order in (rest[::-1], rest[3:] + rest[:3]):
        found = measured(tmp_path, *first, *order, sparsity=sparsity[::-1])
        for name, path in paths.items():
            assert found[name].read_bytes() == path.read_bytes(), name
    found = measured(tmp_path, *predictions[::-1], sparsity=sparsity)
    for name, path in paths.items():
        rows, expected = (p.read_text(encoding="utf-8").splitlines() for p in (found[name], path))
        assert rows != expected
        assert sorted(rows) == sorted(expected), name


def test_recall_holds_every_network_and_class_exactly(paths):
    table = read(paths, "recall")
    missing = {(*cell, "retrained", seed) for cell, seeds in FAILED.items() for seed in seeds}
    expected = [(*cell, seed) for cell in CELLS for seed in SEEDS if (*cell, seed) not in missing]
    groups = dict(list(table.groupby(["method", "ratio", "state", "seed"], sort=False)))
    assert sorted(groups) == sorted((m, int(r), s, seed) for m, r, s, seed in expected)
    for method, ratio, state, seed in expected:
        rows = groups[method, int(ratio), state, seed].reset_index(drop=True)
        own = recall_table(LABELS, PREDICTED[(method, ratio, state), seed], NAMES)
        for column in own.columns.drop(["mean_loss", "confidence"], errors="ignore"):
            assert rows[column].isna().tolist() == own[column].isna().tolist()
            assert rows[column].dropna().tolist() == own[column].dropna().tolist()
        assert rows["class_name"].tolist() == NAMES
    assert (table["dataset"] == "small").all()
    assert (table["architecture"] == "mlp").all()


def test_losses_and_confidences_are_means_over_the_images_of_a_class(paths):
    table = read(paths, "recall").astype({"ratio": int})
    assert table[["mean_loss", "confidence"]].notna().all(axis=None)
    for row in table.to_dict("records"):
        key = ((row["method"], str(row["ratio"]), row["state"]), row["seed"])
        images = [i for i in range(len(LABELS)) if LABELS[i] == row["class"]]
        assert len(images) == row["support"]
        for column, values in (("mean_loss", LOSS), ("confidence", PROBABILITY)):
            expected = math.fsum(values[key][i] for i in images) / len(images)
            assert row[column] == pytest.approx(expected, rel=1e-12)


def test_predictions_without_losses_leave_them_empty(tmp_path):
    kept = write_predictions(tmp_path / "dense.safetensors", SEEDS, [DENSE])
    bare = write_predictions(tmp_path / "control.safetensors", SEEDS, [CONTROL], losses=False)
    table = read(measured(tmp_path, kept, bare), "recall")
    known = table.groupby("method")[["mean_loss", "confidence"]].agg(lambda v: v.notna().all())
    assert known.loc["dense"].all()
    assert not known.loc["control"].any()
    # Of a cell in two files, either both have them or the cell has none.
    more = write_predictions(tmp_path / "a.safetensors", [0, 1], [DENSE], losses=False)
    rest = write_predictions(tmp_path / "b.safetensors", [2, 3], [DENSE])
    table = read(measured(tmp_path, more, rest), "recall")
    assert table[["mean_loss", "confidence"]].isna().all(axis=None)


def test_rows_follow_the_methods_order_then_ratio_and_state(paths):
    expected = [
        ("dense", 1, "dense"),
        ("control", 1, "retrained"),
        *(
            (method, ratio, state)
            for method in ("random", "magnitude")
            for ratio in (2, 10)
            for state in ("compressed", "retrained")
        ),
    ]
    keys = ["method", "ratio", "state"]
    table = read(paths, "recall")[keys].drop_duplicates()
    evaluated = [cell for cell in expected if cell != ("random", 2, "retrained")]
    assert list(table.itertuples(index=False, name=None)) == evaluated
    table = read(paths, "networks")
    cells = list(table[keys].drop_duplicates().itertuples(index=False, name=None))
    assert cells == [expected[0], ("reseed", 1, "dense"), *expected[1:]]
    for _, group in table.groupby(keys, sort=False):
        assert group["seed"].is_monotonic_increasing
    for path in paths.values():
        assert "2.0" not in set(",".join(path.read_text().splitlines()).split(","))


def test_alpha_is_the_slope_of_each_replicate(paths):
    table = read(paths, "networks").astype({"ratio": int})
    assert len(table) == 6 + 3 + 6 + 2 * 2 * 2 * 6
    evaluated = table[table["failure"] == ""]
    assert len(evaluated) == len(table) - 1 - 6
    dense = evaluated[evaluated["method"] == "dense"]
    assert dense[[name for name in MEASURES if name != "accuracy"]].isna().all(axis=None)
    for row in evaluated.to_dict("records"):
        cell, partner = (row["method"], str(row["ratio"]), row["state"]), row["seed"]
        if row["method"] == "reseed":
            cell, partner = DENSE, row["seed"] + 1
        before = recall_table(LABELS, PREDICTED[DENSE, row["seed"]], CLASSES)
        after = recall_table(LABELS, PREDICTED[cell, partner], CLASSES)
        assert row["accuracy"] == after["accuracy"][0]
        if row["method"] == "dense":
            continue
        x, y = before["normalized_balance"], after["normalized_balance"]
        alpha = slope(x, y)
        assert row["alpha"] == pytest.approx(alpha, rel=1e-12)
        assert row["denominator"] == pytest.approx((x**2).sum(), rel=1e-12)
        residual = ((y - alpha * x) ** 2).sum()
        assert row["r2"] == pytest.approx(1 - residual / (y**2).sum(), rel=1e-9)
        assert row["accuracy_before"] == before["accuracy"][0]
        assert math.isfinite(row["alpha_crossfit"])


def test_slopes_between_dense_networks_come_first_and_pair_seeds(paths):
    table = read(paths, "networks")
    rows = table.iloc[6:9]
    assert rows[["method", "ratio", "state", "seed"]].to_numpy().tolist() == [
        ["reseed", 1, "dense", seed] for seed in (0, 2, 4)
    ]
    assert set(table["method"].iloc[:6]) == {"dense"}
    assert "reseed" not in set(table["method"].iloc[9:])
    assert table["method"].iloc[9] == "control"
    assert "reseed" not in set(read(paths, "recall")["method"])


def test_crossfit_holds_what_the_cross_fitted_slopes_are_quotients_of(paths):
    table = read(paths, "networks").astype({"ratio": int})
    table = table[(table["failure"] == "") & (table["method"] != "dense")]
    quotients = table["crossfit_numerator"] / table["crossfit_denominator"]
    assert quotients.tolist() == table["alpha_crossfit"].tolist()
    halves = split_halves(LABELS, 5)

    def halved(cell, seed):
        correct = PREDICTED[cell, seed][None] == LABELS
        return HalfBalances.of(LABELS, correct, halves, CLASSES)

    for row in table.to_dict("records"):
        cell, partner = (row["method"], str(row["ratio"]), row["state"]), row["seed"]
        if row["method"] == "reseed":
            cell, partner = DENSE, row["seed"] + 1
        before, after = halved(DENSE, row["seed"]), halved(cell, partner)
        found = row["crossfit_numerator"] / row["crossfit_denominator"]
        assert found == pytest.approx(crossfit(before, after)[0], rel=1e-9)
        products = (before.first * before.second).sum((1, 2)).mean()
        assert row["crossfit_denominator"] == pytest.approx(products, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("seeds", "firsts"), [([], []), ([3], []), ([1, 4, 9], [1])])
def test_dense_networks_without_a_partner_have_no_slope(tmp_path, monkeypatch, seeds, firsts):
    for seed, values in itertools.product(seeds, (PREDICTED, LOSS, PROBABILITY)):
        monkeypatch.setitem(values, (DENSE, seed), values[DENSE, seed % 6])
    path = write_predictions(tmp_path / "dense.safetensors", seeds, [DENSE])
    table = read(measured(tmp_path, path), "networks")
    assert table.loc[table["alpha"].notna(), "seed"].tolist() == firsts
    assert table.loc[table["method"] == "reseed", "seed"].tolist() == firsts
    assert table.loc[table["method"] == "dense", "seed"].tolist() == seeds


def test_a_study_whose_every_dense_network_failed_has_tables_that_say_so(tmp_path):
    failures = [
        {"method": "dense", "ratio": "1", "stage": "training", "seed": seed, "reason": "nan"}
        for seed in (0, 1)
    ]
    path = write_predictions(
        tmp_path / "dense.safetensors", [], [DENSE], metadata={"failures": failures}
    )
    paths = measured(tmp_path, path)
    assert read(paths, "recall").empty
    assert read(paths, "networks")[["seed", "failure"]].to_numpy().tolist() == [
        [0, "nan"],
        [1, "nan"],
    ]


@pytest.mark.filterwarnings("error")
def test_a_class_with_one_image_has_no_cross_fitted_slope(tmp_path):
    labels = np.where((LABELS == 2) & (np.arange(53) != np.argmax(LABELS == 2)), 0, LABELS)
    path = write_predictions(tmp_path / "a.safetensors", SEEDS, CELLS[:2], labels=labels)
    table = read(measured(tmp_path, path), "networks")
    table = table[table["method"] != "dense"]
    assert len(table) == 3 + 6
    sums = ["alpha_crossfit", "crossfit_numerator", "crossfit_denominator"]
    assert table[sums].isna().all(axis=None)
    assert np.isfinite(table["alpha"]).all()


def test_a_failed_replicate_is_absent_and_told(paths):
    table = read(paths, "networks")
    lost = table[table["failure"] != ""]
    assert list(lost[["method", "ratio", "state", "seed"]].itertuples(index=False, name=None)) == [
        *(("random", 2, "retrained", seed) for seed in SEEDS),
        ("magnitude", 10, "retrained", 2),
    ]
    assert lost["failure"].iloc[-1] == 'seed 2: loss is nan, "really"'
    assert lost[[*MEASURES, *SPARSITY]].isna().all(axis=None)
    for column, value in CPU.items():
        assert set(lost[column]) == {value}  # what they failed on

    def seeds(method, ratio, state):
        rows = (table["method"] == method) & (table["ratio"] == ratio) & (table["state"] == state)
        return table[rows & table["alpha"].notna()]["seed"].tolist()

    assert seeds("magnitude", 10, "retrained") == [0, 1, 3, 4, 5]
    assert seeds("magnitude", 10, "compressed") == list(SEEDS)
    assert seeds("random", 2, "retrained") == []
    recall = read(paths, "recall")
    both = recall[NETWORK].drop_duplicates().merge(lost[NETWORK], on=NETWORK)
    assert both.empty


def test_a_dense_network_that_failed_is_told_at_the_state_it_did_not_reach(tmp_path):
    path = write_predictions(
        tmp_path / "a.safetensors",
        [0, 1],
        [DENSE],
        metadata={
            "failures": [
                {"method": "dense", "ratio": "1", "stage": "training", "seed": 7, "reason": "nan"}
            ]
        },
    )
    table = read(measured(tmp_path, path), "networks")
    assert table[["method", "state", "seed", "failure"]].to_numpy().tolist() == [
        ["dense", "dense", 0, ""],
        ["dense", "dense", 1, ""],
        ["dense", "dense", 7, "nan"],
        ["reseed", "dense", 0, ""],
    ]


def test_intercepts_are_those_of_a_fit_that_has_one(paths):
    table = read(paths, "networks").astype({"ratio": int})
    table = table[table["alpha"].notna() & (table["method"] != "reseed")]
    assert len(table) == 6 + 2 * 2 * 2 * 6 - 7
    for row in table.to_dict("records"):
        cell = (row["method"], str(row["ratio"]), row["state"])
        x, y = (
            recall_table(LABELS, PREDICTED[of, row["seed"]], CLASSES)["normalized_balance"]
            for of in (DENSE, cell)
        )
        expected = np.polyfit(x, y, 1)
        found = (row["slope_with_intercept"], row["intercept"])
        assert found == pytest.approx(tuple(expected), rel=1e-9)
        assert row["slope_with_intercept"] != pytest.approx(row["alpha"])  # it is unbalanced


def test_sparsity_stands_as_it_was_written_beside_either_state(paths):
    table = read(paths, "networks")
    known = table[table["realised_ratio"].notna()]
    assert (known["realised_ratio"] == 4 / 3 + known["seed"]).all()
    wanted = {"kept_fraction": 0.3, "kept_prunable": 30, "prunable": 100, "total": 120}
    for column, value in wanted.items():
        assert (known[column] == value).all()
    counts = known.groupby(["method", "ratio", "state"], sort=False).size().to_dict()
    assert counts == {
        ("random", 2, "compressed"): 6,
        ("random", 10, "compressed"): 6,
        ("random", 10, "retrained"): 6,
        ("magnitude", 2, "compressed"): 6,
        ("magnitude", 2, "retrained"): 6,
        ("magnitude", 10, "compressed"): 6,
        ("magnitude", 10, "retrained"): 5,
    }
    pruned = table[table["method"].isin(["random", "magnitude"]) & (table["failure"] == "")]
    assert pruned[SPARSITY].notna().all(axis=None)


def test_a_network_says_what_trained_it(paths):
    table = read(paths, "networks")
    made = table[table["state"].isin(["dense", "retrained"]) & (table["method"] != "reseed")]
    assert len(made) == 6 + 6 + 2 * 2 * 6
    for column, value in CPU.items():
        assert set(made[column]) == {value}
    # Nothing trains between dense networks, or between pruning and retraining.
    others = table.drop(index=made.index)
    assert set(others["state"]) == {"dense", "compressed"}
    assert (others[MADE] == "").all(axis=None)


def test_networks_of_blocks_that_two_engines_made_name_their_own(tmp_path):
    two = {("random", "2", "retrained"): "random", DENSE: "dense", CONTROL: "control"}
    blocks = {(0, 1, 2, 3): CPU, (4,): GPU, (5,): GPU}
    files = [
        write_predictions(tmp_path / f"{name}-{seeds[0]}.safetensors", seeds, [cell], trained=by)
        for seeds, by in blocks.items()
        for cell, name in two.items()
    ]
    tables = []
    for order in (files, files[::-1]):
        table = read(measured(tmp_path, *order), "networks")
        tables.append(table.sort_values("method", kind="stable").reset_index(drop=True))
    pd.testing.assert_frame_equal(*tables)
    for method in ("control", "dense", "random"):  # those of random failed
        rows = tables[0].loc[tables[0]["method"] == method, ["seed", *MADE]]
        assert rows.to_numpy().tolist() == [
            *([seed, "cpu", CPU["engine"], "2.10"] for seed in (0, 1, 2, 3)),
            *([seed, "NVIDIA X", GPU["engine"], "2.9"] for seed in (4, 5)),
        ]


@pytest.mark.parametrize(
    ("facts", "device"),
    [
        (GPU, "NVIDIA X"),
        ({**CPU, "gpu": "NVIDIA X"}, "cpu"),  # by a process that had used its GPU before
        ({**CPU, "device": "cuda"}, "cuda"),
    ],
)
def test_a_gpu_goes_by_its_name_and_a_cpu_by_its_kind(tmp_path, facts, device):
    path = write_predictions(tmp_path / "a.safetensors", [0], [DENSE], trained=facts)
    table = read(measured(tmp_path, path), "networks")
    assert table["device"].tolist() == [device]


def test_predictions_from_elsewhere_need_not_say_what_made_their_networks(tmp_path: Path):
    path = write_predictions(tmp_path / "a.safetensors", SEEDS, CELLS[:2], trained=None)
    table = read(measured(tmp_path, path), "networks")
    assert len(table) == 6 + 3 + 6
    assert (table[MADE] == "").all(axis=None)


def test_a_study_without_failures_says_of_none(tmp_path):
    path = write_predictions(tmp_path / "dense.safetensors", [0, 1], [DENSE])
    paths = measured(tmp_path, path)
    assert len(read(paths, "recall")) == 2 * CLASSES
    table = read(paths, "networks")
    assert table["method"].tolist() == ["dense", "dense", "reseed"]
    assert set(table["failure"]) == {""}
