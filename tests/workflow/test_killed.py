"""Killed at any moment, a study finishes when it is started again, with the same tables."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .conftest import COMMAND, TABLES, Project

KILLS = 6
#: How far the fits by R may differ from run to run: R's linear algebra rounds by where its numbers
#: happen to lie in memory. Measured between undisturbed runs: 2e-8.
R_TOLERANCE = 1e-5
#: Rows of the summary that say how far R's fits are from statsmodels'.
APART = ("mixed,terms/difference,", "mixed,terms/error_difference,")


def start(project: Project, *arguments: str, overrides: Sequence[str] = ()) -> subprocess.Popen:
    """Start the test study in a session of its own, its output in a file."""
    with open(project.folder / "output.txt", "w", encoding="utf-8") as output:
        return subprocess.Popen(
            ["snakemake", "--cores", "2", *arguments, "--config", "study=test", *overrides],
            cwd=project.folder,
            env={**os.environ, "PYTHONPATH": str(project.folder / "src"), "NO_COLOR": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def said(project: Project) -> str:
    return (project.folder / "output.txt").read_text("utf-8")


def jobs_of(snakemake: subprocess.Popen) -> list[int]:
    """Return the process ids of a running Snakemake's jobs."""
    threads = Path(f"/proc/{snakemake.pid}/task").glob("*/children")
    with contextlib.suppress(OSError):
        return sorted(int(child) for path in threads for child in path.read_text().split())
    return []


def end(snakemake: subprocess.Popen) -> None:
    """Kill what is left of a session and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()


def locks_in(project: Project) -> list[Path]:
    """Return the locks of the studies that are at work: each has an input's and an output's."""
    return sorted((project.folder / ".snakemake/locks").glob("*.lock"))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(condition, what: str, seconds: float = 120.0):
    """Return what a condition gives as soon as that is true."""
    last = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < last, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def _assert_same_summary(left: Path, right: Path) -> None:
    """Compare line for line; those of ``APART`` by their numbers, as R's fits are."""
    one, other = (path.read_text("utf-8").splitlines() for path in (left, right))
    assert len(one) == len(other)
    for line, another in zip(one, other, strict=True):
        if not any(words in line for words in APART):
            assert line == another
            continue
        (key, _, number), (other_key, _, other_number) = (
            text.rpartition(",") for text in (line, another)
        )
        assert key == other_key
        assert float(number) == pytest.approx(float(other_number), rel=0, abs=R_TOLERANCE)


def assert_same_tables(left: Path, right: Path) -> None:
    """Compare byte for byte, but for run times and the rounding of R's fits."""
    names = sorted(path.name for path in left.glob("*.csv"))
    assert names == sorted(path.name for path in right.glob("*.csv"))
    assert len(names) == TABLES
    for name in names:
        if name == "summary.csv":
            _assert_same_summary(left / name, right / name)
            continue
        if not name.startswith("mixed_model"):
            assert (left / name).read_bytes() == (right / name).read_bytes(), name
            continue
        one, other = (pd.read_csv(folder / name, dtype=str) for folder in (left, right))
        assert list(one) == list(other)
        by_r = one["fitter"] == "pymer4"
        assert by_r.any()
        assert not by_r.all()
        # Statsmodels' rows say how far they are from R's.
        ours = one.columns.drop("difference", errors="ignore")
        pd.testing.assert_frame_equal(one.loc[~by_r, ours], other.loc[~by_r, ours])
        for column in ours:
            pair = [table.loc[by_r, column] for table in (one, other)]
            numbers = [pd.to_numeric(values, errors="coerce") for values in pair]
            assert numbers[0].isna().equals(numbers[1].isna()), (name, column)
            words = numbers[0].isna()
            assert pair[0][words].equals(pair[1][words]), (name, column)
            np.testing.assert_allclose(
                *(values[~words] for values in numbers), rtol=R_TOLERANCE, atol=R_TOLERANCE
            )


@pytest.mark.slow
def test_a_study_killed_again_and_again_has_the_tables_of_an_undisturbed_one(
    finished: Project, project: Project
):
    """In turn Snakemake alone, one of its jobs, and the whole group, at random moments."""
    rng = random.Random(20)
    killed = {"snakemake": 0, "job": 0, "group": 0}
    while sum(killed.values()) < KILLS:
        snakemake = start(project)
        try:
            whom = ("job", "snakemake", "group")[sum(killed.values()) % 3]
            # Now and then before the first job, else so late that most starts finish some.
            early = sum(killed.values()) % 5 == 1 and whom != "job"
            if not early:
                wait_for(lambda run=snakemake: jobs_of(run) or run.poll() is not None, "a job")
            moment = time.monotonic() + rng.uniform(0.2, 2.0 if early else 6.0)
            while time.monotonic() < moment and snakemake.poll() is None:
                time.sleep(0.05)
            if whom == "job":
                wait_for(lambda run=snakemake: jobs_of(run) or run.poll() is not None, "a job")
            jobs = jobs_of(snakemake)
            if snakemake.poll() is not None:
                assert snakemake.returncode == 0, said(project)
                # It was faster than the kills: once more from the predictions on.
                for path in (project.folder / "results/test/tables").glob("*.csv"):
                    path.unlink()
                continue
            if whom == "job":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(jobs), signal.SIGKILL)
                # Its Snakemake goes on with what does not need it, and says that it failed; what is
                # left of it dies by the next kill.
                time.sleep(0.2)
            elif whom == "snakemake":
                os.kill(snakemake.pid, signal.SIGKILL)
                snakemake.wait()
                # Its jobs end with it, or they would write into the next start's files.
                wait_for(lambda jobs=jobs: not any(map(is_alive, jobs)), "the jobs' end", 10)
            killed[whom] += 1
        finally:
            end(snakemake)
    assert min(killed.values()) >= KILLS // 3
    project.run(*COMMAND, "--config", "study=test")
    assert_same_tables(*(p.folder / "results/test/tables" for p in (finished, project)))
    left = [path for path in project.folder.glob("results/**/*") if ".partial-" in path.name]
    assert left == []
    assert not (project.folder / "results/test/unfinished").exists()
    # A run may also be killed between its last job and writing down how all was made.
    record = project.folder / "results/test/provenance.json"
    written = record.read_bytes()
    record.unlink()
    assert "Nothing to be done" in project.snakemake("--config", "study=test")
    assert record.read_bytes() == written


@pytest.mark.slow
def test_two_starts_of_a_study_are_never_both_at_work(project: Project):
    first = start(project, "train_all")
    try:
        # Before it has its locks, Snakemake may have other children than jobs.
        wait_for(lambda: locks_in(project) and jobs_of(first), "the first one's jobs")
        os.killpg(first.pid, signal.SIGSTOP)  # a fast machine would finish it meanwhile
        second = project.run(*COMMAND, "train_all", "--config", "study=test", check=False)
        assert second.returncode == 1
        assert "Directory cannot be locked" in second.stdout
        # Another study's end in this folder takes Snakemake's lock away, and not the study's own.
        for lock in locks_in(project):
            lock.unlink()
        third = project.run(*COMMAND, "train_all", "--config", "study=test", check=False)
        assert third.returncode == 1
        assert "results/test: another Snakemake is at work on this study" in third.stdout
        # Looking is allowed, and does not take the lock away.
        project.snakemake("-n", "--config", "study=test")
        os.killpg(first.pid, signal.SIGCONT)
        assert first.wait(120) == 0, said(project)
    finally:
        end(first)
    project.run(*COMMAND, "train_all", "--config", "study=test")


@pytest.mark.slow
def test_a_killed_study_starts_again_while_another_one_runs_in_the_folder(project: Project):
    killed = start(project, "train_all")
    other = None
    try:
        wait_for(lambda: locks_in(project) and jobs_of(killed), "the first one's jobs")
        os.killpg(killed.pid, signal.SIGSTOP)  # or it might end before the other one works
        other = start(project, "train_all", overrides=["seeds=2"])
        wait_for(lambda: len(locks_in(project)) > 2 and jobs_of(other), "the other study's jobs")
        end(killed)
        assert len(locks_in(project)) == 4
        # Stopped where it is, the other study is at work as long as this takes.
        os.kill(other.pid, signal.SIGSTOP)
        project.run(*COMMAND, "train_all", "--config", "study=test")
        os.kill(other.pid, signal.SIGCONT)
        assert other.wait(120) == 0, said(project)
    finally:
        for process in filter(None, (killed, other)):
            end(process)
    assert "Nothing to be done" in project.snakemake("train_all", "--config", "study=test")


@pytest.mark.slow
def test_of_two_starts_at_once_one_works(project: Project):
    """Snakemake looks for locks, plans and only then writes its own, so both may pass it."""
    command = ("snakemake", "--cores", "1", "prepare_all", "--config", "study=test")
    for _ in range(3):
        both = [
            project.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        said = [process.communicate(timeout=120)[0] for process in both]
        ends = [process.returncode for process in both]
        assert 0 in ends, said
        for returned, words in zip(ends, said, strict=True):
            if returned:  # else it came when the first had ended
                # The last is Snakemake's own: it reads locks while the first one's end removes
                # them.
                refusals = ("cannot be locked", "another Snakemake is at work", ".snakemake/locks")
                assert any(refusal in words for refusal in refusals), words
        (project.folder / "results/test/data/digits.safetensors").unlink()
