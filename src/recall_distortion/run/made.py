"""Which of a plan's jobs are done: their outputs are there and were made by these jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from recall_distortion.run.jobs import Job, Plan
from recall_distortion.system.errors import PlanError
from recall_distortion.system.files import write_json

NAME = "made.json"


class Made:
    """What was made in a study's folder of results, by output: the word of the job that made it.

    An output that is not written down was brought here, by the workflow or by a copy, and is taken
    as it is unless something that it is made from is to be made. One of another word, which a plan
    of another study or version left, is made again.
    """

    def __init__(self, plan: Plan) -> None:
        self._path = Path(plan.results, NAME)
        try:
            self._words: dict[str, str] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._words = {}
        except (OSError, ValueError) as error:
            raise PlanError(
                f"{self._path}: cannot be read ({error}); delete it together with what of "
                f"{plan.results} is not to be taken as it is"
            ) from None

    def left(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs that are still to be done, in their order."""
        found: list[Job] = []
        to_come: set[str] = set()
        for job in jobs:
            outputs = job.outputs.values()
            words = {self._words.get(path) for path in outputs}
            brought = words == {None} and to_come.isdisjoint(job.input_paths())
            there = all(Path(path).exists() for path in outputs)
            if not there or (words != {job.word} and not brought):
                found.append(job)
                to_come |= set(outputs)
        return found

    def add(self, job: Job) -> None:
        """Write down that a job was done."""
        self._words |= dict.fromkeys(job.outputs.values(), job.word)
        write_json(self._path, self._words)
