"""The words that tables, studies, code and pages share, each written once.

Identifiers only, and how a ratio is written: what the words mean to a reader stands where no
training job imports it (``tables.schema``, ``report``), so that a better sentence retrains nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Panel(NamedTuple):
    """Networks that can be compared: of one data set, architecture and recipe."""

    dataset: str
    architecture: str
    recipe: str

    def __str__(self) -> str:
        return f"{self.architecture} on {self.dataset} ({self.recipe})"


class CellState(NamedTuple):
    """A cell, one method at one ratio of a panel, with the state of its networks."""

    dataset: str
    architecture: str
    recipe: str
    method: str
    ratio: float
    state: str

    @property
    def panel(self) -> Panel:
        """The panel that the cell is of."""
        return Panel(self.dataset, self.architecture, self.recipe)


# Keys of tables.
PANEL = list(Panel._fields)
CELL_STATE = list(CellState._fields)
CELL = CELL_STATE[:-1]
NETWORK = [*CELL_STATE, "seed"]

# Reference arms: what stands in the column "method" and is no way of compressing.
DENSE = "dense"  # trained, nothing removed
CONTROL = "control"  # the same retraining with nothing removed
CONTROL_GRADUAL = "control_gradual"  # the same training from other weights with nothing removed
CONTROL_EVENTS = "control_events"  # the dense network's own training, its best epoch a late one
CONTROL_REWIND = "control_rewind"  # the same after rewinding weights
CONTROL_REWIND_RATE = "control_rewind_rate"  # the same after rewinding the learning rate
CONTROL_REINIT = "control_reinit"  # the same from fresh weights
CONTROL_TRANSFER = "control_transfer"  # the same from another data set's early weights
CONTROL_ITERATIVE = "control_iterative"  # as many rounds of fine-tuning, nothing removed in any
CONTROL_ITERATIVE_RATE = "control_iterative_rate"  # as many rounds of rewinding the learning rate
RESEED = "reseed"  # between two dense networks of different seeds
# Controls of rounds: each carries the ratio of the round whose training it matches.
OF_ROUNDS = (CONTROL_ITERATIVE, CONTROL_ITERATIVE_RATE)
CONTROLS = (
    CONTROL,
    CONTROL_GRADUAL,
    CONTROL_EVENTS,
    CONTROL_REWIND,
    CONTROL_REWIND_RATE,
    CONTROL_REINIT,
    CONTROL_TRANSFER,
    *OF_ROUNDS,
)
# Controls of what is no trained network that was then pruned: such networks were never dense, and
# their slopes hold them against networks that went another way from the start, or from an event on.
NEVER_DENSE = (CONTROL_GRADUAL, CONTROL_EVENTS, CONTROL_REWIND, CONTROL_REINIT, CONTROL_TRANSFER)
REFERENCE_ARMS = (DENSE, *CONTROLS, RESEED)

# The compression ratio of networks that nothing was taken from, as a number and as it is written.
UNCOMPRESSED = 1.0
UNCOMPRESSED_TEXT = "1"

# States of a network. The first is also the name of its arm.
COMPRESSED = "compressed"  # pruned, before any retraining
RETRAINED = "retrained"  # after fine-tuning
STATES = (DENSE, COMPRESSED, RETRAINED)

# Verdicts of an interval of a slope against 1, or of a difference of slopes against 0.
INTENSIFICATION = "intensification"
DEINTENSIFICATION = "de-intensification"
INCONCLUSIVE = "inconclusive"
VERDICTS = (INTENSIFICATION, DEINTENSIFICATION, INCONCLUSIVE)
CONCLUSIVE = (INTENSIFICATION, DEINTENSIFICATION)

# Readings of a cell beside the control.
BEYOND_CONTROL = "beyond the control"
AS_CONTROL = "as the control"
NOT_DISTINGUISHABLE = "not distinguishable"
READINGS = (BEYOND_CONTROL, AS_CONTROL, NOT_DISTINGUISHABLE)

# What an estimate is held against, besides an arm or a method.
ONE = "one"
ZERO = "zero"
ALL_CLASSES = "all"
# What no compression method may be called: tables have these words in the same places.
RESERVED = (*REFERENCE_ARMS, ONE, ZERO, ALL_CLASSES)

# What a mixed model is fitted by, and what its table may say is to be believed.
PYMER4 = "pymer4"
STATSMODELS = "statsmodels"
BOOTSTRAP = "bootstrap"
FITTERS = (PYMER4, STATSMODELS, BOOTSTRAP)
MODEL = "model"


def format_ratio(ratio: float) -> str:
    """Return a ratio as files, tables and pages have it: 2, 2.5, 1000000; empty for NaN.

    The text reads back as the same number.
    """
    if math.isnan(ratio):
        return ""
    return str(int(ratio)) if float(ratio).is_integer() else repr(float(ratio))


#: What stands for the engine of dense networks that were brought, not trained here.
ONE_BROUGHT = "brought: one network for all seeds"
EACH_BROUGHT = "brought: a network for each seed"
