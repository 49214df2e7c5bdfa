"""How many jobs the workflow lets have a GPU at once, by the devices that it is shown."""

from __future__ import annotations

import dataclasses

import pytest

from tests.workflow.conftest import Project


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
    project: Project, arguments: list[str], total: str | None
) -> None:
    shown = dataclasses.replace(project, environment={"CUDA_VISIBLE_DEVICES": "0,1,2"})
    printed = shown.snakemake("prepare_all", *arguments)
    found = [line for line in printed.splitlines() if line.startswith("Provided resources:")]
    assert found == ([f'Provided resources: gpu=Resource("gpu", {total})'] if total else [])
