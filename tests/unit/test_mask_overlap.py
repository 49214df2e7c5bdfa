"""What masks of two methods share: counts by hand, shuffled masks, and a whole small study."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from study_helpers import RECIPE, VALID, message, write

from recall_distortion import data, networks
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell
from recall_distortion.evaluation.mask_overlap import COLUMNS, overlaps
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.report.page import build_report
from recall_distortion.run import planned, work
from recall_distortion.study import Study, load
from recall_distortion.system.errors import NetworkError
from recall_distortion.tables.schema import ALL, OVERLAPS
from recall_distortion.tables.schema import COLUMNS as OF_TABLES
from recall_distortion.training import TrainingImages
from recall_distortion.training.randomness import generator
from recall_distortion.vocabulary import RETRAINED

NAMES = [column.name for column in OVERLAPS]


def bits(*rows: str) -> torch.Tensor:
    return torch.tensor([[digit == "1" for digit in row] for row in rows])


def test_counts_of_a_few_weights_by_hand() -> None:
    own = {"a": bits("110100", "000111"), "b": bits("1100", "1000")}
    other = {"a": bits("101100", "000111"), "b": bits("0011", "1000")}
    first, second = overlaps(own, other, "ticket")
    # Both keep places 0 and 3 of layer a, and nothing of b; each keeps 3 of 6 and 2 of 4.
    assert (first.mask_other, first.mask_common, first.mask_shared) == ("ticket", 2, 2 / 5)
    assert first.mask_shared_shuffled == pytest.approx((3 * 3 / 6 + 2 * 2 / 4) / 5)
    variance = 1.5 * (1 - 3 / 6) * (6 - 3) / (6 - 1) + 1 * (1 - 2 / 4) * (4 - 2) / (4 - 1)
    assert first.mask_shared_deviation == pytest.approx(variance**0.5 / 5)
    assert first.mask_iou == pytest.approx(2 / 8)
    assert first.mask_iou_shuffled == pytest.approx(2.5 / 7.5)
    assert first.mask_counts_by_layer == "a:2/3/3/6 b:0/2/2/4"
    assert (second.mask_shared, second.mask_iou) == (1, 1)
    # The first's own mask with the second's other one: place 3 and place 0, of 4; and the reverse.
    assert first.mask_shared_seeds == second.mask_shared_seeds == pytest.approx((2 / 4 + 1 / 4) / 2)
    chance = (3 * 3 / 6 + 2 * 1 / 4) / 4
    assert first.mask_shared_seeds_shuffled == pytest.approx(chance)


def test_one_seed_has_no_other_and_masks_lie_on_the_same_weights() -> None:
    (alone,) = overlaps({"a": bits("110")}, {"a": bits("011")}, "ticket")
    assert np.isnan([alone.mask_shared_seeds, alone.mask_shared_seeds_shuffled]).all()
    (everything,) = overlaps({"a": bits("1")}, {"a": bits("1")}, "ticket")
    assert (everything.mask_shared_shuffled, everything.mask_shared_deviation) == (1, 0)
    for other in ({"b": bits("011")}, {"a": bits("0110")}):
        with pytest.raises(NetworkError, match=r"of ticket lie on other weights: . \(\d,\), not a"):
            overlaps({"a": bits("110")}, other, "ticket")


def test_mean_and_deviation_are_those_of_masks_shuffled_within_layers() -> None:
    generator = np.random.default_rng(5)
    sizes, kept, others = (40, 12, 90), (9, 11, 20), (25, 4, 3)
    masks = [
        [np.arange(size) < many for size, many in zip(sizes, counts, strict=True)]
        for counts in (kept, others)
    ]
    own, other = (
        {str(i): torch.from_numpy(mask[None]) for i, mask in enumerate(one)} for one in masks
    )
    (found,) = overlaps(own, other, "ticket")
    draws = 20_000
    shares = np.zeros(draws)
    for one, two in zip(*masks, strict=True):
        shuffled = generator.permuted(np.tile(one, (draws, 1)), axis=1)
        shares += (shuffled & two).sum(1) / min(sum(kept), sum(others))
    deviation = found.mask_shared_deviation
    # Five standard errors of the mean; the deviation's is 1 / sqrt(2 draws) of it.
    assert shares.mean() == pytest.approx(
        found.mask_shared_shuffled, abs=5 * deviation / draws**0.5
    )
    assert shares.std() == pytest.approx(deviation, rel=5 / (2 * draws) ** 0.5)


# Of a study

METHODS = {
    "ticket": {"criterion": "magnitude", "retraining": "rewind", "schedule": "iterative"},
    "wide": {"criterion": "magnitude", "ratios": [3]},
    "filters": {"criterion": "l1_norm", "unit": "channel"},
}
LISTED = ["control_rewind", "control", "ticket", "snip", "magnitude", "wide", "int8_static"]


def values(pairs: list[list[str]] | None, methods: list[str], **more: object) -> dict:
    found = copy.deepcopy(VALID)
    found["panels"][0]["methods"] = methods
    found["methods"] = {name: METHODS[name] for name in methods if name in METHODS}
    return found | more | ({} if pairs is None else {"pairs": pairs})


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["snip", "ticket"], "key 'pairs.0'"),
        ([["snip"]], "key 'pairs.0': list should have at least 2 items"),
        ([["snip", "snip"]], "pairs.0: snip is named twice"),
        ([["snip", "tickets"]], "pairs.0: no panel lists both snip and tickets"),
        ([["snip", "control"]], "pairs.0: control removes no weights of its own"),
        ([["int8_static", "snip"]], "pairs.0: int8_static removes no weights of its own"),
        ([["snip", "wide"]], "pairs.0: snip and wide have no ratio in common"),
        ([["snip", "ticket"], ["ticket", "snip"]], "pairs.1: is pairs.0 again"),
        ([["snip", "ticket"], ["snip", "magnitude"]], "write [magnitude, snip]"),
    ],
)
def test_pairs_that_cannot_be_compared_are_refused(tmp_path: Path, pairs: list, said: str) -> None:
    assert said in message(write(tmp_path, values(pairs, LISTED)))


def test_channels_and_methods_of_two_panels_are_refused(tmp_path: Path) -> None:
    plain = values([["filters", "magnitude"]], ["control", "magnitude", "filters"])
    assert "pairs.0: filters removes whole channels" in message(write(tmp_path, plain))
    apart = values([["magnitude", "random"]], ["control", "magnitude"])
    apart["panels"].append(apart["panels"][0] | {"architectures": ["cnn"], "methods": ["random"]})
    assert "no panel lists both magnitude and random" in message(write(tmp_path, apart))


def test_it_adds_one_job_a_network_and_changes_none() -> None:
    methods = ["control_rewind", "control", "ticket", "snip", "magnitude"]
    plain = Study.model_validate(values(None, methods))
    assert plain.pairs == []
    jobs = planned.plan(plain).jobs
    asked = Study.model_validate(values([["snip", "ticket"], ["ticket", "magnitude"]], methods))
    more = planned.plan(asked).jobs
    assert [job for job in more if job.rule != "mask_overlap"] == list(jobs)
    (own,) = [job for job in more if job.rule == "mask_overlap"]
    assert own.outputs["mask_overlap"].endswith("/predictions/digits/mlp/tiny/mask_overlap.csv")
    assert own.parameters["pairs"][1] == {
        "method": "ticket", "other": "magnitude", "ratios": ["2", "10"],
    }  # fmt: skip
    # Of two blocks: both ratios of the ticket in one file, of the others in one each.
    read = [path.split("/tiny/")[1] for path in own.inputs["compressed"]]
    assert sorted(read) == sorted(
        f"{job}/seeds-{block}.safetensors"
        for job in ("ticket/2-10", "snip/2", "snip/10", "magnitude/2", "magnitude/10")
        for block in ("000-001", "002-002")
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a small study, by ``run``: SNIP's masks against an iterative ticket's."""
    folder = tmp_path_factory.mktemp("study")
    recipe = RECIPE | {"training": {"phases": [{"epochs": 2, "learning_rate": 0.05}]}}
    digits = {"digits": {"source": "digits", "margin": 0.02}}
    plain = values(
        [["snip", "ticket"]], ["control_rewind", "ticket", "snip"], ratios=[2, 4], seeds=4,
        recipes={"tiny": recipe}, datasets=digits,
    )  # fmt: skip
    path = write(folder, plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert work.work(planned.plan(load(path)), gpus=0, data_root="data") == work.DONE
    return folder / "results/mystudy"


def masks_of(results: Path, method: str, ratio: str) -> dict[int, np.ndarray]:
    """Return the masks of a method by seed, all layers one after another."""
    found = {}
    for path in sorted(results.glob(f"compressed/**/{method}/**/*.safetensors")):
        for part in load_compressed(path):
            if part.cell == Cell(method, ratio):
                for row, seed in enumerate(part.mask_seeds):
                    layers = [mask[row].flatten().numpy() for mask in part.masks.values()]
                    assert [len(layer) for layer in layers] == [2048, 1024]
                    found[seed] = np.concatenate(layers)
    assert sorted(found) == [0, 1, 2, 3]
    return found


def test_the_job_counts_what_the_files_of_its_networks_hold(results: Path) -> None:
    (path,) = results.glob("predictions/**/mask_overlap.csv")
    table = pd.read_csv(path, dtype={"ratio": str})
    assert tuple(table) == COLUMNS == tuple(ALL["mask_overlap"].names)
    assert set(table["state"]) == {RETRAINED}
    assert len(table) == 2 * 4
    for ratio, keep in (("2", 1536), ("4", 768)):
        own, other = (masks_of(results, method, ratio) for method in ("snip", "ticket"))
        for seed in range(4):
            (row,) = table[(table["ratio"] == ratio) & (table["seed"] == seed)].to_dict("records")
            both = own[seed] & other[seed]
            assert own[seed].sum() == other[seed].sum() == keep
            assert row["mask_common"] == both.sum()
            assert row["mask_shared"] == pytest.approx(both.sum() / keep)
            assert row["mask_iou"] == pytest.approx(both.sum() / (own[seed] | other[seed]).sum())
            layers = [slice(0, 2048), slice(2048, None)]
            chance = sum(own[seed][i].mean() * other[seed][i].sum() for i in layers)
            assert row["mask_shared_shuffled"] == pytest.approx(chance / keep)
            others = [i for i in range(4) if i != seed]
            shares = [(own[seed] & other[i]).sum() / keep for i in others]
            shares += [(own[i] & other[seed]).sum() / keep for i in others]
            assert row["mask_shared_seeds"] == pytest.approx(np.mean(shares))


def snip(images: np.ndarray, labels: np.ndarray, seed: int, keep: int) -> np.ndarray:
    """Return which weights SNIP keeps of a network of the seed, by derivatives written out."""
    network = networks.build("mlp", channels=1, classes=10)
    networks.initialize(network, generator(seed, "initialization"))
    state = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    inputs = [images.reshape(len(images), -1)]
    for name in ("fc1", "fc2"):
        linear = inputs[-1] @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        inputs.append(np.maximum(linear, 0))
    logits = inputs[-1] @ state["classifier.weight"].T + state["classifier.bias"]
    errors = np.exp(logits - logits.max(1, keepdims=True))
    errors /= errors.sum(1, keepdims=True)
    errors[np.arange(len(labels)), labels] -= 1
    errors = (errors / len(labels)) @ state["classifier.weight"]
    scores = []
    for name, given, made in (("fc2", inputs[1], inputs[2]), ("fc1", inputs[0], inputs[1])):
        errors = errors * (made > 0)
        scores.insert(0, np.abs(errors.T @ given * state[f"{name}.weight"]).ravel())
        errors = errors @ state[f"{name}.weight"]
    flat = np.concatenate(scores)
    kept = np.zeros(len(flat), dtype=bool)
    kept[np.argsort(flat)[-keep:]] = True
    return kept


def test_snip_by_own_derivatives_keeps_the_weights_that_the_job_kept(results: Path) -> None:
    """Written out in double precision; the job's masks are the same bits."""
    prepared = data.load(results / "data/digits.safetensors")
    images = TrainingImages.of(prepared, selection="holdout", device="cpu").fit
    examples = load(results.parents[1] / "mystudy.yaml").method("snip").gradient_examples
    for ratio, keep in (("2", 1536), ("4", 768)):
        masks = masks_of(results, "snip", ratio)
        for seed in range(4):
            order = torch.randperm(len(images), generator=generator(seed, "criterion batch"))
            index = order[:examples]
            batch = images.batch(index).double().numpy()
            expected = snip(batch, images.labels[index].numpy(), seed, keep)
            assert (masks[seed] == expected).all(), (ratio, seed)


@pytest.fixture(scope="module")
def tables(results: Path) -> Path:
    (overlap,) = results.glob("predictions/**/mask_overlap.csv")
    folder = results / "tables"
    folder.mkdir()
    write_measures(
        sorted(results.glob("predictions/**/*.safetensors")),
        sorted(results.glob("compressed/**/*.sparsity.csv")),
        folder / "recall.csv", folder / "networks.csv", mask_overlap=[overlap],
    )  # fmt: skip
    outputs = {name: folder / f"{name}.csv" for name in ("estimates", "tests", "published")}
    write_estimates(
        folder / "recall.csv", folder / "networks.csv", outputs,
        architectures={"mlp": ("mlp", 3)}, margins={"digits": 0.02},
    )  # fmt: skip
    for name in ("mixed_models", "mixed_model_fits"):
        pd.DataFrame(columns=OF_TABLES[name]).to_csv(folder / f"{name}.csv", index=False)
    names = ("recall", "networks", "estimates", "tests", "mixed_models", "mixed_model_fits",
             "published", "summary")  # fmt: skip
    write_summary(*(folder / f"{name}.csv" for name in names))
    return folder


@pytest.mark.slow
def test_the_table_of_networks_has_them_where_masks_were_compared(
    results: Path, tables: Path
) -> None:
    networks_csv = pd.read_csv(tables / "networks.csv")
    (path,) = results.glob("predictions/**/mask_overlap.csv")
    own = networks_csv[networks_csv["mask_other"].notna()].reset_index(drop=True)
    of_job = pd.read_csv(path)
    pd.testing.assert_frame_equal(own[NAMES], of_job[NAMES], check_dtype=False)
    assert own["seed"].tolist() == of_job["seed"].tolist()
    assert set(own["method"]) == {"snip"}
    rest = networks_csv[networks_csv["method"] != "snip"]
    assert rest[NAMES].isna().all(axis=None)


def test_the_page_says_what_was_asked_and_found(tables: Path, undrawn: None) -> None:
    facts = load(tables.parents[2] / "mystudy.yaml").facts()
    build_report(tables, tables / "report.html", study=facts)
    page = (tables / "report.html").read_text("utf-8")
    assert "Which weights two methods keep" in page
    assert "As accurate as the other method, to within a margin" in page
    estimates = pd.read_csv(tables / "estimates.csv").query("against == 'ticket'")
    assert set(estimates["method"]) == {"snip"}
    quantities = estimates.groupby("quantity").size()
    assert (quantities == 2).all()
    assert len(quantities) == 8
    share = estimates.query("quantity == 'shared weights' and ratio == 2").iloc[0]
    networks_csv = pd.read_csv(tables / "networks.csv").query("method == 'snip' and ratio == 2")
    assert share["estimate"] == pytest.approx(networks_csv["mask_shared"].mean())
    assert (share["n"], share["level"]) == (4, 0.99)
