"""A plan: the jobs of a study that compute networks, as a file that another machine can read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recall_distortion import __version__
from recall_distortion.system.errors import PlanError

FORMAT = 1
RULES = (
    "prepare", "train", "compress", "quantize", "evaluate", "curvature", "dead_units",
    "mask_overlap",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One step: by which ``rule``, from which files, to which files, with what besides.

    Paths are relative to the folder in which the study is run. ``panel`` is empty for a job that
    prepares data. ``word`` stands for all that decides the job's outputs, the jobs before it among
    it, so that another study's outputs at the same paths are not taken for this one's.
    """

    rule: str
    inputs: dict[str, Any]
    outputs: dict[str, str]
    parameters: dict[str, Any]
    panel: list[str] = field(default_factory=list)
    word: str = ""

    def __str__(self) -> str:
        path = next(iter(self.outputs.values()))
        return f"{self.rule} {path.removesuffix('.safetensors')}"

    @property
    def unfinished(self) -> str:
        """The folder of the job's half-trained networks; empty where it trains none."""
        return str(self.parameters.get("unfinished", ""))

    def input_paths(self) -> list[str]:
        """Return every file that the job reads."""
        found: list[str] = []
        for value in self.inputs.values():
            found += [value] if isinstance(value, str) else value
        return found


@dataclass(frozen=True)
class Plan:
    """A study's jobs in an order in which each finds its inputs made.

    ``checksums`` are those of prepared data that were there when the plan was made.
    """

    study: str
    results: str
    deterministic: bool
    jobs: tuple[Job, ...]
    checksums: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the plan as JSON."""
        return json.dumps({"format": FORMAT, "version": __version__, **asdict(self)}, indent=1)


def with_words(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs with their words, which follow from those of the jobs that make their inputs."""
    made: dict[str, str] = {}
    found = []
    for job in jobs:
        facts = asdict(job) | {"word": [made.get(path, "") for path in job.input_paths()]}
        word = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        made |= dict.fromkeys(job.outputs.values(), word)
        found.append(Job(**(asdict(job) | {"word": word})))
    return found


def read_plan(path: str | Path) -> Plan:
    """Return the plan that a file holds.

    Raises ``PlanError`` where there is none, or one that another version of this package wrote.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such file") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        values = None
    if not isinstance(values, dict) or "jobs" not in values:
        raise PlanError(f"{path}: is no plan; write one with `recall-distortion plan STUDY`")
    written = values.get("version"), values.get("format")
    if written != (__version__, FORMAT):
        raise PlanError(
            f"{path}: was written by version {written[0]} of this package, and here is "
            f"{__version__}: write it again, or bring the same version"
        )
    try:
        jobs = tuple(Job(**job) for job in values["jobs"])
        plan = Plan(
            values["study"], values["results"], values["deterministic"], jobs, values["checksums"]
        )
        if not jobs or not all(job.rule in RULES and job.outputs for job in jobs):
            raise ValueError("a job is none of this package's, or there is none")
        places = [name for job in jobs for name in (*job.outputs.values(), job.unfinished) if name]
        outside = [name for name in places if not _is_within(name, plan.results)]
        if not _is_within(plan.results, "results"):
            outside = [plan.results]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{path}: is damaged ({error}); write it again") from None
    if outside:
        raise PlanError(f"{path}: names {outside[0]!r}, which is no place of its study's results")
    return plan


def _is_within(name: str, folder: str) -> bool:
    """Return whether a path lies below a folder, without a way out."""
    path = Path(name)
    return path.is_relative_to(folder) and path != Path(folder) and ".." not in path.parts
