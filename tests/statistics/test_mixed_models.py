"""The class-level mixed model: known truth, two engines, plain R, panels that cannot bear it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from recall_distortion.columns import COEFFICIENT_COLUMNS, FIT_COLUMNS
from recall_distortion.errors import InferenceError, SetupError, TableError
from recall_distortion.inference import mixed_models, model, r_stack, tables
from recall_distortion.inference.engines import statsmodels as engine

CELLS = {
    ("control", 1.0): 0.75,
    ("magnitude", 2.0): 0.9,
    ("magnitude", 10.0): 1.3,
    ("undecayed", 2.5): 1.0,
}
MISSING = [("magnitude", 10.0, 3), ("undecayed", 2.5, 0), ("control", 1.0, 5)]


def r_available() -> str:
    """Return why the R stack cannot be used, or an empty string."""
    try:
        r_stack.check_r_stack()
    except SetupError as error:
        return str(error)
    return ""


needs_r = pytest.mark.skipif(bool(r_available()), reason=r_available() or "R is there")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    table = synthetic.recall(CELLS, missing=MISSING, seeds=10)
    return model.design(table, "digits", "mlp")


@pytest.fixture(scope="module")
def by_statsmodels(rows: pd.DataFrame):
    return mixed_models.fit_statsmodels(rows)


@pytest.fixture(scope="module")
def by_pymer4(rows: pd.DataFrame):
    return mixed_models.fit_pymer4(rows)


def slopes(coefficients: pd.DataFrame) -> pd.DataFrame:
    return coefficients[coefficients["term"] == "slope"].reset_index(drop=True)


def deviations(coefficients: pd.DataFrame) -> pd.Series:
    return coefficients[coefficients["term"] != "slope"].set_index("term")["estimate"]


# --- the design


def test_design_has_every_finetuned_row(rows: pd.DataFrame) -> None:
    assert list(rows.columns) == model.ROW_COLUMNS
    assert len(rows) == (4 * 10 - len(MISSING)) * 6
    assert list(dict.fromkeys(rows["cell"])) == [
        "control@1",
        "magnitude@2",
        "magnitude@10",
        "undecayed@2.5",
    ]
    table = synthetic.recall(CELLS, missing=MISSING, seeds=10)
    row = rows[(rows["cell"] == "magnitude@10") & (rows["seed"] == 4) & (rows["class"] == 2)]
    same = (table["seed"] == 4) & (table["class"] == 2)
    dense = table[same & (table["state"] == "dense")]
    after = table[same & (table["method"] == "magnitude") & (table["ratio"] == 10)]
    assert row["before"].item() == dense["normalized_balance"].item()
    assert row["after"].item() == after["normalized_balance"].item()


def test_design_refuses_what_it_would_have_to_drop() -> None:
    table = synthetic.recall(CELLS, seeds=3)

    def refused(broken: pd.DataFrame, message: str, error: type = InferenceError) -> None:
        with pytest.raises(error, match=message):
            model.design(broken, "digits", "mlp")

    infinite = table.copy()
    infinite.loc[infinite.index[-1], "normalized_balance"] = np.inf
    refused(infinite, r"undecayed at ratio 2.5, seed 2, class 5 is not finite")
    refused(table[~((table["state"] == "dense") & (table["seed"] == 1))], "seed 1.*no dense model")
    refused(table.drop(index=table.index[-1]), "replicate 2:undecayed@2.5 has 5 classes")
    refused(pd.concat([table, table.tail(1)]), "more than one row", TableError)
    refused(table.drop(columns="seed"), "lacks the column seed", TableError)
    refused(table[table["state"] == "dense"], "no fine-tuned model of digits/mlp")


# --- statsmodels


def test_turning_the_rows_changes_no_fit(rows: pd.DataFrame) -> None:
    """The likelihood of the turned rows equals that of the model written out in full."""
    turned = engine.rotated(rows)
    assert len(turned.after) == len(rows)
    assert np.sum(turned.after**2) == pytest.approx(np.sum(rows["after"] ** 2), rel=1e-12)
    relative = {"sd(seed)": 3.0, "sd(seed:cell)": 40.0, "sd(class)": 0.7}

    def reml(y: np.ndarray, x: np.ndarray, v: np.ndarray) -> float:
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        residual = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        free = len(y) - x.shape[1]
        logdets = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return -0.5 * (logdets + free * np.log(residual @ inverse @ residual))

    before = rows["before"].to_numpy()
    v = np.eye(len(rows))
    for term, column in model.RANDOM_TERMS.items():
        same = rows[column].to_numpy()[:, None] == rows[column].to_numpy()[None, :]
        v += relative[term] * np.outer(before, before) * same
    x = before[:, None] * pd.get_dummies(rows["cell"], dtype=float).to_numpy()
    turned_v = np.eye(len(rows))
    for position, group in enumerate(np.unique(turned.group)):
        inside = np.flatnonzero(turned.group == group)
        for term, matrices in turned.random.items():
            z = matrices[position]
            turned_v[np.ix_(inside, inside)] += relative[term] * z @ z.T
    assert reml(turned.after, turned.fixed, turned_v) == pytest.approx(
        reml(rows["after"].to_numpy(), x, v), abs=1e-7
    )


def test_recovers_the_truth() -> None:
    table = synthetic.recall(CELLS, seeds=40, classes=24, random_seed=2)
    fitted, facts = mixed_models.fit_statsmodels(model.design(table, "digits", "mlp"))
    found = slopes(fitted)
    truth = np.array(list(CELLS.values()))
    assert (np.abs(found["estimate"] - truth) < 4 * found["std_error"]).all()
    assert (found["std_error"] < 0.05).all()
    expected = {"sd(seed)": 0.08, "sd(seed:cell)": 0.1, "sd(class)": 0.1, "sd(residual)": 0.01}
    assert deviations(fitted).to_dict() == pytest.approx(expected, rel=0.35)
    assert list(found["verdict"]) == [
        "de-intensification",
        "de-intensification",
        "intensification",
        "inconclusive",
    ]
    assert facts["converged"]
    assert not facts["singular"]
    assert facts["groups"] == "seed=40;seed:cell=160;class=24"
    assert list(facts) == FIT_COLUMNS


def test_columns_intervals_and_p_values(by_statsmodels) -> None:
    fitted, _ = by_statsmodels
    assert list(fitted.columns) == COEFFICIENT_COLUMNS
    found = slopes(fitted)
    z = (found["estimate"] - 1) / found["std_error"]
    assert found["p_intensification"].to_numpy() == pytest.approx(1 - stats.norm.cdf(z), abs=1e-12)
    assert found["p_deintensification"].to_numpy() == pytest.approx(stats.norm.cdf(z), abs=1e-12)
    half = 2.5758293035489004 * found["std_error"]
    assert found["low"].to_numpy() == pytest.approx(found["estimate"] - half)
    assert found["high"].to_numpy() == pytest.approx(found["estimate"] + half)
    assert np.isinf(found["df"]).all()
    random = fitted[fitted["term"] != "slope"]
    assert (
        random[["method", "ratio", "std_error", "p_intensification", "verdict"]]
        .isna()
        .to_numpy()
        .all()
    )
    for side in ("p_intensification", "p_deintensification"):
        assert found[f"{side}_adjusted"].to_numpy() == pytest.approx(holm_by_hand(found[side]))


def holm_by_hand(p: pd.Series) -> list[float]:
    ordered = sorted(range(len(p)), key=lambda i: p.iloc[i])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(ordered):
        largest = max(largest, (len(p) - rank) * p.iloc[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def test_holm_worked_by_hand() -> None:
    found = mixed_models.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_nan = mixed_models.holm(np.array([0.01, np.nan, 0.6]))
    assert with_nan[[0, 2]] == pytest.approx([0.03, 1.0])
    assert np.isnan(with_nan[1])


def test_a_variance_of_zero_is_marked() -> None:
    table = synthetic.recall(CELLS, sd_seed_cell=0.0, random_seed=2)
    fitted, facts = mixed_models.fit_statsmodels(model.design(table, "digits", "mlp"))
    assert facts["singular"]
    assert facts["converged"]
    assert "sd(seed:cell) at zero" in facts["message"]
    assert deviations(fitted)["sd(seed:cell)"] == pytest.approx(0, abs=1e-4)
    assert np.isfinite(slopes(fitted)["std_error"]).all()


@pytest.mark.parametrize(
    ("cells", "options", "reason"),
    [
        (CELLS, {"seeds": 1}, "one seed"),
        ({("control", 1.0): 0.8}, {}, "one cell"),
        (CELLS, {"classes": 1}, "one class"),
        (CELLS, {"noise": 0.0}, "without residual"),
    ],
)
@pytest.mark.parametrize("fit", [mixed_models.fit_statsmodels, mixed_models.fit_pymer4])
def test_panels_that_cannot_bear_the_model(cells, options, reason, fit) -> None:
    rows = model.design(synthetic.recall(cells, **options), "digits", "mlp")
    fitted, facts = fit(rows)
    assert not facts["converged"]
    assert facts["message"].startswith("not estimated: ")
    assert reason in facts["message"]
    assert np.isnan(facts["loglik"])
    assert len(slopes(fitted)) == len(cells)
    assert slopes(fitted)["estimate"].isna().all()
    assert set(slopes(fitted)["verdict"]) == {"inconclusive"}


def test_a_dense_model_without_balance_cannot_be_judged() -> None:
    table = synthetic.recall(CELLS, seeds=3)
    table.loc[table["state"] == "dense", "normalized_balance"] = 0.0
    _, facts = mixed_models.fit_statsmodels(model.design(table, "digits", "mlp"))
    assert "every class is recalled equally" in facts["message"]


# --- lme4


@needs_r
def test_engines_agree(rows, by_pymer4, by_statsmodels) -> None:
    (first, facts), (second, other_facts) = by_pymer4, by_statsmodels
    a, b = slopes(first), slopes(second)
    assert list(a["method"]) == list(b["method"]) == [method for method, _ in CELLS]
    assert list(a["ratio"]) == list(b["ratio"]) == [ratio for _, ratio in CELLS]
    assert a["estimate"].to_numpy() == pytest.approx(b["estimate"].to_numpy(), abs=1e-6)
    assert a["std_error"].to_numpy() == pytest.approx(b["std_error"].to_numpy(), rel=1e-4)
    assert facts["loglik"] == pytest.approx(other_facts["loglik"], abs=1e-5)
    assert deviations(first).to_numpy() == pytest.approx(deviations(second).to_numpy(), rel=1e-3)
    assert facts["converged"]
    assert not facts["singular"]
    assert facts["message"] == ""
    table, fits = mixed_models.combine([first, second], [facts, other_facts])
    assert len(table) == 2 * (len(CELLS) + 4)
    assert list(fits["engine"]) == ["pymer4", "statsmodels"]


R_SCRIPT = """
suppressMessages(library(lmerTest))
d <- read.csv(commandArgs(TRUE)[1])
for (name in c("cell", "seed", "seed_cell", "class")) d[[name]] <- factor(d[[name]])
m <- lmer(after ~ 0 + before:cell + (0 + before | seed) + (0 + before | seed_cell)
          + (0 + before | class), d,
          control = lmerControl(optCtrl = list(xtol_abs = 1e-10, ftol_abs = 1e-11)))
s <- coef(summary(m))
write.csv(data.frame(cell = sub("before:cell", "", rownames(s)), estimate = s[, 1], se = s[, 2],
                     df = s[, 3], loglik = as.numeric(logLik(m))), commandArgs(TRUE)[2])
"""


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
@needs_r
def test_plain_r_finds_the_same(rows, by_pymer4, tmp_path: Path) -> None:
    script, data, answer = (tmp_path / name for name in ("fit.R", "rows.csv", "answer.csv"))
    script.write_text(R_SCRIPT)
    rows.to_csv(data, index=False)
    subprocess.run(["Rscript", script, data, answer], check=True, capture_output=True, timeout=120)
    plain = pd.read_csv(answer).set_index("cell").loc[list(dict.fromkeys(rows["cell"]))]
    fitted, facts = by_pymer4
    found = slopes(fitted)
    assert found["estimate"].to_numpy() == pytest.approx(plain["estimate"].to_numpy(), abs=1e-7)
    assert found["std_error"].to_numpy() == pytest.approx(plain["se"].to_numpy(), rel=1e-5)
    assert found["df"].to_numpy() == pytest.approx(plain["df"].to_numpy(), rel=1e-4)
    assert facts["loglik"] == pytest.approx(plain["loglik"].iloc[0], abs=1e-6)
    t = (plain["estimate"] - 1) / plain["se"]
    assert found["p_intensification"].to_numpy() == pytest.approx(
        stats.t.sf(t, plain["df"]), rel=1e-3
    )


@needs_r
def test_a_singular_fit_is_marked_by_lme4_and_still_compared() -> None:
    table = synthetic.recall(CELLS, sd_seed_cell=0.0, random_seed=2)
    rows = model.design(table, "digits", "mlp")
    first, second = mixed_models.fit_pymer4(rows), mixed_models.fit_statsmodels(rows)
    assert first[1]["singular"]
    assert first[1]["converged"]
    assert "singular" in first[1]["message"]
    _, fits = mixed_models.combine(*zip(first, second, strict=True))
    assert list(fits["singular"]) == [True, True]


@needs_r
@pytest.mark.parametrize(
    "options",
    [{"classes": 2, "seeds": 3}, {"seeds": 2}, {"seeds": 5, "missing": MISSING}],
    ids=["two classes", "two seeds", "cell without some seeds"],
)
def test_engines_agree_on_tiny_panels(options) -> None:
    rows = model.design(synthetic.recall(CELLS, **options), "digits", "mlp")
    first, second = mixed_models.fit_pymer4(rows), mixed_models.fit_statsmodels(rows)
    _, fits = mixed_models.combine(*zip(first, second, strict=True))
    assert fits["converged"].all()


@needs_r
def test_a_seed_whose_dense_model_has_no_balance_is_no_obstacle() -> None:
    table = synthetic.recall(CELLS, seeds=5)
    table.loc[(table["state"] == "dense") & (table["seed"] == 2), "normalized_balance"] = 0.0
    rows = model.design(table, "digits", "mlp")
    first, second = mixed_models.fit_pymer4(rows), mixed_models.fit_statsmodels(rows)
    _, fits = mixed_models.combine(*zip(first, second, strict=True))
    assert fits["converged"].all()


def test_an_engine_that_gives_up_is_told_in_the_fits(rows, monkeypatch) -> None:
    def gives_up(*_) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(engine, "_maximized", gives_up)
    fitted, facts = mixed_models.fit_statsmodels(rows)
    assert not facts["converged"]
    assert facts["message"] == "statsmodels gave up: Singular matrix"
    assert slopes(fitted)["estimate"].isna().all()


@needs_r
@pytest.mark.parametrize("path", [None, "/somewhere/lib"])
def test_starting_r_leaves_no_library_path_to_child_processes(path: str | None) -> None:
    # In a process of its own, because R starts only once in each. Its child reads the variable as
    # the C library has it, which is what the dynamic loader of a child sees.
    code = (
        "import subprocess\n"
        "from recall_distortion.inference.engines import pymer4\n"
        "pymer4.prepare()\n"
        "print(subprocess.run(['/bin/sh', '-c', 'echo path=$LD_LIBRARY_PATH'], check=True, "
        "capture_output=True, text=True).stdout)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    if path is not None:
        environment["LD_LIBRARY_PATH"] = path
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"path={path or ''}\n" in found.stdout


@needs_r
def test_r_packages_are_loaded_at_their_first_use(monkeypatch, by_pymer4) -> None:
    from rpy2.robjects import packages, r

    from recall_distortion.inference.r_packages import lazy_r_packages

    real = packages.importr
    installed = packages.isinstalled
    loaded = []

    def counted(name: str, **options):
        loaded.append(name)
        return real(name, **options)

    monkeypatch.setattr(packages, "importr", counted)
    with lazy_r_packages():
        stats, report = packages.importr("stats"), packages.importr("report")
        performance = packages.importr("performance")
    assert packages.importr is counted
    assert loaded == []
    assert stats.rnorm is not None
    assert stats.sd is not None
    assert loaded == ["stats"]

    missing = ("report", "performance")
    monkeypatch.setattr(
        packages, "isinstalled", lambda name, **o: name not in missing and installed(name, **o)
    )
    with pytest.raises(SetupError, match=r"report::report .*not installed"):
        report.report("model")
    # What pymer4 asks of performance is there without it: AIC and BIC, as R computes them.
    model = r("lm(dist ~ speed, cars)")
    found = performance.model_performance(model)
    assert list(found.names) == ["AIC", "BIC"]
    assert found.rx2("AIC")[0] == pytest.approx(r("AIC")(model)[0])
    with pytest.raises(SetupError, match=r"performance::r2 "):
        performance.r2(model)


# --- comparing the engines


def disguised(fit, engine_name: str):
    coefficients, facts = fit
    return coefficients.assign(engine=engine_name), {**facts, "engine": engine_name}


def changed(fit, **changes):
    coefficients, facts = fit
    coefficients, facts = coefficients.copy(), dict(facts)
    for name, value in changes.items():
        if name in facts:
            facts[name] = value
        else:
            coefficients.loc[2, name] *= value  # the third cell, magnitude at 10
    return coefficients, facts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"estimate": 1 + 1e-4},
            r"disagree about the slope of magnitude at ratio 10 in class_level/",
        ),
        ({"std_error": 1.002}, r"the standard error of the slope of magnitude at ratio 10"),
        ({"loglik": 0.0}, r"the REML log-likelihood in class_level/digits/mlp"),
        ({"estimate": np.nan}, r"the slope of magnitude at ratio 10.*says nan"),
    ],
)
def test_a_disagreement_is_an_error_with_both_values(by_statsmodels, changes, message) -> None:
    first = disguised(by_statsmodels, "pymer4")
    second = changed(by_statsmodels, **changes)
    mixed_models.combine(*zip(first, by_statsmodels, strict=True))
    with pytest.raises(InferenceError, match=message) as raised:
        mixed_models.combine(*zip(first, second, strict=True))
    if "loglik" in changes:
        values = first[1]["loglik"], 0.0
    else:
        (name,) = changes
        values = first[0].loc[2, name], second[0].loc[2, name]
    for value in values:
        assert repr(float(value)) in str(raised.value)


def test_a_fit_that_did_not_converge_is_kept_and_not_compared(by_statsmodels) -> None:
    first = disguised(by_statsmodels, "pymer4")
    second = changed(by_statsmodels, estimate=1.1, converged=False, message="stopped")
    table, fits = mixed_models.combine(*zip(first, second, strict=True))
    assert list(fits["converged"]) == [True, False]
    assert list(fits["message"]) == ["", "stopped"]
    assert len(table) == len(first[0]) + len(second[0])


# --- what is missing is said


def test_check_r_stack_without_r(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"no Rscript on the PATH.*apt-get install.*r-cran-lme4"):
        r_stack.check_r_stack()


def fake_r(folder: Path, answer: str) -> None:
    script = folder / "Rscript"
    script.write_text(f"#!{sys.executable}\n{answer}\n")
    script.chmod(0o755)


def test_check_r_stack_names_the_missing_package(monkeypatch, tmp_path: Path) -> None:
    fake_r(tmp_path, "print('4.2.2 lmerTest broom.mixed')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SetupError, match=r"lmerTest, broom\.mixed.*r-cran-lmertest r-cran-broom.mixed"
    ):
        r_stack.check_r_stack()


def test_check_r_stack_reports_a_broken_r(monkeypatch, tmp_path: Path) -> None:
    fake_r(tmp_path, "raise SystemExit('no libR.so')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"does not run: no libR\.so"):
        r_stack.check_r_stack()


def test_check_r_stack_knows_which_rpy2_needs_which_r(monkeypatch) -> None:
    monkeypatch.setattr(r_stack.importlib.metadata, "version", lambda name: "3.6.6")
    with pytest.raises(SetupError, match=r"rpy2-rinterface==3\.6\.5"):
        r_stack._check_rinterface("4.2.2")
    r_stack._check_rinterface("4.5.0")


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, recall_distortion.inference.tables\n"
        "heavy = {'pymer4', 'rpy2', 'statsmodels', 'polars', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- from files to files


def test_fits_survive_being_written_and_read(tmp_path: Path) -> None:
    recall_csv = tmp_path / "recall.csv"
    synthetic.recall(CELLS, seeds=4).to_csv(recall_csv, index=False)
    coefficients, fit = tmp_path / "coefficients.csv", tmp_path / "fit.csv"
    tables.write_fit(recall_csv, "digits", "mlp", "statsmodels", coefficients, fit)
    out, out_fits = tmp_path / "mixed_models.csv", tmp_path / "mixed_model_fits.csv"
    tables.write_mixed_models([coefficients], [fit], out, out_fits)
    rows = model.design(synthetic.recall(CELLS, seeds=4), "digits", "mlp")
    fitted, _ = mixed_models.fit_statsmodels(rows)
    read = pd.read_csv(out)
    for column in ("estimate", "std_error", "df", "low", "p_intensification_adjusted", "ratio"):
        np.testing.assert_array_equal(read[column], fitted[column].astype(float))
    assert (
        out.read_text()
        .splitlines()[2]
        .startswith("class_level/digits/mlp,statsmodels,digits,mlp,magnitude,2,slope,")
    )
    assert list(pd.read_csv(out_fits).columns) == FIT_COLUMNS


def test_tests_and_intervals_are_written(tmp_path: Path) -> None:
    recall_csv, alpha_csv = tmp_path / "recall.csv", tmp_path / "alpha.csv"
    synthetic.recall(CELLS, seeds=4).to_csv(recall_csv, index=False)
    means = {("digits", "mlp", method, ratio): slope for (method, ratio), slope in CELLS.items()}
    synthetic.alpha(means).to_csv(alpha_csv, index=False)
    tables.write_tests(recall_csv, alpha_csv, tmp_path / "i.csv", tmp_path / "t.csv", 0.95)
    written = pd.read_csv(tmp_path / "i.csv", dtype={"ratio": str})
    assert list(written["ratio"]) == ["1", "2", "10", "2.5"]
    assert set(written["level"]) == {0.95}
    assert list(pd.read_csv(tmp_path / "t.csv")["question"]) == ["ratio"]


def test_a_missing_column_names_the_file(tmp_path: Path) -> None:
    recall_csv = tmp_path / "recall.csv"
    synthetic.recall(CELLS, seeds=2).drop(columns="class").to_csv(recall_csv, index=False)
    with pytest.raises(TableError, match=r"recall\.csv lacks the column class"):
        tables.write_fit(recall_csv, "digits", "mlp", "statsmodels", "c.csv", "f.csv")
    with pytest.raises(TableError, match=r"nothing\.csv: no such table"):
        tables.write_mixed_models([tmp_path / "nothing.csv"], [], "m.csv", "f.csv")
    with pytest.raises(InferenceError, match="unknown engine 'lme5'"):
        tables.write_fit(recall_csv, "digits", "mlp", "lme5", "c.csv", "f.csv")
