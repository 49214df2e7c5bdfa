"""How the items of ``summary`` are named where writer and reader must agree."""

from __future__ import annotations

import pandas as pd

from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    COMPRESSED,
    DEINTENSIFICATION,
    INTENSIFICATION,
    NOT_DISTINGUISHABLE,
    RESEED,
)

# What a cell shows against the control, by the item that counts it: verdict and reading; a verdict
# that is empty stands for any.
EFFECTS = {
    "intensifies": (INTENSIFICATION, BEYOND_CONTROL),
    "de_intensifies": (DEINTENSIFICATION, BEYOND_CONTROL),
    "as_control": ("", AS_CONTROL),
    "not_distinguishable": ("", NOT_DISTINGUISHABLE),
}
NONE = "none"  # counts cells without a verdict, or without an effect
APART = "never_dense"  # counts cells of networks that were never dense
OTHERS = "(others)"  # all references of a method but the first, together
MADE_BY = ["device", "engine", "torch"]


def effect(verdict: str, reading: str) -> str:
    """Return the item that counts cells of a verdict against 0 and a reading."""
    found = (item for item, pair in EFFECTS.items() if pair in ((verdict, reading), ("", reading)))
    return next(found, NONE)


def kind_of_model(model: str) -> str:
    """Return a mixed model's kind, without the networks that it was fitted to."""
    return model.partition("/")[0]


def made(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the networks that were trained or retrained, pairs and failures apart."""
    failed = networks["failure"].fillna("") != ""
    counted = (networks["method"] != RESEED) & (networks["state"] != COMPRESSED)
    return networks[counted & ~failed].fillna(dict.fromkeys(MADE_BY, ""))
