"""Studies that cannot answer: their tables say what cannot be estimated and why, and a page stands.

Each goes the whole way from files of predictions to the report, through R where it is there.
"""

from __future__ import annotations

import json
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
