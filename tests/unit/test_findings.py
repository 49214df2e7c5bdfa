"""The generated pages: findings say what tables give, the tables page what their schema does."""

from __future__ import annotations

import csv
import importlib
import statistics
import subprocess
import sys

import pytest
from core_helpers import REPOSITORY

SCRIPT = REPOSITORY / "docs/findings.py"
RESULTS = REPOSITORY / "results"


@pytest.fixture(scope="module")
def findings():
    sys.path.insert(0, str(SCRIPT.parent))  # where a script finds what lies beside it
    try:
        return importlib.import_module(SCRIPT.stem)
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.fixture(scope="module")
def page(findings) -> str:
    return findings.render()


def rows(study: str, table: str, **wanted: str) -> list[dict[str, str]]:
    with open(RESULTS / study / "tables" / f"{table}.csv", newline="", encoding="utf-8") as file:
        return [
            row
            for row in csv.DictReader(file)
            if all(row[name] == value for name, value in wanted.items())
        ]


@pytest.mark.slow
def test_the_page_is_what_the_tables_give(page):
    assert (REPOSITORY / "docs/findings.md").read_text(encoding="utf-8") == page


def test_the_published_verdicts_are_counted_right(page):
    cells = [row for study in ("mnist", "fashion_mnist") for row in rows(study, "published")]
    cells = [row for row in cells if row["verdict"]]
    assert len(cells) == 10
    same = sum(row["verdict"] == row["published_verdict"] for row in cells)
    assert f"{same} of 10 verdicts are the published ones" in page


@pytest.mark.parametrize("study", ["mnist", "fashion_mnist"])
def test_the_controls_slope_is_the_mean_of_its_networks(findings, page, study):
    slopes = rows(study, "networks", method="control", state="retrained")
    mean = statistics.fmean(float(row["alpha"]) for row in slopes)
    (line,) = [
        line
        for line in page.splitlines()
        if line.startswith(f"| {findings.PANELS[study]} | mean slope | {findings.number(mean)} (")
    ]
    assert line.count("|") == 7


def test_studies_are_compared_seed_by_seed(findings, page):
    varied, usual = (
        {row["seed"]: float(row["alpha"]) for row in rows(study, "networks", **cell)}
        for study, cell in (
            ("fashion_mnist_no_decay", {"method": "control", "state": "retrained"}),
            ("fashion_mnist", {"method": "control", "state": "retrained"}),
        )
    )
    assert varied.keys() <= usual.keys()
    mean = statistics.fmean(varied[seed] - usual[seed] for seed in varied)
    section = page.partition("## Without weight decay")[2]
    assert f"| control | {findings.number(mean)} (" in section


def test_a_gpu_and_a_cpu_are_compared_over_the_seeds_of_both(findings, page):
    gpu, cpu = (
        {
            row["seed"]: float(row["alpha"])
            for row in rows(study, "networks", method="magnitude", ratio="2", state="retrained")
        }
        for study in ("fashion_mnist_gpu", "fashion_mnist")
    )
    assert cpu.keys() < gpu.keys()
    mean = statistics.fmean(gpu[seed] - cpu[seed] for seed in cpu)
    section = page.partition("**Does the device matter?**")[2]
    assert f"| magnitude, 2 | {findings.number(mean)} (" in section


@pytest.mark.parametrize("method", ["magnitude", "gradient", "undecayed"])
def test_at_the_same_sparsity_networks_are_compared_seed_by_seed(findings, page, method):
    signed, other = (
        {row["seed"]: float(row["alpha"]) for row in rows(study, "networks", **cell)}
        for study, cell in (
            ("fashion_mnist", {"method": "undecayed_signed", "ratio": "50", "state": "retrained"}),
            (
                "fashion_mnist_equal_sparsity",
                {"method": method, "ratio": "39", "state": "retrained"},
            ),
        )
    )
    assert signed.keys() == other.keys()
    mean = statistics.fmean(signed[seed] - other[seed] for seed in signed)
    realised = rows("fashion_mnist_equal_sparsity", "networks", method=method, state="retrained")
    ratio = statistics.fmean(float(row["realised_ratio"]) for row in realised)
    section = page.partition("(`fashion_mnist_equal_sparsity`)")[2]
    assert f"| 39 | {ratio:.1f} | {findings.number(mean)} (" in section


def test_the_varied_studies_have_the_networks_that_they_vary():
    """What is paired by seed differs by nothing else: the dense networks are the same."""
    usual, same = (
        {
            (row["seed"], row["class"]): row["correct"]
            for row in rows(study, "recall", method="dense")
        }
        for study in ("fashion_mnist", "fashion_mnist_equal_sparsity")
    )
    assert usual == same


def test_lines_are_filled_and_tables_and_headings_left_alone(findings):
    row = "| " + "word " * 40 + "|"
    text = f"# Title\n\nFirst\n  line.\n- {'word ' * 40}\n- next\n\n{row}\n"
    filled = findings.wrapped(text).splitlines()
    assert filled[:3] == ["# Title", "", "First line."]
    assert filled[3].startswith("- word")
    assert filled[4].startswith("  word")
    assert filled[-3:] == ["- next", "", row]
    assert max(map(len, filled[:-1])) <= findings.WIDTH


def test_a_number_that_is_missing_is_refused(findings):
    with pytest.raises(ValueError, match="is nan"):
        findings.number(float("nan"))


def test_a_sentence_that_the_tables_do_not_bear_out_is_refused(findings):
    assert findings.holds(True, "It holds.") == "It holds."
    with pytest.raises(ValueError, match=r"do not bear out: 'It does not\.'"):
        findings.holds(False, "It does not.")


def test_an_interval_shows_on_which_side_of_zero_or_one_it_ends(findings):
    assert findings.span([0.5, -0.002, 0.998]) == "0.50 (−0.002..0.998)"
    assert findings.span([0.5, 0.21, 1.31]) == "0.50 (0.21..1.31)"


def test_a_number_has_a_true_minus_sign_and_no_negative_zero(findings):
    assert [findings.number(value) for value in (-1.234, -0.001, 0.5)] == ["−1.23", "0.00", "0.50"]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["findings.py", "tables.py"])
def test_the_command_says_that_its_page_is_up_to_date(script):
    command = [sys.executable, REPOSITORY / "docs" / script, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
