"""The listings of images and classes that compressed networks forget."""

from __future__ import annotations

from recall_distortion.report.curvature import OF_WEIGHTS
from recall_distortion.report.instability import INSTABILITY
from recall_distortion.report.learning import LEARNING
from recall_distortion.report.listings import CELL, LISTINGS, PLACE, Listing, shown
from recall_distortion.report.overlaps import OVERLAPS

FAIRNESS_KEYS = shown(*PLACE, "worse_by|measures that say worse|whole")


def _measure_of_class(name: str, heading: str) -> tuple[str, ...]:
    return (
        f"{name}_mean|{heading}|three", f"{name}_change|change|three",
        f"{name}_over_control|over control|three",
    )  # fmt: skip


FORGOTTEN: dict[str, Listing] = {
    "populations": Listing(
        "Images that populations name otherwise",
        "Modal labels of all networks of a cell against those of the dense networks of the same "
        "seeds; of reseed, of dense networks in odd against even places. The p value is of method "
        "and control exchanged within seeds. At fewer networks stand medians of random choices of "
        "the same seeds and of other ones, with the range of nine in ten: the count falls with "
        "the number of networks, so that only counts at one number compare. The vote distance is "
        "the mean share of networks that would have to change their label. Accuracies are of "
        "single networks; null PIEs are the control’s, before retraining and of the control "
        "those of the dense halves.",
        shown(
            *CELL, "n||whole", "pies|PIEs|whole", "share||percent", "control|control’s|whole",
            "over_control|over control|whole", "p||p", "p_adjusted|adjusted p|p",
            "reading|against the control", "highest|by highest class|whole", "least||whole",
            "largest||whole", "tied|tied images|whole", "fewer|at networks|whole",
            "paired_median|same seeds|whole", "paired_low|low|whole", "paired_high|high|whole",
            "disjoint_median|other seeds|whole", "disjoint_low|low|whole",
            "disjoint_high|high|whole", "distance|vote distance|four",
            "distance_over_control|distance over control|four", "distance_p|its p|p",
            "dense_on_pies|dense right on PIEs|percent", "dense_on_others|on others|percent",
            "dense_on_null|on null PIEs|percent", "own_on_pies|compressed right on PIEs|percent",
            "own_on_others|on others|percent", "own_on_null|on null PIEs|percent",
            "dense_mode_right|PIEs where the dense mode is right|percent",
            "own_mode_right|compressed mode|percent", "note",
        ),
    ),
    "class_counts": Listing(
        "Classes that moved, by test",
        "Classes whose recall less accuracy differs with p of at most 0.05, and how many of them "
        "Holm’s adjustment over a cell’s classes leaves. Welch’s test as published takes off the "
        "population’s mean accuracy; the others each network’s own.",
        shown(
            *CELL, "expected|expected by chance|two", "control_moved|paired with control|whole",
            "control_adjusted|adjusted|whole", "paired_moved|paired with dense|whole",
            "paired_adjusted|adjusted|whole", "published_moved|Welch, as published|whole",
            "published_adjusted|adjusted|whole", "own_moved|Welch, own accuracy|whole",
            "own_adjusted|adjusted|whole",
        ),
    ),
    "class_tests": Listing(
        "Each class by each test",
        "Changes of recall less accuracy in percentage points; adjusted p values are Holm’s over "
        "the classes of a cell. The verdict is that of the pairs with the control.",
        shown(
            *CELL, "class", "class_name", "control_change|over control, points|points",
            "control_p|p|p", "control_p_adjusted|adjusted p|p", "control_verdict|verdict",
            "paired_change|from dense, points|points", "paired_p|paired p|p",
            "paired_p_adjusted|adjusted p|p", "published_p|Welch p, as published|p",
            "published_p_adjusted|adjusted p|p", "own_p|Welch p, own accuracy|p",
            "own_p_adjusted|adjusted p|p",
        ),
    ),
    "class_measures": Listing(
        "How each class is named and calibrated",
        "Share named as the class over its true share, and the calibration error of what is named.",
        shown(
            *CELL, "class", "class_name", *_measure_of_class("named_share", "named over true"),
            *_measure_of_class("calibration_error", "calibration error"),
        ),
    ),
    "frequency": Listing(
        "Rare classes and difficult ones",
        "Slopes over classes of each network’s change in recall, on the logarithm of a class’s "
        "training images (points per tenfold), and on its recall in dense networks of other seeds "
        "(points per point); “beside” are those of the regression on both. Means over networks.",
        shown(
            *CELL, "n||whole", "images|per tenfold images, points|points", "images_low|low|points",
            "images_high|high|points", "images_over_control|over control|points", "images_p|p|p",
            "images_p_adjusted|adjusted p|p", "images_beside|beside dense recall|points",
            "images_beside_over_control|over control|points", "images_beside_p|p|p",
            "images_beside_p_adjusted|adjusted p|p", "dense_recall|per dense recall|three",
            "dense_recall_over_control|over control|three", "dense_recall_p|p|p",
            "dense_recall_beside|beside images|three",
            "dense_recall_beside_over_control|over control|three", "dense_recall_beside_p|p|p",
            "control_n|n with control|whole", "note",
        ),
    ),
    "fairness": Listing(
        "Which measures agree on which cells are worse",
        "Worse or better than the control: the paired t-test of a measure’s difference, p adjusted "
        "over a method’s ratios at most 0.05. The numbers are in the table of further measures.",
        [],
    ),
}  # fmt: skip
#: Every listing of the page.
EVERY = {**LISTINGS, **OF_WEIGHTS, **LEARNING, **INSTABILITY, **OVERLAPS, **FORGOTTEN}
