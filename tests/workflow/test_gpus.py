"""How many jobs the workflow lets have a GPU at once, by the devices that it can use."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from recall_distortion.system.environment import FURTHER
from tests.workflow.conftest import Project

PRETENDED = Path(__file__).resolve().parents[1] / "pretended"  # a torch that finds GPUs


@pytest.fixture
def shown(project: Project) -> Callable[[object], Project]:
    """Return what gives a project three devices, on which torch computes as is said."""

    def show(gpus: object) -> Project:
        environment = {
            "CUDA_VISIBLE_DEVICES": "0,1,2",
            "GPUS": json.dumps(gpus),
            "PYTHONPATH": os.pathsep.join([str(PRETENDED), str(project.folder / "src")]),
            FURTHER: str(PRETENDED),
        }
        return dataclasses.replace(project, environment=environment)

    return show


def provided(printed: str) -> list[str]:
    """Return what Snakemake lists of GPUs among the resources that jobs share."""
    line = next(line for line in printed.splitlines() if line.startswith("Provided resources:"))
    return re.findall(r'gpu=Resource\("gpu", \d+\)', line)


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        (["--config", "study=test"], "3"),
        (["--config", "study=test", "jobs_per_gpu=2"], "6"),
        (["--config", "study=test", "gpus=2"], "2"),
        (["--resources", "gpu=1", "--config", "study=test"], "1"),
        (["--config", "study=test", "gpus=0"], None),
    ],
)
def test_the_total_of_gpus_is_counted_unless_it_is_given(
    shown: Callable[[object], Project], arguments: list[str], total: str | None
) -> None:
    printed = shown([None, None, None]).snakemake("prepare_all", *arguments)
    expected = [f'gpu=Resource("gpu", {total})'] if total else []
    assert provided(printed) == expected


def test_gpus_that_torch_cannot_use_are_not_counted_and_said_once(
    shown: Callable[[object], Project],
) -> None:
    project = shown([None, "no kernel image is available", None])
    printed = project.snakemake("prepare_all", "--config", "study=test")
    assert provided(printed) == ['gpu=Resource("gpu", 2)']
    assert printed.count("GPU 1 cannot be used: torch 2.15.0+cu132 says: no kernel image") == 1


def test_where_no_gpu_can_be_used_the_study_runs_on_the_cpu_and_the_output_says_why(
    shown: Callable[[object], Project],
) -> None:
    project = shown("The NVIDIA driver on your system is too old (found version 12020)")
    printed = project.snakemake("prepare_all", "--config", "study=test")
    assert provided(printed) == []
    assert "GPU 0, 1, 2 cannot be used" in printed
    assert "too old (found version 12020)" in printed
