"""Curvature in studies: which jobs follow, and the way of its numbers to tables and page."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from study_helpers import VALID, message, write

from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.measures import of_networks, of_weights
from recall_distortion.measures.measure import require_different_names
from recall_distortion.report.page import build_report
from recall_distortion.run import planned, work
from recall_distortion.study import Study, load, measuring
from recall_distortion.system.errors import TableError
from recall_distortion.tables.schema import COLUMNS, CURVATURE, DEAD_UNITS
from recall_distortion.tables.views import NAMED
from recall_distortion.vocabulary import DENSE, NETWORK, RESEED, RETRAINED

ASKED = {"images": 40, "eigenvalues": 2}
NAMES = [column.name for column in (*CURVATURE, *DEAD_UNITS)]


def values(asked: dict | None, **panel: object) -> dict:
    found = copy.deepcopy(VALID)
    found["panels"][0] |= panel
    return found if asked is None else found | {"curvature": asked}


def test_off_by_default_it_adds_no_job_and_changes_none() -> None:
    without = Study.model_validate(values(None))
    assert without.curvature is None
    assert not any(measuring.bundles(without, network) for network in without.networks())
    asked = Study.model_validate(values(ASKED))
    jobs, more = planned.plan(without).jobs, planned.plan(asked).jobs
    # Each with all that decides it: parameters, files, and the word that follows from both.
    assert [job for job in more if job.rule != "curvature"] == list(jobs)
    assert "curvature" not in {job.rule for job in jobs}
    assert planned.plan(Study.model_validate(values(None) | {"curvature": None})).jobs == jobs
    counting = planned.plan(Study.model_validate(values(None) | {"dead_units": True})).jobs
    assert [job for job in counting if job.rule != "dead_units"] == list(jobs)
    assert len(counting) == len(more)


def test_one_job_a_bundle_and_block_of_what_has_weights() -> None:
    plain = values({}, methods=["control", "magnitude", "float16", "int8_static"])
    plain["jobs"]["bundles"] = {"both": ["magnitude", "control"]}
    study = Study.model_validate(plain | {"methods": {}, "selection": "test"})
    (network,) = study.networks()
    assert measuring.bundles(study, network) == [DENSE, "both"]
    jobs = [job for job in planned.plan(study).jobs if job.rule == "curvature"]
    assert len(jobs) == 2 * 2  # of two blocks
    wanted = {"images": 512, "eigenvalues": 10, "seed": 0, "selection": "test"}
    assert all(job.parameters["curvature"] == wanted for job in jobs)
    places = [job.outputs["curvature"].removeprefix("results/") for job in jobs]
    assert places[0] == "/predictions/digits/mlp/tiny/dense/seeds-000-001.curvature.csv"
    assert [len(job.inputs["compressed"]) for job in jobs] == [0, 3, 0, 3]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"images": 1}, "key 'curvature.images'"),
        ({"eigenvalues": 0}, "key 'curvature.eigenvalues'"),
        ({"eigenvalues": 101}, "key 'curvature.eigenvalues'"),
        (
            {"image": 10},
            "key 'curvature.image': unknown key; valid here: images, eigenvalues, seed",
        ),
        (True, "key 'curvature'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, asked: object, said: str) -> None:
    assert said in message(write(tmp_path, values(None) | {"curvature": asked}))


def test_measures_of_weights_have_names_of_their_own() -> None:
    require_different_names([*of_networks.MEASURES, *of_weights.MEASURES], NAMED)
    assert all(column.later for column in CURVATURE)
    assert {measure.column.name for measure in of_weights.MEASURES} <= set(NAMES)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a small study that measures curvature, by ``run``, without Snakemake."""
    folder = tmp_path_factory.mktemp("study")
    plain = values(ASKED, methods=["control", "magnitude"]) | {"ratios": [10], "methods": {}}
    plain["dead_units"] = True
    plain["jobs"] = {"replicates": 5}
    plain["seeds"] = 5
    path = write(folder, plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = planned.plan(load(path))
        assert work.work(plan, gpus=0, data_root="data") == work.DONE
    found = folder / "results/mystudy"
    infer(found, found / "tables", curved=True)
    infer(found, found / "plain", curved=False)
    return found


def infer(results: Path, tables: Path, *, curved: bool) -> None:
    tables.mkdir()
    files = {
        end: sorted(results.glob(f"{folder}/**/*.{end}"))
        for folder, end in (
            ("predictions", "safetensors"), ("compressed", "sparsity.csv"),
            ("predictions", "curvature.csv"), ("predictions", "dead_units.csv"),
        )
    }  # fmt: skip
    evaluated, sparsity, curvatures, counted = files.values()
    assert len(curvatures) == len(counted) == len(evaluated) == 3
    write_measures(
        evaluated, sparsity, tables / "recall.csv", tables / "networks.csv",
        curvature=curvatures if curved else (), dead_units=counted if curved else (),
    )  # fmt: skip
    outputs = {name: tables / f"{name}.csv" for name in ("estimates", "tests", "published")}
    write_estimates(
        tables / "recall.csv", tables / "networks.csv", outputs, architectures={"mlp": ("mlp", 3)}
    )
    for name in ("mixed_models", "mixed_model_fits"):
        pd.DataFrame(columns=COLUMNS[name]).to_csv(tables / f"{name}.csv", index=False)
    names = ("recall", "networks", "estimates", "tests", "mixed_models", "mixed_model_fits",
             "published", "summary")  # fmt: skip
    write_summary(*(tables / f"{name}.csv" for name in names))


@pytest.mark.slow
def test_networks_have_their_columns_where_a_study_asks(results: Path) -> None:
    networks, plain = (pd.read_csv(results / f"{n}/networks.csv") for n in ("tables", "plain"))
    # Behind them stand those of pruning events.
    first = list(networks).index(NAMES[0])
    assert list(networks)[first : first + len(NAMES)] == NAMES
    pd.testing.assert_frame_equal(networks.drop(columns=NAMES), plain)
    own = networks[networks["method"] != RESEED]
    assert own[NAMES].notna().all(axis=None)
    curved, counted = (
        pd.concat(map(pd.read_csv, results.glob(f"predictions/**/*.{name}.csv")))
        for name in ("curvature", "dead_units")
    )
    blocks = curved.merge(counted, on=NETWORK)
    assert len(blocks) == len(curved) == len(own)
    both = own.merge(blocks, on=["method", "ratio", "state", "seed"], suffixes=("", "_own"))
    for name in NAMES:
        assert (both[name] == both[f"{name}_own"]).all(), name
    # The second of a pair stands in the compressed network's place.
    reseed = networks[networks["method"] == RESEED]
    dense = networks[networks["method"] == DENSE].set_index("seed")
    assert reseed["seed"].tolist() == [0, 2]
    for name in NAMES:
        assert reseed[name].tolist() == dense.loc[[1, 3], name].tolist()


def test_each_is_held_against_control_dense_and_another_seed(results: Path) -> None:
    """Computed by hand from the columns of networks.csv."""
    networks = pd.read_csv(results / "tables/networks.csv").set_index("seed")
    estimates = pd.read_csv(results / "tables/estimates.csv")
    for measure in of_weights.MEASURES:
        values = {
            (method, state): own[measure.column.name]
            for (method, state), own in networks.groupby(["method", "state"])
        }
        pruned = values["magnitude", RETRAINED]
        rows = estimates[estimates["quantity"] == measure.title]
        rows = rows.set_index(["method", "state", "against"])["estimate"]
        assert rows["magnitude", RETRAINED, "control"] == pytest.approx(
            (pruned - values["control", RETRAINED]).mean()
        )
        assert rows["magnitude", RETRAINED, "dense"] == pytest.approx(
            (pruned - values[DENSE, DENSE]).mean()
        )
        pairs = values[DENSE, DENSE].to_numpy()[[1, 3]] - values[DENSE, DENSE].to_numpy()[[0, 2]]
        assert rows[RESEED, DENSE, "dense"] == pytest.approx(pairs.mean())
        own = estimates.query("quantity == @measure.title and state == 'retrained'")
        own = own.query("method == 'magnitude' and against == 'control'").iloc[0]
        p = stats.ttest_rel(pruned, values["control", RETRAINED]).pvalue
        assert own["p"] == pytest.approx(p, nan_ok=True)
        assert np.isnan(own["verdict"])  # neither flat nor sharp is worse
    compressed = estimates.query("quantity == 'weight norm' and state == 'compressed'")
    assert set(compressed["against"].dropna()) == {DENSE}


def test_fairness_counts_none_of_them(results: Path) -> None:
    summary, plain = (pd.read_csv(results / f"{n}/summary.csv") for n in ("tables", "plain"))
    pd.testing.assert_frame_equal(summary, plain)


@pytest.mark.slow
def test_the_page_lists_them_where_there_are_any(results: Path, undrawn: None) -> None:
    facts = load(results.parents[1] / "mystudy.yaml").facts()
    pages = {}
    for name in ("tables", "plain"):
        build_report(results / name, results / f"{name}.html", study=facts)
        pages[name] = (results / f"{name}.html").read_text("utf-8")
    assert "Curvature of the loss" in pages["tables"]
    assert "Dead units" in pages["tables"]
    assert "trace of the gradients’ covariance" in pages["tables"]
    for words in ("Curvature", "Hessian", "curvature", "Dead", "dead units"):
        assert words not in pages["plain"]


def test_a_network_without_predictions_names_file_and_line(results: Path, tmp_path: Path) -> None:
    evaluated = sorted(results.glob("predictions/**/*.safetensors"))
    path = tmp_path / "dense.curvature.csv"
    (dense,) = results.glob("predictions/**/dense/*.curvature.csv")
    path.write_text(dense.read_text().replace(",dense,4,", ",dense,7,"))
    with pytest.raises(TableError, match=r"dense.curvature.csv, line 6: the network has no"):
        write_measures(
            evaluated, [], tmp_path / "recall.csv", tmp_path / "networks.csv", curvature=[path]
        )
    assert not (tmp_path / "networks.csv").exists()
