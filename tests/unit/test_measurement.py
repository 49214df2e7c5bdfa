"""From hand-written files of predictions to the tables of a study."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from core_helpers import sealed

from recall_distortion import checksums
from recall_distortion import columns as columns_of
from recall_distortion.columns import RECALL_COLUMNS
from recall_distortion.distortion import HalfBalances, crossfit, recall_table, slope, split_halves
from recall_distortion.errors import TableError
from recall_distortion.measurement import measure, read_predictions
from recall_distortion.tables import read_table, write_table

NAMES = ["NA", "1", "a,b", 'ü "x"', ""]
CLASSES = len(NAMES)
RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat(np.arange(CLASSES), [8, 9, 10, 12, 14]))
SEEDS = range(6)
CELLS = [
    ("dense", "1", "dense"),
    ("control", "1", "finetuned"),
    *(
        (method, ratio, state)
        for method in ("random", "magnitude")
        for ratio in ("10", "2")
        for state in ("pruned", "finetuned")
    ),
]
# One table of all predictions: the cell and the seed give a network's labels.
PREDICTED = {
    (cell, seed): np.where(RNG.random(len(LABELS)) < 0.7, LABELS, RNG.integers(0, CLASSES, 53))
    for cell in CELLS
    for seed in SEEDS
}
FAILED = {("magnitude", "10"): [2], ("random", "2"): list(SEEDS)}


CPU = {"device": "cpu", "engine": "vectorized, up to 30 at once, float32", "torch": "2.10"}
GPU = {"device": "cuda", "engine": "one after another, bfloat16", "torch": "2.9", "gpu": "NVIDIA X"}


def write_predictions(path, seeds, cells, *, metadata=None, labels=LABELS, trained=CPU):
    """Write a file of predictions as the workflow writes it, with the failures of its cells."""
    tensors = {"labels": labels.astype(np.int64)}
    found, failures = {}, []
    for cell in cells:
        method, ratio, state = cell
        failed = FAILED.get((method, ratio), []) if state == "finetuned" else []
        key = "/".join(cell)
        found[key] = [seed for seed in seeds if seed not in failed]
        failures += [
            {
                "method": method,
                "ratio": ratio,
                "stage": "finetuning",
                "seed": seed,
                "reason": f'seed {seed}: loss is nan, "really"',
            }
            for seed in seeds
            if seed in failed
        ]
        if found[key]:
            rows = [PREDICTED[cell, seed][: len(labels)] for seed in found[key]]
            tensors[f"{key}/predicted"] = np.array(rows, np.int16)
    content = {
        "dataset": "small",
        "architecture": "mlp",
        "class_names": NAMES,
        "seeds": found,
        "failures": failures,
        "made": {"/".join(c[:2]): {"trained": trained, "evaluated": GPU} for c in cells},
    } | (metadata or {})
    checksums.save(path, tensors, {"recall_distortion": json.dumps(content)})
    return path


def write_sparsity(path, seeds, method, ratio):
    rows = [
        {
            "dataset": "small",
            "architecture": "mlp",
            "method": method,
            "ratio": ratio,
            "seed": seed,
            "realised_ratio": 1 / 3 + seed,
            "kept_fraction": 0.1 + 0.2,
            "kept_prunable": 30,
            "prunable": 100,
            "total": 100,
        }
        for seed in seeds
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def run(folder, blocks):
    """Write the predictions cut into blocks, measure them, and return the tables' paths."""
    folder.mkdir()
    bundles = {
        "dense": [CELLS[0]],
        "control": [CELLS[1]],
        "random": [c for c in CELLS if c[0] == "random"],
        "magnitude": [c for c in CELLS if c[0] == "magnitude"],
    }
    predictions = [
        write_predictions(folder / f"{name}-{seeds[0]}.safetensors", seeds, cells)
        for name, cells in bundles.items()
        for seeds in blocks
    ]
    sparsity = [
        write_sparsity(folder / f"{method}-{ratio}-{seeds[0]}.csv", seeds, method, ratio)
        for method in ("random", "magnitude")
        for ratio in ("2", "10")
        for seeds in blocks
    ]
    names = ("recall", "alpha", "crossfit", "intercepts", "engines", "sparsity", "failures")
    paths = {name: folder / f"{name}.csv" for name in names}
    measure(predictions, sparsity, paths, splits=5)
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return run(tmp_path_factory.mktemp("measured") / "one", [list(SEEDS)])


COLUMNS = {
    "recall": "dataset architecture method ratio state seed class class_name support correct "
    "predicted recall precision accuracy balance normalized_balance",
    "alpha": "dataset architecture method ratio state seed alpha alpha_crossfit r2 denominator "
    "effective_classes accuracy_before accuracy_after",
    "crossfit": "dataset architecture method ratio state seed numerator denominator",
    "sparsity": "dataset architecture method ratio seed realised_ratio kept_fraction kept_prunable "
    "prunable total",
    "failures": "dataset architecture method ratio stage seed reason",
    "intercepts": "dataset architecture method ratio state balanced n slope slope_with_intercept "
    "intercept intercept_low intercept_high",
    "engines": "dataset architecture method ratio device engine torch seeds",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_has_its_columns_in_order(paths, name):
    header = paths[name].read_text(encoding="utf-8").splitlines()[0]
    assert header.split(",") == COLUMNS[name].split()


@pytest.mark.parametrize(
    "blocks", [[[0, 1], [2, 3], [4, 5]], [[0], [1, 2, 3, 4], [5]], [[3, 4, 5], [0, 1, 2]]]
)
def test_tables_do_not_depend_on_how_seeds_are_cut_into_blocks(paths, tmp_path, blocks):
    again = run(tmp_path / "again", blocks)
    for name, path in paths.items():
        assert again[name].read_bytes() == path.read_bytes(), name


def read(paths, name):
    return read_table(paths[name], COLUMNS[name].split())


def test_recall_holds_every_network_and_class_exactly(paths):
    table = read(paths, "recall")
    missing = {(*cell, "finetuned", seed) for cell, seeds in FAILED.items() for seed in seeds}
    expected = [(*cell, seed) for cell in CELLS for seed in SEEDS if (*cell, seed) not in missing]
    keys = ["method", "ratio", "state", "seed"]
    groups = dict(list(table.groupby(keys, sort=False)))
    assert sorted(groups) == sorted((m, int(r), s, seed) for m, r, s, seed in expected)
    for method, ratio, state, seed in expected:
        rows = groups[method, int(ratio), state, seed].reset_index(drop=True)
        own = recall_table(LABELS, PREDICTED[(method, ratio, state), seed], NAMES)
        for column in own:
            assert rows[column].isna().tolist() == own[column].isna().tolist()
            assert rows[column].dropna().tolist() == own[column].dropna().tolist()
        assert rows["class_name"].tolist() == NAMES
    assert (table["dataset"] == "small").all()
    assert (table["architecture"] == "mlp").all()


def test_rows_follow_the_methods_order_then_ratio_and_state(paths):
    table = read(paths, "recall")
    cells = list(dict.fromkeys(zip(table["method"], table["ratio"], table["state"], strict=True)))
    assert cells == [
        ("dense", 1, "dense"),
        ("control", 1, "finetuned"),
        *(
            (method, ratio, state)
            for method in ("random", "magnitude")
            for ratio in (2, 10)
            for state in ("pruned", "finetuned")
            if (method, ratio, state) != ("random", 2, "finetuned")
        ),
    ]
    assert "2.0" not in set(",".join(paths["recall"].read_text().splitlines()).split(","))


def test_alpha_is_the_slope_of_each_replicate(paths):
    table = read(paths, "alpha")
    assert "dense" not in set(table["method"])
    assert len(table) == 3 + 6 + 2 * 2 * 2 * 6 - 1 - 6
    for row in table.to_dict("records"):
        cell, partner = (row["method"], str(row["ratio"]), row["state"]), row["seed"]
        if row["method"] == "reseed":
            cell, partner = CELLS[0], row["seed"] + 1
        before = recall_table(LABELS, PREDICTED[CELLS[0], row["seed"]], CLASSES)
        after = recall_table(LABELS, PREDICTED[cell, partner], CLASSES)
        x, y = before["normalized_balance"], after["normalized_balance"]
        alpha = slope(x, y)
        assert row["alpha"] == pytest.approx(alpha, rel=1e-12)
        assert row["denominator"] == pytest.approx((x**2).sum(), rel=1e-12)
        residual = ((y - alpha * x) ** 2).sum()
        assert row["r2"] == pytest.approx(1 - residual / (y**2).sum(), rel=1e-9)
        assert row["accuracy_before"] == before["accuracy"][0]
        assert row["accuracy_after"] == after["accuracy"][0]
        assert math.isfinite(row["alpha_crossfit"])


def test_slopes_between_dense_networks_come_first_and_pair_seeds(paths):
    table = read(paths, "alpha")
    rows = table.iloc[:3]
    assert rows[["method", "ratio", "state", "seed"]].to_numpy().tolist() == [
        ["reseed", 1, "dense", seed] for seed in (0, 2, 4)
    ]
    assert "reseed" not in set(table["method"].iloc[3:])
    assert table["method"].iloc[3] == "control"
    for name in ("recall", "intercepts"):
        assert "reseed" not in set(read(paths, name)["method"])


def test_crossfit_holds_what_the_cross_fitted_slopes_are_quotients_of(paths):
    alpha, table = read(paths, "alpha"), read(paths, "crossfit")
    keys = ["dataset", "architecture", "method", "ratio", "state", "seed"]
    pd.testing.assert_frame_equal(table[keys], alpha[keys])
    quotients = table["numerator"] / table["denominator"]
    assert quotients.tolist() == alpha["alpha_crossfit"].tolist()
    halves = split_halves(LABELS, 5)

    def halved(cell, seed):
        correct = PREDICTED[cell, seed][None] == LABELS
        return HalfBalances.of(LABELS, correct, halves, CLASSES)

    for row in table.to_dict("records"):
        cell, partner = (row["method"], str(row["ratio"]), row["state"]), row["seed"]
        if row["method"] == "reseed":
            cell, partner = CELLS[0], row["seed"] + 1
        before, after = halved(CELLS[0], row["seed"]), halved(cell, partner)
        found = row["numerator"] / row["denominator"]
        assert found == pytest.approx(crossfit(before, after)[0], rel=1e-9)
        products = (before.first * before.second).sum((1, 2)).mean()
        assert row["denominator"] == pytest.approx(products, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("seeds", "firsts"), [([], []), ([3], []), ([1, 4, 9], [1])])
def test_dense_networks_without_a_partner_have_no_slope(tmp_path, monkeypatch, seeds, firsts):
    for seed in seeds:
        monkeypatch.setitem(PREDICTED, (CELLS[0], seed), PREDICTED[CELLS[0], seed % 6])
    path = write_predictions(tmp_path / "dense.safetensors", seeds, [CELLS[0]])
    measured(tmp_path, path)
    for name in ("alpha", "crossfit"):
        table = read_table(tmp_path / f"{name}.csv", COLUMNS[name].split())
        assert table["seed"].tolist() == firsts


@pytest.mark.filterwarnings("error")
def test_a_class_with_one_image_has_no_cross_fitted_slope(tmp_path):
    labels = np.where((LABELS == 2) & (np.arange(53) != np.argmax(LABELS == 2)), 0, LABELS)
    path = write_predictions(tmp_path / "a.safetensors", SEEDS, CELLS[:2], labels=labels)
    measured(tmp_path, path)
    alpha = read_table(tmp_path / "alpha.csv", COLUMNS["alpha"].split())
    assert len(alpha) == 3 + 6
    assert alpha["alpha_crossfit"].isna().all()
    assert np.isfinite(alpha["alpha"]).all()
    crossfit = read_table(tmp_path / "crossfit.csv", COLUMNS["crossfit"].split())
    assert crossfit[["numerator", "denominator"]].isna().all(axis=None)


def test_a_failed_replicate_is_absent_and_told(paths):
    alpha, failures = read(paths, "alpha"), read(paths, "failures")

    def seeds(method, ratio, state):
        rows = (alpha["method"] == method) & (alpha["ratio"] == ratio) & (alpha["state"] == state)
        return alpha[rows]["seed"].tolist()

    assert seeds("magnitude", 10, "finetuned") == [0, 1, 3, 4, 5]
    assert seeds("magnitude", 10, "pruned") == list(SEEDS)
    assert seeds("random", 2, "finetuned") == []
    told = list(zip(failures["method"], failures["ratio"], failures["seed"], strict=True))
    assert told == [("random", 2, seed) for seed in SEEDS] + [("magnitude", 10, 2)]
    assert failures["reason"].iloc[-1] == 'seed 2: loss is nan, "really"'
    assert set(failures["stage"]) == {"finetuning"}
    assert len(read(paths, "sparsity")) == 2 * 2 * 6


def test_intercepts_say_that_the_test_set_is_unbalanced(paths):
    table = read(paths, "intercepts")
    assert not table["balanced"].any()
    cells = list(zip(table["method"], table["ratio"], table["state"], strict=True))
    assert len(set(cells)) == len(cells) == 9
    counts = dict(zip(cells, table["n"], strict=True))
    assert counts["magnitude", 10, "finetuned"] == 5
    assert counts["random", 2, "finetuned"] == 0
    alpha = read(paths, "alpha")
    pruned = alpha[alpha["method"] != "reseed"]
    means = pruned.groupby(["method", "ratio", "state"])["alpha"].mean()
    for cell, mean in means.items():
        row = table.iloc[cells.index(cell)]
        assert row["slope"] == pytest.approx(mean)
        assert row["intercept_low"] < row["intercept"] < row["intercept_high"]


def test_sparsity_is_gathered_as_it_was_written(paths):
    table = read(paths, "sparsity")
    assert table["realised_ratio"].tolist() == [1 / 3 + seed for seed in SEEDS] * 4
    assert (table["kept_fraction"] == 0.1 + 0.2).all()
    assert table["method"].tolist() == ["random"] * 12 + ["magnitude"] * 12
    assert table["ratio"].tolist() == ([2] * 6 + [10] * 6) * 2


def test_engines_say_what_trained_how_many_networks_of_every_cell(paths):
    table = read(paths, "engines")
    counts = {("random", "2"): 0, ("magnitude", "10"): 5}
    assert list(zip(table["method"], table["ratio"], table["seeds"], strict=True)) == [
        (method, int(ratio), counts.get((method, ratio), 6))
        for method, ratio in (
            ("dense", "1"),
            ("control", "1"),
            *((method, ratio) for method in ("random", "magnitude") for ratio in ("2", "10")),
        )
    ]
    for column, value in CPU.items():
        assert set(table[column]) == {value}


def test_a_cell_whose_blocks_were_made_by_two_engines_has_a_row_for_each(tmp_path):
    two = {("random", "2", "finetuned"): "random", CELLS[0]: "dense", CELLS[1]: "control"}
    blocks = {(0, 1, 2, 3): CPU, (4,): GPU, (5,): GPU}
    files = [
        write_predictions(tmp_path / f"{name}-{seeds[0]}.safetensors", seeds, [cell], trained=by)
        for seeds, by in blocks.items()
        for cell, name in two.items()
    ]
    tables = []
    for order in (files, files[::-1]):
        measured(tmp_path, *order)
        table = read_table(tmp_path / "engines.csv", COLUMNS["engines"].split())
        tables.append(table.sort_values("method", kind="stable").reset_index(drop=True))
    pd.testing.assert_frame_equal(*tables)
    columns = ["device", "engine", "torch", "seeds"]
    for method, counts in {"control": (2, 4), "dense": (2, 4), "random": (0, 0)}.items():
        rows = tables[0].loc[tables[0]["method"] == method, columns]
        assert rows.to_numpy().tolist() == [
            ["NVIDIA X", GPU["engine"], "2.9", counts[0]],
            ["cpu", CPU["engine"], "2.10", counts[1]],
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
    path = write_predictions(tmp_path / "a.safetensors", [0], [CELLS[0]], trained=facts)
    measured(tmp_path, path)
    table = read_table(tmp_path / "engines.csv", COLUMNS["engines"].split())
    assert table["device"].tolist() == [device]


def test_predictions_from_elsewhere_need_not_say_what_made_their_networks(tmp_path):
    path = write_predictions(tmp_path / "a.safetensors", SEEDS, CELLS[:2])
    content = path.read_bytes()
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["recall_distortion"])
    del metadata["made"]
    tensors = safetensors.numpy.load(content)
    checksums.save(path, tensors, {"recall_distortion": json.dumps(metadata)})
    measured(tmp_path, path)
    rows = (tmp_path / "engines.csv").read_text().splitlines()
    assert rows[1:] == ["small,mlp,dense,1,,,,6", "small,mlp,control,1,,,,6"]


def test_a_study_without_failures_has_an_empty_table_of_them(tmp_path):
    paths = {name: tmp_path / f"{name}.csv" for name in COLUMNS}
    path = write_predictions(tmp_path / "dense.safetensors", [0, 1], [CELLS[0]])
    measure([path], [], paths)
    rows = {"recall": 2 * CLASSES, "alpha": 1, "crossfit": 1, "engines": 1}
    for name, columns in COLUMNS.items():
        assert len(read_table(paths[name], columns.split())) == rows.get(name, 0)


# Wrong files


def measured(tmp_path, *files):
    measure(files, [], {name: tmp_path / f"{name}.csv" for name in COLUMNS}, splits=3)


def test_blocks_of_different_test_sets_are_not_joined(tmp_path):
    one = write_predictions(tmp_path / "a.safetensors", [0], [CELLS[0]])
    other = np.roll(LABELS, 1)
    two = write_predictions(tmp_path / "b.safetensors", [1], [CELLS[0]], labels=other)
    with pytest.raises(TableError, match=r"mlp on small.*different test sets"):
        measured(tmp_path, one, two)
    pruned = write_predictions(tmp_path / "c.safetensors", [0], [CELLS[1]], labels=other)
    with pytest.raises(TableError, match=r"control at 1 and dense at 1.*different test sets"):
        measured(tmp_path, one, pruned)
    renamed = write_predictions(
        tmp_path / "d.safetensors", [0], [CELLS[1]], metadata={"class_names": list("abcde")}
    )
    with pytest.raises(TableError, match="different test sets"):
        measured(tmp_path, one, renamed)


def test_a_seed_that_was_evaluated_twice(tmp_path):
    files = [
        write_predictions(tmp_path / f"{name}.safetensors", seeds, [CELLS[0]])
        for name, seeds in (("a", [0, 1]), ("b", [1, 2]))
    ]
    with pytest.raises(TableError, match=r"a\.safetensors and .*b\.safetensors both hold seed 1"):
        measured(tmp_path, *files)
    with pytest.raises(TableError, match="evaluated twice"):
        measured(tmp_path, files[0], files[0])


def test_a_network_without_its_dense_one(tmp_path):
    after = write_predictions(tmp_path / "a.safetensors", [0, 1], [CELLS[1]])
    with pytest.raises(TableError, match="no predictions of its dense networks"):
        measured(tmp_path, after)
    before = write_predictions(tmp_path / "b.safetensors", [0], [CELLS[0]])
    with pytest.raises(TableError, match="no dense network of seed 1"):
        measured(tmp_path, before, after)


def test_a_class_without_a_test_image_names_network_and_class(tmp_path):
    labels = np.where(LABELS == 2, 0, LABELS)
    path = write_predictions(tmp_path / "a.safetensors", [0], [CELLS[0]], labels=labels)
    with pytest.raises(TableError, match=r"mlp on small, dense at 1: .*no image of class 'a,b'"):
        measured(tmp_path, path)


def test_damaged_and_foreign_files_name_the_file_and_the_remedy(tmp_path):
    path = write_predictions(tmp_path / "p.safetensors", [0, 1], [CELLS[0]])
    good = path.read_bytes()
    labels = {"labels": LABELS.astype(np.int64)}
    own = {"dataset": "d", "architecture": "a", "class_names": NAMES, "failures": []}

    def file(metadata, tensors=labels):
        return sealed(tmp_path, tensors, metadata)

    contents = {
        "cut off": good[:-10],
        "empty": b"",
        "text": b"dataset,architecture\nthis is no safetensors file",
        "without metadata": safetensors.numpy.save(labels),
        "a list": file([]),
        "without seeds": file(own),
        "a list of seeds": file(own | {"seeds": [[1]]}),
        "an unknown state": file(own | {"seeds": {"dense/1/final": []}}),
        "a ratio that is none": file(own | {"seeds": {"dense/all/dense": []}}),
        "a wrong key": file(own | {"seeds": {"dense": [1]}}),
        "without what made a cell": file(
            own | {"seeds": {"dense/1/dense": []}, "made": {"control/1": {"trained": CPU}}}
        ),
        "without an engine": file(
            own
            | {"seeds": {"dense/1/dense": []}}
            | {"made": {"dense/1": {"trained": {"device": "cpu", "torch": "2.10"}}}}
        ),
        "without labels": file(own | {"seeds": {}}, {"x": LABELS}),
        "without predictions": file(own | {"seeds": {"dense/1/dense": [0]}}),
        "of another size": file(
            own | {"seeds": {"dense/1/dense": [0]}},
            labels | {"dense/1/dense/predicted": np.zeros((2, 53), np.int16)},
        ),
    }
    for what, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(TableError) as caught:
            read_predictions(path)
        assert str(caught.value).startswith(f"{path}: "), what
        assert "run the study again" in str(caught.value), what
    with pytest.raises(TableError, match="no such file"):
        read_predictions(tmp_path / "none.safetensors")


# Tables


def test_the_columns_are_those_of_the_contract():
    for name, columns in COLUMNS.items():
        singular = ("failures", "intercepts", "engines")
        constant = (name.removesuffix("s") if name in singular else name).upper()
        assert getattr(columns_of, f"{constant}_COLUMNS") == columns.split()


@pytest.mark.parametrize(
    "name",
    ["NA", "nan", "None", "null", "1", "1.0", "007", "a,b", '"', "ü", "日本", " x ", "a\nb", ""],
)
def test_any_class_name_survives(tmp_path, name):
    row = dict.fromkeys(RECALL_COLUMNS, 1.0) | {"class_name": name}
    row |= {"dataset": "NA", "architecture": "1", "method": "null", "state": "True"}
    row |= {"balance": 0.0, "normalized_balance": 0.0}
    path = tmp_path / "recall.csv"
    write_table(path, [pd.DataFrame([row])], RECALL_COLUMNS)
    found = read_table(path, RECALL_COLUMNS).iloc[0]
    assert found["class_name"] == name
    assert found[["dataset", "architecture", "method", "state"]].tolist() == [
        "NA",
        "1",
        "null",
        "True",
    ]


def test_numbers_are_read_back_exactly(tmp_path):
    numbers = [0.1 + 0.2, 1 / 3, 1e-300, -5e-324, 123456789.123456789, math.inf, -math.inf]
    numbers += np.random.default_rng(0).normal(size=1000).tolist()
    path = tmp_path / "table.csv"
    write_table(path, [pd.DataFrame({"value": numbers})], ["value"])
    assert read_table(path, ["value"])["value"].tolist() == numbers
    write_table(
        path, [pd.DataFrame({"value": [math.nan, 1.0], "state": ["", "x"]})], ["value", "state"]
    )
    found = read_table(path, ["value", "state"])
    assert math.isnan(found["value"][0])
    assert found["state"].tolist() == ["", "x"]


def test_ratios_are_written_as_the_study_writes_them(tmp_path):
    path = tmp_path / "alpha.csv"
    frames = [pd.DataFrame({"ratio": ratios, "seed": 0}) for ratios in ([2], [2.5, 10.0], ["4"])]
    write_table(path, [*frames, pd.DataFrame({"ratio": [math.nan], "seed": 0})], ["ratio", "seed"])
    assert path.read_text().split() == ["ratio,seed", "2,0", "2.5,0", "10,0", "4,0", ",0"]


def test_a_table_that_is_missing_or_not_what_it_should_be(tmp_path):
    path = tmp_path / "alpha.csv"
    with pytest.raises(TableError, match=r"alpha\.csv: no such table; run the study again"):
        read_table(path, ["alpha"])
    path.write_text("method,alpha\na,1\n")
    with pytest.raises(
        TableError, match=r"alpha\.csv lacks the columns ratio, seed; it has method, alpha"
    ):
        read_table(path, ["alpha", "ratio", "seed"])
    for content in (b"", b"alpha\n\xff\xfe\n", b"a,b\n1,2\n1,2,3,4\n", b'a\n"open\n'):
        path.write_bytes(content)
        with pytest.raises(TableError, match=r"alpha\.csv: damaged .*run the study again"):
            read_table(path, ["a"])
