"""Audits of pairs of models whose recalls are known: the settings, the command, what ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.statistics.paired import tango
from recall_distortion.simulation import audits
from recall_distortion.simulation.audit_settings import Setting, settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
BY_NAME = {setting.name: setting for setting in settings()}
by_setting = pytest.mark.parametrize("setting", BY_NAME.values(), ids=BY_NAME)


def exact_coverage(setting: Setting, level: float) -> np.ndarray:
    """Return how often Tango's interval holds each class's change: every table of its images."""
    found = []
    for n, lost, gained in zip(setting.images, setting.lost, setting.gained, strict=True):
        minus, plus = np.indices((n + 1, n + 1))
        possible = minus + plus <= n
        minus, plus = minus[possible], plus[possible]
        p = stats.multinomial.pmf(
            np.stack([minus, plus, n - minus - plus], 1), n, [lost, gained, 1 - lost - gained]
        )
        likely = p > 1e-9
        low, high = tango(minus[likely], plus[likely], n, level)
        truth = gained - lost
        found.append(p[likely] @ ((low <= truth + 1e-12) & (truth - 1e-12 <= high)))
    return np.array(found)


def test_there_are_twelve_settings_and_each_can_be() -> None:
    assert len(BY_NAME) == 12
    for setting in BY_NAME.values():
        assert (setting.lost <= setting.before).all()
        assert (setting.gained <= 1 - setting.before).all()
        assert not (setting.hard and setting.gained.any())
    ratio = BY_NAME["unbalanced 1:100"].images
    assert ratio.max() / ratio.min() == 100
    assert {len(setting.images) for setting in BY_NAME.values()} == {2, 10, 100, 1000}


@by_setting
def test_what_is_drawn_is_what_is_said_to_be_true(setting: Setting) -> None:
    many = replace(setting, images=np.full(len(setting.images), 400_000 // len(setting.images)))
    labels, before, after = many.draw(np.random.default_rng(0))
    n = many.images
    right = [
        np.bincount(labels[answers == labels], minlength=len(n)) / n for answers in (before, after)
    ]
    error = 5 * np.sqrt(0.25 / n)
    assert (np.abs(right[0] - setting.before) < error).all()
    assert (np.abs(right[1] - right[0] - setting.change) < error).all()
    assert (right[0] == setting.before)[np.isin(setting.before, [0, 1])].all()


def test_hard_images_are_missed_by_both() -> None:
    """Far more often than by two models that err independently."""
    labels, before, after = BY_NAME["images hard for all"].draw(np.random.default_rng(0))
    wrong = [(answers != labels).mean() for answers in (before, after)]
    assert ((before != labels) & (after != labels)).mean() > 2 * wrong[0] * wrong[1]


def test_the_truth_of_a_setting_by_hand() -> None:
    setting = BY_NAME["two classes"]
    np.testing.assert_allclose(setting.change, [-0.05, 0])
    np.testing.assert_allclose(setting.excess, [-0.025, 0.025])
    # Balances 0.7 / 0.8 - 1 = -1 / 8 before, and 0.65 / 0.775 - 1 after.
    assert setting.alpha == pytest.approx((0.65 / 0.775 - 1) / (-1 / 8))


@pytest.mark.slow
def test_a_setting_s_coverage_is_right_within_its_error() -> None:
    """Against the sum over all tables of its images, at a level that is missed often enough."""
    setting = replace(BY_NAME["two classes"], images=np.array([40, 120]))
    found = [audits.study(setting, 7, number, 0.8) for number in range(400)]
    covered = np.stack([one[audits.TANGO] for one in found]).mean(0)
    exact = exact_coverage(setting, 0.8)
    assert (np.abs(covered - exact) < 4 * np.sqrt(exact * (1 - exact) / 400)).all()
    assert (exact < 0.9).all()


@pytest.mark.slow
def test_the_table_does_not_depend_on_the_cores(tmp_path: Path, capsys) -> None:
    names = ["two classes", "no change at all"]
    paths = [tmp_path / f"{cores}.csv" for cores in (1, 2)]
    for cores, path in enumerate(paths, 1):
        words = [str(path), "--studies", "30", "--cores", str(cores), "--settings", *names]
        assert audits.main(words) == 0
    one, two = (path.read_bytes() for path in paths)
    assert one == two
    table = audits.read(paths[0])
    assert list(dict.fromkeys(table["setting"])) == names
    assert set(table["studies"]) <= {30, *range(30)}  # alpha, where it has an interval
    shares = table["value"].to_numpy()
    assert ((shares >= 0) & (shares <= 1)).all()
    printed = capsys.readouterr().out
    assert "1/2 two classes" in printed
    assert audits.tables(table)["coverage"] in printed


def test_what_is_counted_of_one_audit_by_hand() -> None:
    """Every class loses all its images: nothing is false but what calls that no loss."""
    setting = Setting(
        "all is lost", "", np.array([50, 60]), np.ones(2), np.ones(2), np.zeros(2), 0.5
    )
    one = audits.study(setting, 0, 0)
    assert one[audits.TANGO].tolist() == [True, True]
    assert one["beyond"].tolist() == [True]
    assert not one[audits.WRONG][0]
    assert all(len(one[name]) == 0 for name in ("mid p at 5%", audits.HOLM, audits.ALPHA))
    rows = {row["quantity"]: row for row in audits.rows(setting, [one, one], 0.99)}
    assert rows[audits.FALSE_WITHIN]["value"] == 0
    assert audits.FALSE_BEYOND not in rows
    assert rows[audits.TANGO]["studies"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "OUT.csv"),
        (["out.txt"], "path of a table to write"),
        (["blocked/out.csv"], "cannot write"),
        (["out.csv", "--cores", "0"], "a whole number of 1 or more, not '0'"),
        (["out.csv", "--studies", "many"], "not 'many'"),
        (["out.csv", "--settings", "none"], "invalid choice"),
    ],
)
def test_the_command_s_errors(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("blocked").write_text("a file, not a folder")
    with pytest.raises(SystemExit) as stopped:
        audits.main(words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["blocked"]


# What ships


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return audits.read(DOCS / "audit-simulation.csv")


def test_the_documented_tables_are_those_of_the_shipped_table(shipped: pd.DataFrame) -> None:
    text = (DOCS / "audit-simulation.md").read_text("utf-8")
    for name, table in audits.tables(shipped).items():
        assert table in text, name
    assert list(dict.fromkeys(shipped["setting"])) == list(BY_NAME)
    of_all = shipped[shipped["quantity"] != audits.ALPHA]
    assert set(of_all["studies"]) == {audits.STUDIES}


def test_the_shipped_table_bears_its_claims(shipped: pd.DataFrame) -> None:
    """Nothing misses its nominal value on the wrong side by more than its Monte Carlo error."""
    covers = [audits.TOGETHER, audits.EXCESS, audits.EXCESS_TOGETHER, audits.ALPHA]
    for _, row in shipped[shipped["quantity"].isin(covers)].iterrows():
        assert row["value"] > row["nominal"] - 0.004 - 3 * row["std_error"], row.to_dict()
    errs = [
        *(audits.HOLM, audits.WRONG, audits.FALSE_WITHIN, audits.FALSE_BEYOND),
        *("exact p at 5%", "exact p at 1%"),
    ]
    for _, row in shipped[shipped["quantity"].isin(errs)].iterrows():
        assert row["value"] <= row["nominal"] + 3 * row["std_error"], row.to_dict()


@pytest.mark.parametrize(
    "name", ["few images", "two classes", "recalls of 0 and 1", "as much lost as gained"]
)
def test_the_shipped_coverage_is_that_of_all_tables(shipped: pd.DataFrame, name: str) -> None:
    """An enumeration of every class's tables says what 1,000 audits should have found."""
    found = shipped[shipped["setting"] == name].set_index("quantity").loc[audits.TANGO]
    expected = exact_coverage(BY_NAME[name], audits.LEVEL).mean()
    assert abs(found["value"] - expected) < 4 * found["std_error"]
