"""Whether what events take is back before the end; without torch."""

from __future__ import annotations

from recall_distortion.system.errors import NetworkError


def check_steps(where: str, start: int, every: int, end: int, steps: int, batches: int) -> None:
    """Raise ``NetworkError`` where so many steps would not be over after ``end`` epochs.

    Events come after ``start`` epochs and then ``every`` so many; an epoch has ``batches`` steps.
    What lies between two events is longer than what follows the last, so it is over by the next.
    """
    last = range(start, end + 1, every)[-1]
    most = (end - last) * batches
    if steps > most:
        raise NetworkError(
            f"{where}: a removal takes {steps} steps, and from the last event, after {last} "
            f"epochs, to the end after {end} there are {most}, {batches} an epoch; choose fewer "
            "steps, or a later end"
        )
