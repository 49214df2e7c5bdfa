"""Studies that cannot answer: their tables say what cannot be estimated and why, and a page stands.

Each goes the whole way from files of predictions to the report, through R where it is there.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall_distortion import checksums
from recall_distortion.columns import SPARSITY_COLUMNS
from recall_distortion.inference import tables as inference
from recall_distortion.measurement import measure
from recall_distortion.report import build_report, metrics, write_figures

pytestmark = pytest.mark.slow
ENGINES = ("pymer4", "statsmodels") if shutil.which("Rscript") else ("statsmodels",)
SEEDS = 6
CLASSES = 4
IMAGES = 40  # a class

Predict = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def some_errors(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return predictions of which the higher classes are wrong more often."""
    classes = int(labels.max()) + 1
    wrong = rng.random(len(labels)) < 0.05 + 0.3 * labels / max(classes - 1, 1)
    return np.where(wrong, rng.integers(0, classes, len(labels)), labels)


def one_class(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return the predictions of a network that collapsed: one class for every image."""
    return np.full_like(labels, rng.integers(0, labels.max() + 1))


def always_wrong(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return (labels + 1) % (labels.max() + 1)


def always_right(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return labels.copy()


def always_the_first(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return the predictions of a network that says what is most frequent, whatever it sees."""
    return np.zeros_like(labels)


@dataclass(frozen=True)
class Results:
    folder: Path

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv", keep_default_na=False, na_values=[""])

    def notes(self, name: str) -> str:
        return " ".join(self.table(name)["note"].dropna().astype(str).unique())

    @property
    def page(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")

    @property
    def messages(self) -> str:
        return " ".join(self.table("mixed_model_fits")["message"].dropna().astype(str))


def run(
    folder: Path,
    methods: dict[str, Predict],
    *,
    seeds: int = SEEDS,
    classes: int = CLASSES,
    support: list[int] | None = None,
    ratios: tuple[str, ...] = ("2", "10"),
    dense: Predict = some_errors,
    failed: str = "",
) -> Results:
    """Take a study from predictions to its report; ``methods`` gives each one's predictions.

    Every fine-tuning of the method ``failed`` failed.
    """
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), support or [IMAGES] * classes)
    cells = {"dense/1/dense": dense}
    sparsity = []
    for method, predict in methods.items():
        for ratio in ("1",) if method == "control" else ratios:
            cells[f"{method}/{ratio}/finetuned"] = predict
            if method != "control":
                cells[f"{method}/{ratio}/pruned"] = predict
                sparsity += [
                    (
                        "odd",
                        "mlp",
                        method,
                        ratio,
                        seed,
                        ratio,
                        1 / float(ratio),
                        100,
                        100 * float(ratio),
                        1e4,
                    )
                    for seed in range(seeds)
                ]
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"labels": labels.astype(np.int64)}
    gone = {key for key in cells if key.startswith(f"{failed}/") and key.endswith("/finetuned")}
    facts = {"device": "cpu", "engine": "one after another, float32", "torch": "2.10"}
    for key, predict in cells.items():
        rows = [predict(rng, labels) for _ in range(seeds)]
        if key not in gone:
            tensors[f"{key}/predicted"] = np.array(rows, np.int16)
    content = {
        "dataset": "odd",
        "architecture": "mlp",
        "class_names": [f"class {c}" for c in range(classes)],
        "seeds": {key: [] if key in gone else list(range(seeds)) for key in cells},
        "failures": [
            {
                "method": key.split("/")[0],
                "ratio": key.split("/")[1],
                "stage": "finetuning",
                "seed": seed,
                "reason": "the loss is nan",
            }
            for key in sorted(gone)
            for seed in range(seeds)
        ],
        "made": {key.rpartition("/")[0]: {"trained": facts, "evaluated": facts} for key in cells},
    }
    path = folder / "predictions.safetensors"
    checksums.save(path, tensors, {"recall_distortion": json.dumps(content)})
    pd.DataFrame(sparsity, columns=SPARSITY_COLUMNS).to_csv(folder / "of_block.csv", index=False)

    def at(*tables: str) -> dict[str, Path]:
        return {name: folder / f"{name}.csv" for name in tables}

    measured = at("recall", "alpha", "crossfit", "intercepts", "engines", "sparsity", "failures")
    measure([path], [folder / "of_block.csv"], measured, splits=4)
    recall, alpha, crossfit = (measured[name] for name in ("recall", "alpha", "crossfit"))
    inference.write_tests(
        recall,
        alpha,
        crossfit,
        measured["sparsity"],
        at(
            "intervals",
            "tests",
            "pooled",
            "effects",
            "equal_sparsity",
            "seeds_needed",
            "tradeoff",
            "influence",
            "published",
        ),
        0.99,
    )
    fits = []
    for engine in ENGINES:
        fits.append((folder / f"{engine}.coefficients", folder / f"{engine}.fit"))
        csv = recall, alpha, measured["sparsity"]
        inference.write_fits(*csv, [("odd", "mlp")], engine, *fits[-1], across=True)
    inference.write_mixed_models(
        [pair[0] for pair in fits],
        [pair[1] for pair in fits],
        folder / "mixed_models.csv",
        folder / "mixed_model_fits.csv",
    )
    build_report(folder, folder / "report.html", study={"name": "odd"})
    write_figures(folder, folder / "figures")
    json.dumps(metrics(folder), allow_nan=False)
    return Results(folder)


USUAL = {"control": some_errors, "magnitude": some_errors}


def test_an_ordinary_study_has_no_notes_about_what_is_missing(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL)
    assert found.table("intervals")["note"].isna().all()
    assert found.table("effects")["low"].notna().all()
    assert not found.table("effects")["reading"].isna().any()


def test_one_seed(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, seeds=1)
    intervals = found.table("intervals")
    assert intervals["mean"].notna().all()
    assert intervals["low"].isna().all()
    assert "one replicate" in found.notes("intervals")
    assert "reseed" not in set(found.table("alpha")["method"])
    assert found.table("effects")["low"].isna().all()
    assert found.table("seeds_needed")["seeds"].isna().all()
    assert found.notes("seeds_needed")
    assert "not estimated: one seed" in found.messages
    assert "one replicate" in found.page


def test_one_ratio(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, ratios=("4",))
    assert (found.table("intervals")["family_size"] == 1).all()
    assert "ratio" not in set(found.table("tests")["question"])
    assert "trend" not in set(found.table("mixed_models")["term"])
    assert found.table("effects")["low"].notna().all()


def test_no_control(tmp_path: Path) -> None:
    found = run(tmp_path, {"magnitude": some_errors, "random": some_errors})
    assert found.table("effects")["difference"].isna().all()
    assert "no control" in found.notes("effects")
    assert found.table("intervals")["low"].notna().all()
    assert "no control" in found.page.lower()


def test_only_the_control(tmp_path: Path) -> None:
    found = run(tmp_path, {"control": some_errors})
    assert found.table("effects").empty
    assert "control" in set(found.table("intervals")["method"])
    assert "<html" in found.page


def test_one_class(tmp_path: Path) -> None:
    found = run(tmp_path, {"control": always_right, "magnitude": always_right}, classes=1)
    assert found.table("intervals")["mean"].isna().all()
    assert "not finite" in found.notes("intervals")
    assert "one class" in found.messages


def test_a_class_with_one_test_image(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, support=[40, 40, 40, 1])
    assert found.table("pooled")["alpha_crossfit"].isna().all()
    assert "one test image" in found.notes("pooled")
    assert found.table("intervals")["mean"].notna().all()


@pytest.mark.parametrize("collapsed", [one_class, always_wrong])
def test_a_method_whose_every_replicate_collapsed(tmp_path: Path, collapsed: Predict) -> None:
    found = run(tmp_path, {**USUAL, "random": collapsed})
    intervals = found.table("intervals").set_index(["method", "state"])
    others = intervals.loc[["control", "magnitude"], "low"]
    assert others.notna().all()
    models = found.table("mixed_models")
    slopes = models[(models["term"] == "slope") & (models["engine"] == "statsmodels")]
    assert slopes.loc[slopes["method"] == "magnitude", "estimate"].notna().all()
    if collapsed is always_wrong:  # an accuracy of 0 has no normalized balance
        assert intervals.loc["random", "mean"].isna().all()
        assert "6 of 6 slopes are not finite" in found.notes("intervals")
        assert "random" in found.messages
        assert "accuracy of 0" in found.messages


def test_perfect_dense_networks(tmp_path: Path) -> None:
    found = run(tmp_path, USUAL, dense=always_right)
    assert found.table("intervals")["mean"].isna().all()
    assert not found.table("pooled")["per_model"].astype(str).eq("True").any()
    assert found.messages


def test_a_method_whose_every_replicate_failed(tmp_path: Path) -> None:
    found = run(tmp_path, {**USUAL, "random": some_errors}, failed="random")
    engines = found.table("engines")
    assert engines["engine"].notna().all()
    counts = engines.groupby("method")["seeds"].agg(list).to_dict()
    assert counts == {"dense": [6], "control": [6], "magnitude": [6, 6], "random": [0, 0]}
    assert "24 networks: one after another, in float32 on cpu; torch 2.10" in found.page
    assert "were computed alike" not in found.page
    assert len(found.table("failures")) == 12


@pytest.mark.parametrize("support", [[950, 50], [100, 30, 7]])
def test_networks_that_never_change_have_no_verdict_anywhere(tmp_path, support):
    """Every slope is 1 and nothing moved; what sums make of 1 is no intensification."""
    results = run(
        tmp_path,
        {"control": always_the_first, "magnitude": always_the_first},
        classes=len(support),
        support=support,
        dense=always_the_first,
    )
    np.testing.assert_allclose(results.table("alpha")["alpha"], 1, rtol=1e-12)
    assert set(results.table("intervals")["verdict"]) == {"inconclusive"}
    # Three pairs of the reseed baseline have no bootstrap.
    assert set(results.table("pooled")["crossfit_verdict"].dropna()) == {"inconclusive"}
    assert set(results.table("effects")["verdict"]) == {"inconclusive"}
    assert set(results.table("effects")["reading"].fillna("")) <= {"", "not told from the control"}
    assert (results.table("effects")["difference"] == 0).all()
    assert set(results.table("influence")["verdict"]) == {"inconclusive"}
    assert not results.table("influence")["changes"].astype(str).eq("True").any()
    tests = results.table("tests")
    assert not (tests["p"] < 0.99).any()
    assert set(results.table("mixed_models")["verdict"].dropna()) <= {"inconclusive"}
    assert set(results.table("tradeoff")["improves"].fillna("")) <= {"", "neither"}
    # The page's table of the answer shows no sign of a verdict in any cell.
    (grid,) = re.findall(r'<table class="grid">.*?</table>', results.page, re.DOTALL)
    assert not any(sign in grid for sign in "▲▼")


def one_errs(*wrong: int) -> Predict:
    """Return predictions that are right but for those of the networks ``wrong``, in their order."""
    seen = iter(range(10_000))

    def predict(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        return some_errors(rng, labels) if next(seen) in wrong else labels.copy()

    return predict


@pytest.mark.parametrize(
    ("wrong", "support"), [((2,), [475, 25]), ((0, 3), [40, 40, 40, 40]), ((0, 1, 4), [475, 25])]
)
def test_dense_networks_of_which_few_err_end_no_study(tmp_path, wrong, support):
    """One informative network, or two, have no spread: no interval, no verdict, and a page."""
    results = run(
        tmp_path,
        {"control": some_errors, "magnitude": some_errors},
        classes=len(support),
        support=support,
        dense=one_errs(*wrong),
    )
    pooled = results.table("pooled")
    pooled = pooled[pooled["state"] != "dense"]
    assert np.isfinite(pooled["alpha"]).all()
    assert pooled[["low", "high", "crossfit_low", "crossfit_high"]].isna().all().all()
    assert "fewer than 5 replicates have balances before pruning" in results.notes("pooled")
    assert results.table("effects")["reading"].isna().all()
    assert "disagree" not in results.messages
    if len(wrong) == 1:
        assert "of 6 dense models one recalls its classes unequally" in results.messages
    assert "have no interval" in results.page
    (grid,) = re.findall(r'<table class="grid">.*?</table>', results.page, re.DOTALL)
    assert not any(sign in grid for sign in "▲▼○■")


def never_the_last(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return predictions that never name the last class, and err in one of fifty others."""
    found = np.where(rng.random(len(labels)) < 0.02, rng.integers(0, 2, len(labels)), labels)
    return np.where(labels == labels.max(), 0, found)


def test_a_class_that_is_never_named_is_said_to_carry_the_slope(tmp_path):
    def pruned(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        """Ruin the second class as well."""
        lost = (labels == 1) & (rng.random(len(labels)) < 0.4)
        return np.where(lost, 0, never_the_last(rng, labels))

    results = run(
        tmp_path,
        {"control": never_the_last, "magnitude": pruned},
        classes=3,
        support=[200, 200, 6],
        dense=never_the_last,
    )
    pooled = results.table("pooled").set_index(["method", "ratio", "state"])
    cell = pooled.loc[("magnitude", 2, "finetuned")]
    assert cell["alpha"] == pytest.approx(1, abs=0.4)
    assert cell["leading_class"] == "class 2"
    assert 0.99 < cell["leading_share"] < 1
    assert 1 <= cell["effective_classes"] < 1.02
    assert (cell["unnamed"], cell["narrow"]) == (1, "few classes")
    networks = results.table("alpha")
    assert networks["effective_classes"].between(1, 1.05).all()
    influence = results.table("influence")
    last = influence[influence["class_name"] == "class 2"]
    assert (last["unnamed"] == SEEDS).all()
    assert last["share"].to_numpy() == pytest.approx(cell["leading_share"])
    assert influence.groupby(["method", "ratio"])["share"].sum().to_numpy() == pytest.approx(1)
    assert results.table("seeds_needed")["seeds"].isna().all()
    words = " ".join(re.sub(r"<[^>]+>", " ", results.page).split())
    assert "Few classes carry these slopes" in words
    assert "no dense model ever names “class 2”" in words
    of_pruned = last[(last["method"] == "magnitude") & (last["ratio"] == 2)].iloc[0]
    assert f"without class 2 {of_pruned['mean']:.2f}".replace("-", "−") in words


def test_two_classes_are_said_to_be_one_gap(tmp_path):
    results = run(
        tmp_path,
        {"control": some_errors, "magnitude": some_errors},
        classes=2,
        support=[150, 50],
    )
    found = results.table("alpha")
    # Balances sum to zero, weighted by the supports, so the shares are those supports' alone.
    share = np.array([50, 150]) ** 2 / (50**2 + 150**2)
    assert found["effective_classes"].to_numpy() == pytest.approx(1 / (share**2).sum())
    assert results.table("pooled")["narrow"].isna().all()
    assert "α is the ratio of one gap, after to before" in results.page
    recall = results.table("recall").pivot(
        index=["method", "ratio", "state", "seed"], columns="class", values="recall"
    )
    accuracy = results.table("recall").groupby(["method", "ratio", "state", "seed"])["accuracy"]
    gap = (recall[0] - recall[1]) / accuracy.first()
    for row in found[found["method"] == "magnitude"].itertuples():
        after = gap[row.method, row.ratio, row.state, row.seed]
        assert row.alpha == pytest.approx(after / gap["dense", 1, "dense", row.seed])
