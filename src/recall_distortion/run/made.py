"""Which of a plan's jobs are done: their outputs are there and were made by these jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from recall_distortion.run.jobs import Job, Plan
from recall_distortion.system import sealed
from recall_distortion.system.errors import PlanError
from recall_distortion.system.files import sha256, write_json

NAME = "made.json"
_UNDER_WAY = "under way"


class Made:
    """What was made in a study's folder of results, by output: the word of the job that made it.

    An output that is not written down was brought here, by the workflow or by a copy, and is taken
    as it is unless something that it is made from is to be made, or the plan knows it otherwise.
    One that is damaged, or of another word, which a plan
    of another study or version left, is made again.
    """

    def __init__(self, plan: Plan) -> None:
        self._path = Path(plan.results, NAME)
        self._checksums = plan.checksums
        try:
            self._words: dict[str, str] = dict(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            self._words = {}
        except (OSError, ValueError, TypeError) as error:
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
            there = all(_is_whole(Path(path)) for path in outputs)
            planned = self._checksums.keys() & set(outputs)
            if planned:
                made = there and all(sha256(path) == self._checksums[path] for path in planned)
            else:
                brought = words == {None} and to_come.isdisjoint(job.input_paths())
                made = there and (words == {job.word} or brought)
            if not made:
                found.append(job)
                to_come |= set(outputs)
        return found

    def begin(self, job: Job) -> None:
        """Write down that a job's outputs are no one's until it is done."""
        self._words |= dict.fromkeys(job.outputs.values(), _UNDER_WAY)
        write_json(self._path, self._words)

    def give_up(self, job: Job) -> None:
        """Write down that a job failed: what it left nothing of may be brought."""
        if not any(Path(path).exists() for path in job.outputs.values()):
            for path in job.outputs.values():
                self._words.pop(path, None)
            write_json(self._path, self._words)

    def add(self, job: Job) -> None:
        """Write down that a job was done."""
        self._words |= dict.fromkeys(job.outputs.values(), job.word)
        write_json(self._path, self._words)


def _is_whole(path: Path) -> bool:
    """Return whether a file is there and, where it carries a checksum, undamaged."""
    if not path.is_file():
        return False
    if path.suffix != ".safetensors":
        return True
    try:
        sealed.verify(path)
    except (OSError, ValueError):
        return False
    return True
