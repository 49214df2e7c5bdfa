"""Which control belongs to which way of pruning and retraining; without torch."""

from __future__ import annotations

from recall_distortion.vocabulary import (
    CONTROL,
    CONTROL_EVENTS,
    CONTROL_GRADUAL,
    CONTROL_ITERATIVE,
    CONTROL_ITERATIVE_RATE,
    CONTROL_REINIT,
    CONTROL_REWIND,
    CONTROL_REWIND_RATE,
    CONTROL_TRANSFER,
)

#: The retraining that follows where nothing else is said, and the schedules by their names.
FINETUNE = "finetune"
ONE_SHOT, ITERATIVE, GRADUAL, EVENTS = "one_shot", "iterative", "gradual", "events"
#: Schedules that prune while networks are trained; nothing follows.
WHILE_TRAINED = (GRADUAL, EVENTS)
#: Which weights are scored, by the words of a study.
TRAINED, EARLY, INITIALIZATION = "trained", "early", "initialization"

#: What follows where masks are another data set's tickets: as rewinding and as shuffled masks, from
#: the weights that those were rewound to.
TRANSFER, TRANSFER_SHUFFLED = "transfer", "transfer_shuffled"

#: The control by schedule and retraining. A mask that is shuffled is read against rewinding, and so
#: is a chain that rewinds, of which every round begins at the same weights.
CONTROL_OF = {
    (ONE_SHOT, FINETUNE): CONTROL,
    (ONE_SHOT, "rewind"): CONTROL_REWIND,
    (ONE_SHOT, "rewind_rate"): CONTROL_REWIND_RATE,
    (ONE_SHOT, "reinit"): CONTROL_REINIT,
    (ONE_SHOT, "shuffled"): CONTROL_REWIND,
    (ONE_SHOT, TRANSFER): CONTROL_TRANSFER,
    (ONE_SHOT, TRANSFER_SHUFFLED): CONTROL_TRANSFER,
    (ITERATIVE, FINETUNE): CONTROL_ITERATIVE,
    (ITERATIVE, "rewind"): CONTROL_REWIND,
    (ITERATIVE, "rewind_rate"): CONTROL_ITERATIVE_RATE,
    (GRADUAL, FINETUNE): CONTROL_GRADUAL,
    (EVENTS, FINETUNE): CONTROL_EVENTS,
}
#: Schedule and retraining of each control.
WAY_OF: dict[str, tuple[str, str]] = {}
for _way, _arm in CONTROL_OF.items():
    WAY_OF.setdefault(_arm, _way)


def control_of(schedule: str, retraining: str) -> str:
    """Return the control of a way; a schedule that is not known has those of a single round."""
    return CONTROL_OF.get((schedule, retraining)) or CONTROL_OF[ONE_SHOT, retraining]
