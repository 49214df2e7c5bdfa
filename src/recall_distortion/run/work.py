"""Doing the jobs of a plan, one after another in this process, until they or the time are over."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.compression.quantization.blocks import Paths as QuantizingPaths
from recall_distortion.compression.quantization.blocks import quantize_block
from recall_distortion.compression.quantization.plan import QuantizationPlan
from recall_distortion.evaluation.curvature_blocks import CurvaturePlan, measure_curvature
from recall_distortion.evaluation.dead_units_blocks import count_dead_units
from recall_distortion.evaluation.mask_overlap import measure_mask_overlap
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.run.jobs import Job, Plan
from recall_distortion.run.made import Made
from recall_distortion.system import gpu, processor
from recall_distortion.system.errors import PlanError, RecallDistortionError, SetupError
from recall_distortion.system.files import sha256
from recall_distortion.training import TrainingPlan, read, train_block
from recall_distortion.vocabulary import Panel

#: Exit statuses: everything is made; a job failed; the time was over before the work; Ctrl-C.
DONE, FAILED, OUT_OF_TIME, STOPPED = 0, 1, 3, 128 + signal.SIGINT


class _OutOfTime(BaseException):
    """The seconds that were given are over."""


def work(plan: Plan, *, gpus: int, data_root: str, seconds: float | None = None) -> int:
    """Do what a plan's jobs have not made yet, and return an exit status.

    A job whose outputs are there is not done again, one that was broken off goes on from the last
    epoch that was kept. What fails is said, and the jobs that do not need it are done all the same.
    After ``seconds`` the work is broken off wherever it is.
    """
    made = Made(plan)
    todo = made.left(plan.jobs)
    _say(f"{plan.study}: {len(todo)} of {len(plan.jobs)} jobs are to be done")
    failed: list[Job] = []
    try:
        with _within(seconds), gpu.taken(gpus) as device:
            processor.prepare(1, device, deterministic=plan.deterministic)
            for number, job in enumerate(todo, start=1):
                if _waits_for(job, failed):
                    failed.append(job)
                    continue
                _say(f"{number} of {len(todo)}: {job}")
                began = time.monotonic()
                made.begin(job)
                try:
                    _do(job, device, data_root)
                except RecallDistortionError as error:
                    print(f"error: {job}: {error}", file=sys.stderr, flush=True)
                    made.give_up(job)
                    failed.append(job)
                    continue
                made.add(job)
                _say(f"done in {time.monotonic() - began:.1f} s")
    except _OutOfTime:
        left = len(made.left(plan.jobs))
        _say(f"the time is over; {left} jobs are left. The same command goes on from here")
        return OUT_OF_TIME
    except KeyboardInterrupt:
        _say("stopped by Ctrl-C. The same command goes on from here")
        return STOPPED
    if failed:
        _say(f"{len(failed)} jobs failed or need what failed; the same command tries them again")
        return FAILED
    _say(f"everything is made; the predictions lie in {plan.results}/predictions")
    return DONE


def _say(words: str) -> None:
    print(words, flush=True)


@contextlib.contextmanager
def _within(seconds: float | None) -> Iterator[None]:
    """Raise ``_OutOfTime`` in the block after so many seconds; files stay whole."""
    if seconds is None:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _waits_for(job: Job, failed: list[Job]) -> bool:
    """Return whether a job reads what a failed one did not make."""
    missing = {path for one in failed for path in one.outputs.values()}
    return not missing.isdisjoint(job.input_paths())


def _do(job: Job, device: str, data_root: str) -> None:
    """Do a job as the workflow's script of that name does."""
    values: dict[str, Any] = job.parameters
    if job.rule == "prepare":
        try:
            from recall_distortion.data.preparing import prepare

            prepare(output=Path(job.outputs["data"]), data_root=data_root, **values)
        except ModuleNotFoundError as error:
            raise SetupError(
                f"preparing data needs {error.name}, which is not installed here: "
                "prepare the data where the plan was written (`snakemake --cores all prepare_all`) "
                f"and bring {job.outputs['data']}"
            ) from None
        return
    panel = Panel(*job.panel)
    if job.rule == "train":
        _check_brought(values.get("checksums", {}))
        train_block(
            job.inputs["data"],
            job.outputs["weights"],
            job.outputs["history"],
            read(TrainingPlan, values["training"], "training"),
            architecture=panel.architecture,
            seeds=values["seeds"],
            unfinished=values["unfinished"],
            device=device,
        )
    elif job.rule == "compress":
        compress_block(
            Paths(**job.inputs, **job.outputs),
            read(CompressionPlan, values["compression"], "compression"),
            panel=panel,
            ratios=values["ratios"],
            unfinished=values["unfinished"],
            device=device,
        )
    elif job.rule == "quantize":
        quantize_block(
            QuantizingPaths(**job.inputs, **job.outputs),
            read(QuantizationPlan, values["quantization"], "quantization"),
            panel=panel,
            cells=values["cells"],
            device=device,
        )
    else:
        _look(job, panel, device)


def _check_brought(checksums: Mapping[str, str]) -> None:
    """Raise ``PlanError`` for a file of weights that is not the one of which the plan was made."""
    for path, checksum in checksums.items():
        if not Path(path).is_file():
            raise PlanError(f"{path}: the plan reads weights from it; bring it to this place")
        if sha256(path) != checksum:
            raise PlanError(
                f"{path}: holds other weights than when the plan was written; bring those, or "
                "write the plan again"
            )


def _look(job: Job, panel: Panel, device: str) -> None:
    """Do a job that leaves networks as they are."""
    if job.rule == "curvature":
        measure_curvature(
            job.inputs["data"],
            job.inputs["dense"],
            job.inputs["compressed"],
            job.outputs["curvature"],
            read(CurvaturePlan, job.parameters["curvature"], "curvature"),
            panel=panel,
            unfinished=job.parameters["unfinished"],
            device=device,
        )
    elif job.rule == "dead_units":
        count_dead_units(
            job.inputs["data"],
            job.inputs["dense"],
            job.inputs["compressed"],
            job.outputs["dead_units"],
            selection=job.parameters["selection"],
            panel=panel,
            device=device,
        )
    elif job.rule == "mask_overlap":
        measure_mask_overlap(
            job.inputs["compressed"],
            job.outputs["mask_overlap"],
            pairs=job.parameters["pairs"],
            panel=panel,
        )
    else:
        evaluate_block(
            job.inputs["data"],
            job.inputs["dense"],
            job.inputs["compressed"],
            job.outputs["predictions"],
            panel=panel,
            quantized_paths=job.inputs.get("quantized", []),
            device=device,
        )
