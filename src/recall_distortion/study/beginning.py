"""Methods that score weights before the training is over, and what may follow them."""

from __future__ import annotations

from typing import Any

from recall_distortion.compression.controls import EARLY, INITIALIZATION, ONE_SHOT, TRAINED

_REWIND = "rewind"
#: What may follow, by which weights are scored.
RETRAININGS_OF = {
    EARLY: (_REWIND, "shuffled"),
    INITIALIZATION: (_REWIND, "reinit", "shuffled"),
}


def completed(values: Any) -> Any:
    """Return a method's values with the retraining that follows where they say none."""
    if isinstance(values, dict) and values.get("at") in RETRAININGS_OF:
        return {"retraining": _REWIND, **values}
    return values


def check(at: str, schedule: str, retraining: str, rewind_epochs: int) -> None:
    """Check that what is scored and what follows fit together.

    Raises ``ValueError`` with a message that names the key and what would be valid.
    """
    if at == TRAINED:
        return
    if schedule != ONE_SHOT:
        raise ValueError(
            f"at: {at} prunes once, before the training goes on, and schedule {schedule} prunes "
            "what is trained; remove one of them"
        )
    if retraining not in (known := RETRAININGS_OF[at]):
        raise ValueError(
            f"retraining: after at: {at} it is one of {', '.join(known)}, not {retraining}"
        )
    if at == INITIALIZATION and rewind_epochs:
        raise ValueError(
            "rewind_epochs: at: initialization scores the initial weights and trains from there; "
            f"remove it, or use at: {EARLY} to score those of epoch {rewind_epochs}"
        )
    if at == EARLY and not rewind_epochs:
        raise ValueError(
            f"rewind_epochs: at: {EARLY} scores the weights of this epoch of the training, from 1 "
            f"on; say which, or use at: {INITIALIZATION}"
        )
