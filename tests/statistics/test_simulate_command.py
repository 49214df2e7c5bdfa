"""The simulation's command, and the table and page that it ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall_distortion.simulation import __main__, coverage, levels, mixed, slopes, summary
from recall_distortion.simulation.rows import COLUMNS
from recall_distortion.simulation.scenarios import FAMILIES, scenarios
from recall_distortion.system.errors import TableError

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"

# The command


def test_rows_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, other = (tmp_path / "made" / f"{name}.csv" for name in ("one", "two", "other"))
    options = ["--studies", "20", "--families", "power", "t intervals"]
    assert __main__.main([str(one), *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert __main__.main([str(two), *options, "--jobs", "2"]) == 0
    assert __main__.main([str(other), *options, "--seed", "5"]) == 0
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    chosen = [s for s in scenarios() if s.family in ("power", "t intervals")]
    assert len(printed) == len(chosen) + 1
    assert printed[0].startswith(f"1/{len(chosen)} t intervals: ")
    table = pd.read_csv(one)
    assert list(table.columns) == COLUMNS
    assert set(table["studies"]) == {20, 100}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "OUT.csv"),
        (["out.csv", "--studies", "1"], "--studies is a whole number of 2 or more, not '1'"),
        (["out.csv", "--studies", "many"], "not 'many'"),
        (["out.csv", "--jobs", "0"], "--jobs is a whole number of 1 or more"),
        (["out.csv", "--seed", "-1"], "--seed is a whole number of 0 or more"),
        (["out.csv", "--families", "all"], "invalid choice"),
        (["out.txt"], "path of a table to write"),
        (["blocked/out.csv"], "cannot write"),
    ],
)
def test_the_command_s_errors(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("blocked").write_text("a file, not a folder")
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["blocked"]


def test_scenarios_are_all_of_the_families_and_have_names_of_their_own() -> None:
    found = scenarios()
    assert {scenario.family for scenario in found} == set(FAMILIES)
    assert len({(scenario.family, scenario.label) for scenario in found}) == len(found)


# What ships


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return summary.read(DOCS / "simulation.csv")


def test_the_shipped_table_is_of_these_scenarios(shipped: pd.DataFrame) -> None:
    assert list(shipped.columns) == COLUMNS
    assert shipped.groupby("family").ngroups == len(FAMILIES)
    keys = [name for name in COLUMNS if name not in ("nominal", "theory", "value", "std_error")]
    assert not shipped.duplicated(keys).any()
    found = shipped[shipped["family"] == levels.POWER_FAMILY]
    assert set(found["studies"]) == {20_000}
    assert set(shipped.loc[shipped["family"] == slopes.FAMILY, "studies"]) == {2_000}
    of_fits = shipped[shipped["family"] == mixed.FAMILY]
    assert len(of_fits) == 2 * 6 * 5
    # Coverage is that of the fits that converged.
    assert of_fits["studies"].between(190, 200).all()


def test_the_documented_tables_are_those_of_the_shipped_table(shipped: pd.DataFrame) -> None:
    text = (DOCS / "simulation.md").read_text(encoding="utf-8")
    for name, table in summary.tables(shipped).items():
        assert table in text, name


def test_the_shipped_table_bears_its_claims(shipped: pd.DataFrame) -> None:
    for seeds in (5, 10, 30):
        row = summary.one(
            shipped,
            family=coverage.T_FAMILY,
            quantity="coverage of the t interval",
            seeds=seeds,
            images="exact",
            distribution="normal",
        )
        assert abs(row["value"] - 0.99) <= 0.005
    of_slopes = shipped[shipped["family"] == slopes.FAMILY]
    pooled_rows = of_slopes[of_slopes["quantity"] == "cross-fitted slope, pooled"]
    assert len(pooled_rows) == 30
    enough = pooled_rows[pooled_rows["images"] != "50"]
    assert (enough["value"] / enough["nominal"] - 1).abs().max() < 0.01
    naive = of_slopes[of_slopes["quantity"] == "naive slope, pooled"]
    assert (naive["value"] < naive["nominal"]).all()
    assert (naive["value"] - naive["theory"]).abs().max() < 0.02
    errors = shipped[
        (shipped["family"] == levels.LEVEL_FAMILY)
        & (shipped["images"] == "exact")
        & (shipped["distribution"] == "normal")
    ]
    families = errors[errors["quantity"].str.startswith("any")]
    assert len(families) == 16
    assert families["value"].max() <= 0.055
    single = errors[errors["quantity"].str.startswith("one")]
    assert (single["value"] - single["nominal"]).abs().max() <= 0.01
    power = shipped[shipped["family"] == levels.POWER_FAMILY]
    error = np.maximum(power["std_error"], 0.001)
    assert ((power["value"] - power["theory"]).abs() < 5 * error).all()


def test_summary_says_what_is_wrong(tmp_path: Path, shipped: pd.DataFrame, capsys) -> None:
    with pytest.raises(TableError, match="run the simulation first"):
        summary.read(tmp_path / "none.csv")
    with pytest.raises(TableError, match="not one"):
        summary.one(shipped, family="none")
    assert summary.main([]) == 2
    assert summary.main([str(tmp_path / "none.csv")]) == 1
    assert "no such table" in capsys.readouterr().err
    assert summary.main([str(DOCS / "simulation.csv")]) == 0
    assert "| images a class |" in capsys.readouterr().out
