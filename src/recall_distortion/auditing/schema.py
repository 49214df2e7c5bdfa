"""The tables of an audit and its summary, declared once: each column, each key, and its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from recall_distortion.auditing.comparison import BY_CLASS, CHANGES
from recall_distortion.auditing.decision import DECISIONS, SAID
from recall_distortion.auditing.forgotten import OF_CONTROL, OF_HALVES
from recall_distortion.inference.questions.class_tests import GAINS, LOSES
from recall_distortion.tables.forgetting import FEWER, MORE
from recall_distortion.tables.gallery import DRAWN
from recall_distortion.vocabulary import DEINTENSIFICATION, INCONCLUSIVE, INTENSIFICATION

READINGS = (MORE, FEWER, INCONCLUSIVE)
SLOPES = (INTENSIFICATION, DEINTENSIFICATION, INCONCLUSIVE)


@dataclass(frozen=True)
class Field:
    """A column or a key: its name, its meaning, the words that it may hold if these are few.

    ``several`` marks what only an audit of several networks has.
    """

    name: str
    meaning: str
    words: tuple[str, ...] = ()
    several: bool = False


def _ends(of: str, name: str = "") -> list[Field]:
    """Return the ends of an interval at the audit's level."""
    start = f"{name}_" if name else ""
    return [
        Field(f"{start}low", f"The lower end of the interval of {of}."),
        Field(f"{start}high", "Its upper end."),
    ]


def _together(of: str, name: str = "") -> list[Field]:
    start = f"{name}_" if name else ""
    meaning = "The same at the level that all rows together need"
    return [
        Field(f"{start}simultaneous_low", f"{meaning} (Bonferroni)."),
        Field(f"{start}simultaneous_high", "Its upper end."),
    ]


def _seeds(of: str, name: str = "") -> list[Field]:
    start = f"{name}_" if name else ""
    return [
        Field(
            f"{start}seeds_low",
            f"The lower end for {of} over other seeds on these images alone.",
            several=True,
        ),
        Field(f"{start}seeds_high", "Its upper end.", several=True),
    ]


def _share(name: str, meaning: str) -> list[Field]:
    return [Field(name, meaning), *_ends(name, name)]


def _counted(name: str, meaning: str) -> list[Field]:
    mean = "; a mean over networks, where there are several."
    return [Field(name, meaning + mean), *_share(f"{name}_share", f"{name} / images.")]


_CANDIDATE = Field("candidate", "The candidate's name.")
_SHARES = [
    *_share("before", "The share of the images that the model before answers rightly."),
    *_share("after", "The same of the candidate."),
    Field("change", "after less before."),
]
_P = [
    Field("p", "The p value of no change (docs/audit.md)."),
    Field("p_exact", "McNemar's exact p value; empty for several networks."),
]  # fmt: skip
_COUNTS = [
    *_counted("lost", "Images that were right before and are wrong after"),
    *_counted("gained", "Images that were wrong before and are right after"),
    *_counted("flipped", "Images whose answer changed, right or wrong"),
]
_CONTROL = [
    Field("control",
          "The control's share of right answers; empty without one, as what follows of it."),
    Field("over_control", "after less control."),
]  # fmt: skip

MODELS = [
    _CANDIDATE,
    Field("networks", "How many networks there are of each model.", several=True),
    Field("images", "How many images there are."),
    *_SHARES,
    *_ends("change"),
    *_seeds("change"),
    *_P,
    Field("verdict", "What the interval of change says of accuracy.", CHANGES),
    *_COUNTS,
    *_CONTROL,
    *_ends("over_control", "over_control"),
    *_seeds("over_control", "over_control"),
    Field("over_control_verdict", "What the interval of over_control says.", CHANGES),
    Field("alpha", "The slope of normalized recall balances after on before; empty without ends."),
    *_ends("alpha", "alpha"),
    *_seeds("alpha", "alpha"),
    Field("alpha_verdict", "What its interval says against 1.",
          SLOPES),
    Field("alpha_control", "The control's alpha; empty where its interval has no ends."),
    Field("alpha_over_control", "alpha less alpha_control; empty where it has no ends."),
    *_ends("alpha_over_control", "alpha_over_control"),
    *_seeds("alpha_over_control", "alpha_over_control"),
    Field("alpha_over_control_verdict", "What that interval says against 0.", SLOPES),
    Field("largest_loss",
          "The largest loss of recall of any class, in part luck; below 0 if all gained."),
    Field("largest_loss_crossfit", "The loss of the class that loses most on half of the images, "
          "measured on the others."),
    Field("no_answer_before", "The share of images that the model before gives no answer to."),
    Field("no_answer_after", "The same of the candidate."),
]  # fmt: skip

GROUPS = [
    _CANDIDATE,
    Field("grouping", f"{BY_CLASS}, the images' true class, or the name of another grouping."),
    Field("name", "The class, or the group."),
    Field("images", "How many images it has."),
    *_SHARES,
    *_ends("change"),
    *_together("change"),
    *_seeds("change"),
    *_P,
    Field("p_adjusted", "p, adjusted over the rows of the grouping (Holm)."),
    Field("verdict", "What the interval of all together says of change.", CHANGES),
    Field("excess", "change less that of all images; below 0 where the class lost more."),
    *_ends("excess", "excess"),
    *_together("excess", "excess"),
    *_seeds("excess", "excess"),
    *_COUNTS,
    *_CONTROL,
    *_ends("over_control", "over_control"),
    *_together("over_control", "over_control"),
    *_seeds("over_control", "over_control"),
    Field("over_control_verdict", "What the interval of all together says of it.", CHANGES),
]

FLOWS = [
    _CANDIDATE,
    Field("class", "The true class of lost images."),
    Field("to", "The candidate's answer to them; empty where it gives none."),
    Field("images", "How many lost images of the class it answers so; of several networks a mean."),
    Field("share", "images / the class's lost images."),
]

FLIPS = [
    _CANDIDATE,
    Field("image", "The image's place, from 0 on, or its name where names were given."),
    Field("class", "Its true class."),
    Field("before", "The answer before, of several networks the most frequent; empty for none."),
    Field("after", "The candidate's."),
    Field("kind", "Right before and wrong after, the reverse, or wrong both times.",
          ("lost", "gained", "other")),
    Field("probability_before",
          "The true class's probability before, a mean over networks; empty if not given."),
    Field("probability_after", "The candidate's."),
    Field("networks", "How many networks changed their answer.", several=True),
    Field("lost_by", "How many of them lost the image.", several=True),
    Field("gained_by", "How many of them gained it.", several=True),
]  # fmt: skip

_BEFORE_AND_AFTER = [
    Field("before", "Its value before, a mean over networks where there are several; empty of what "
          "holds a model against the one before."),
    Field("after", "Its value of the candidate."),
]  # fmt: skip
_DIFFERENCES = [
    Field("change", "after less before."),
    *_ends("change, as of after", "change"),
    Field("control", "The control's value; empty without one, as what follows of it."),
    Field("over_control", "after less control."),
    *_ends("over_control, as of after", "over_control"),
]

MEASURES = [
    _CANDIDATE,
    Field("measure", "What is measured: a measure of a study (docs/tables.md), by its title."),
    *_BEFORE_AND_AFTER,
    Field("after_low", "The lower end of its interval: over other images; of several networks, "
          "over other networks on these images."),
    Field("after_high", "Its upper end."),
    *_DIFFERENCES,
    Field("reseed", "The same between two networks before: what another seed does by itself.",
          several=True),
    Field("note", "Why there is no value, or no interval."),
]  # fmt: skip

CLASS_MEASURES = [
    _CANDIDATE,
    Field("name", "The class."),
    Field("measure", "How often the class is answered over how often it is true, or calibration."),
    *_BEFORE_AND_AFTER,
    *(replace(field, several=field.name.endswith(("_low", "_high"))) for field in _DIFFERENCES),
]  # fmt: skip

_RANGE = [("low", "The 5th percentile of these counts; a range, no interval."),
          ("high", "The 95th.")]  # fmt: skip
_TEST_NAMES = {
    "published": "Welch's test of recall less the networks' mean accuracy, as published",
    "own": "Welch's test of recall less the network's own accuracy",
    "paired": "the paired test of that, network after less network before",
    "control": "the paired test of that, network after less the control's",
}


def _right_on(where: str, images: str) -> list[Field]:
    return [
        Field(f"before_on_{where}", f"The share of right answers to {images}, networks before."),
        Field(f"after_on_{where}", "The same, networks after."),
    ]


POPULATIONS = [
    _CANDIDATE,
    Field("networks", "How many networks there are of each model."),
    Field("pies",
          "Images of which the most frequent answer changed (PIEs); of a tie the first counts."),
    Field("share", "pies / images."),
    Field("least", "The least number of them that any way to break ties gives."),
    Field("largest", "The largest."),
    Field("highest", "Their number where of a tie the last class counts."),
    Field("tied", "Images of which labels are tied, before or after."),
    Field("before_mode_right", "The share of PIEs of which the modal label before is right."),
    Field("after_mode_right", "The share of which the one after is."),
    *_right_on("pies", "PIEs"),
    *_right_on("others", "all other images"),
    *_right_on("null", "the control's PIEs, or those of two halves"),
    Field("control", "The control's number of PIEs; empty without one, as what follows of it."),
    Field("over_control", "pies less control."),
    Field("p", "The p value of that, networks after and controls exchanged within pairs."),
    Field("reading", "What it says at 0.05, if anything.", READINGS),
    Field("distance", "The mean share of networks that would have to answer otherwise for the "
          "votes to be as before."),
    Field("control_distance", "The control's."),
    Field("distance_over_control", "distance less control_distance."),
    Field("distance_p", "The p value of that, as p."),
    Field("distance_reading", "What it says.", READINGS),
    Field("fewer", "Half as many networks; the number of PIEs falls with that of networks."),
    Field("at_fewer_median", "The median number of PIEs of so many, over 100 choices of pairs."),
    *(Field(f"at_fewer_{end}", meaning) for end, meaning in _RANGE),
    Field("unpaired_at_fewer_median",
          "The same of so many after and others before, unpaired as the halves are."),
    *(Field(f"unpaired_at_fewer_{end}", meaning) for end, meaning in _RANGE),
    Field("reseed_networks", "How many networks before each of two halves of them has."),
    Field("reseed_pies", "How many images these halves answer otherwise, without compression."),
    Field("reseed_at_fewer_median", "The median of that over 100 halvings."),
    *(Field(f"reseed_at_fewer_{end}", meaning) for end, meaning in _RANGE),
    Field("note", "What is missing, and why."),
    Field("expected", "How many classes chance alone finds moved, at a p of 0.05, where none is."),
    *(field for test, meaning in _TEST_NAMES.items() for field in (
        Field(f"{test}_moved", f"Classes with a p of at most 0.05 by {meaning}."),
        Field(f"{test}_adjusted", "Those left by Holm's adjustment over the classes."))),
    *(field for test in [*_TEST_NAMES][:3] for field in (
        Field(f"reseed_{test}_moved", "The same between networks before, where nothing moved."),
        Field(f"reseed_{test}_adjusted", "Those left by Holm's adjustment."))),
]  # fmt: skip

CLASS_TESTS = [
    _CANDIDATE,
    Field("name", "The class."),
    Field("images", "How many images it has."),
    Field("pies", "How many of them are PIEs."),
    Field("control_pies", "How many are the control's, or empty."),
    *(field for test, meaning in _TEST_NAMES.items() for field in (
        Field(f"{test}_change", f"The difference tested, by {meaning}."),
        Field(f"{test}_std_error", "Its standard error."),
        Field(f"{test}_df", "Its degrees of freedom."),
        Field(f"{test}_p", "Its two-sided p value."),
        Field(f"{test}_p_adjusted", "That, adjusted over the classes (Holm)."),
        Field(f"{test}_verdict", "What that says at 0.05.", (LOSES, GAINS, INCONCLUSIVE)))),
]  # fmt: skip

PIES = [
    _CANDIDATE,
    Field("image", "The image's place, from 0 on, or its name where names were given."),
    Field("class", "Its true class."),
    Field("before", "The modal label before; empty for no answer."),
    Field("after", "The one after."),
    Field("agreement_before", "The share of networks that answer so before."),
    Field("agreement_after", "The same after."),
    Field("distance", "The share of networks that would have to answer otherwise for the votes to "
          "be as before; the largest first."),
    Field("is_pie", "True, or False where only another way to break ties makes it a PIE."),
    Field("probability_before",
          "The mean probability that networks before give their answer; empty if not given."),
    Field("probability_after", "The same after."),
]  # fmt: skip

RARE_CLASSES = [
    _CANDIDATE,
    Field("slope", "What the classes' changes of recall, from 0 to 1, are regressed on."),
    Field("after", "Mean slope of the networks; above 0 where rare or weak classes lose more."),
    *_ends("after, over other networks on these images", "after"),
    Field("control", "The control's; empty without one, as what follows."),
    Field("over_control", "after less control."),
    *_ends("over_control, as of after", "over_control"),
    Field("p", "The p value of over_control by the paired t-test, two-sided."),
]  # fmt: skip

BESIDE_PIES = [
    Field("group", "Why it is here: PIEs of the control, without one of the halves; or at random.",
          (OF_CONTROL, OF_HALVES, DRAWN)),
    *PIES[1:],
]  # fmt: skip

#: The files by name: what a row is, and the columns in the order of the file.
TABLES = {
    "models": ("a candidate", MODELS),
    "groups": ("a candidate and class, or group of another grouping", GROUPS),
    "flows": ("a candidate, class, and what lost images of it are taken for", FLOWS),
    "flips": ("a candidate and image whose answer changed", FLIPS),
    "measures": ("a candidate and further measure, by which nothing is decided", MEASURES),
    "class_measures": ("a candidate, class and further measure of classes", CLASS_MEASURES),
    "populations": ("a candidate: what its networks answer together", POPULATIONS),
    "class_tests": ("a candidate and class: what its networks answer and lose", CLASS_TESTS),
    "pies": ("a candidate and image whose modal label changed, or may have", PIES),
    "beside_pies": ("an image to see beside these", BESIDE_PIES),
    "rare_classes": (
        "a candidate and slope over classes, where class counts are given",
        RARE_CLASSES,
    ),
}
#: Those of an audit of several networks alone, the last where it is asked for.
OF_SEVERAL = ("populations", "class_tests", "pies", "beside_pies", "rare_classes")

SUMMARY = [
    Field("schema", "The version of these keys."),
    Field("version", "That of recall-distortion."),
    Field("test_set",
          "`images`, `classes`; of `labels` a SHA-256, their names with a line break each."),
    Field("level", "The level of all intervals that no other is said of."),
    Field("warnings", "What a reader has to know first, a sentence each."),
    Field("limits", "The limits that were given, by the names of findings; null where none was.",
          tuple(SAID)),
    Field("decision", "What they decide of all candidates, the worst; null without limits.",
          DECISIONS),
    Field("findings", "What each limit says of each class of each candidate that is not within."),
    Field("candidates", "Each one's decision, row of models.csv, `populations`, `measures`, "
          "`rare_classes`, `classes`."),
]  # fmt: skip

FINDING = [
    _CANDIDATE,
    Field("limit",
          "Which limit: on a loss of recall, on one beyond that of all images, on alpha.",
          tuple(SAID)),
    Field("name", "The class; all, of alpha."),
    Field("tolerated", "The limit."),
    Field("estimate", "The loss, the excess loss or alpha; below 0 is a gain."),
    Field("low", "The loss is at least this: beyond where it is above the limit."),
    Field("low_level", "The level of that interval; of classes, the one that all together need."),
    Field("high", "The loss is at most this: within where it is below the limit."),
    Field("high_level", "The level of that interval, the audit's."),
    Field("decision", "What that decides.", DECISIONS),
    Field("images", "How many images the class has."),
]  # fmt: skip


def names(fields: list[Field], several: bool) -> Iterator[str]:
    """Yield the names of the fields of an audit of one network of each model, or of several."""
    for field in fields:
        if several or not field.several:
            yield field.name
