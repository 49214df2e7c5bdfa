"""The tables of pruning events, and the columns that networks.csv has of them."""

from __future__ import annotations

from recall_distortion.tables.columns import COUNT, NUMBER, RATIO, SHARE, TEXT, Column, Table
from recall_distortion.vocabulary import CELL

_PLACE = [
    Column("dataset", TEXT, "The data set, by its name in the study."),
    Column("architecture", TEXT, "The network's architecture."),
    Column("recipe", TEXT, "How it is trained and retrained, by the recipe's name."),
    Column("method", TEXT, "The method that removes."),
    Column("ratio", RATIO, "The ratio of the cell; its network went through all events listed."),
    Column("seed", COUNT, "The replicate."),
    Column("event", COUNT, "The removal by number, from 1 on."),
    Column("epoch", COUNT, "Epochs trained before it; of one shot and of rounds, of retraining."),
]
_KEY = [*CELL, "seed", "event"]

EVENTS = Table(
    "a pruning event, over all test images or those of a class",
    [*_KEY, "class"],
    [
        *_PLACE,
        Column("class", TEXT, "The class by number, or all."),
        Column("before", SHARE, "Accuracy, or the class's recall, just before the removal."),
        Column("after", SHARE, "The same just after it, no step of training in between."),
    ],
)
#: What a job writes of events whose networks no file holds.
JOB_EVENTS = Table(
    "a pruning event, half of the test images and class",
    [*_KEY, "half", "class"],
    [
        *_PLACE,
        Column("half", COUNT, "0 of images in even places of the test set, 1 in odd ones."),
        Column("class", COUNT, "The class by number, from 0 on."),
        Column("support", COUNT, "Images of it in that half."),
        Column("before", COUNT, "Those that are classified correctly just before the removal."),
        Column("after", COUNT, "Those just after it."),
    ],
)
#: Columns of networks.csv where networks were pruned.
STABILITY: tuple[Column, ...] = (
    Column(
        "instability",
        NUMBER,
        "Mean over its pruning events of (before - after) / before, in accuracy; 0 of a control.",
        later=True,
    ),
    *(
        Column(f"{name}_{half}", NUMBER, meaning.format(half), later=True)
        for name, meaning in (
            ("instability", "The same, by the test images in {} places."),
            ("accuracy", "Accuracy by the test images in {} places."),
            ("alpha", "alpha by the test images in {} places."),
        )
        for half in ("even", "odd")
    ),
)
