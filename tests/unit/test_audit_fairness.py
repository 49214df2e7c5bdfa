"""Further measures of an audit, each computed here once more, and the intervals of one pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import recall_distortion as rd
from recall_distortion.auditing import fairness
from recall_distortion.measures.of_networks import MEASURES

CLASSES = 5
LABELS = np.repeat(np.arange(CLASSES), (400, 300, 200, 100, 50))
IMAGES = len(LABELS)


def scores(seed: int, strength: float) -> np.ndarray:
    """Return probabilities [M, C]; of rare classes fewer are right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(IMAGES, CLASSES))
    logits[np.arange(IMAGES), LABELS] += strength - 0.2 * LABELS
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


BEFORE, AFTER, CONTROL = scores(0, 2.0), scores(1, 1.4), scores(2, 1.9)


def rates(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return recall, FPR and FNR [C]."""
    named = probabilities.argmax(1)
    recall = np.array([(named[c == LABELS] == c).mean() for c in range(CLASSES)])
    false = np.array([(named[c != LABELS] == c).mean() for c in range(CLASSES)])
    return recall, false, 1 - recall


def expected(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return what each measure is, by its definition."""
    (recall, positive, negative), (own, own_positive, own_negative) = rates(before), rates(after)
    first, named = before.argmax(1), after.argmax(1)
    psi = recall - own - ((first == LABELS).mean() - (named == LABELS).mean())
    one = (own_positive - positive) / positive
    two = (own_negative - negative) / negative
    sure = after.max(1)
    bins = np.clip(np.ceil(sure * 10).astype(int) - 1, 0, 9)
    gaps = [
        (bins == b).mean() * abs(sure[bins == b].mean() - (named == LABELS)[bins == b].mean())
        for b in np.unique(bins)
    ]
    losses = [-np.log(side[np.arange(IMAGES), LABELS]) for side in (before, after)]
    growth = [(losses[1] - losses[0])[c == LABELS].mean() for c in range(CLASSES)]
    counts = [np.bincount(one, minlength=CLASSES) for one in (named, LABELS)]
    return {
        "flip rate": (first != named).mean(),
        "largest excess gap": psi.max(),
        "range of excess gaps": psi.max() - psi.min(),
        "worst recall": own.min(),
        "combined error variance": ((one - one.mean()) ** 2 + (two - two.mean()) ** 2).mean(),
        "symmetric distance error": np.abs(one - two).mean() / np.sqrt(2),
        "prediction shift": np.abs(counts[0] - counts[1]).sum() / (2 * IMAGES),
        "calibration error": sum(gaps),
        "uncertainty": (sure < 0.9).mean(),
        "spread of excess loss": max(growth) - min(growth),
        "classes without errors": 0,
    }


@pytest.fixture(scope="module")
def pair() -> rd.auditing.Audit:
    return rd.audit(LABELS, BEFORE, {"a": AFTER, "same": BEFORE}, control=CONTROL)


def of(found: rd.auditing.Audit, candidate: str):
    table = found.tables["measures"]
    return table[table["candidate"] == candidate].set_index("measure")


def test_each_value_is_that_of_its_definition(pair) -> None:
    found = of(pair, "a")
    after, control = expected(BEFORE, AFTER), expected(BEFORE, CONTROL)
    assert set(found.index) == {*after, "largest excess gap, cross-fitted"}
    for name in after:
        assert found.loc[name, "after"] == pytest.approx(after[name]), name
        assert found.loc[name, "control"] == pytest.approx(control[name]), name
        difference = after[name] - control[name]
        assert found.loc[name, "over_control"] == pytest.approx(difference, abs=1e-9), name
    relative = {measure.title for measure in MEASURES if measure.relative}
    for name in found.index:
        assert np.isnan(found.loc[name, "before"]) == (name in relative)
    plain = expected(AFTER, BEFORE)
    for name in set(found.index) - relative:
        assert found.loc[name, "before"] == pytest.approx(plain[name])
        assert found.loc[name, "change"] == pytest.approx(after[name] - plain[name])


def test_no_change_is_no_change(pair) -> None:
    found = of(pair, "same")
    assert (found["change"].dropna() == 0).all()
    # No test set drawn anew shows a change, which does not mean that there is none.
    assert found["change_low"].isna().all()
    assert np.isnan(found.loc["flip rate", "after_high"])
    assert found.loc["flip rate", "note"].startswith("no interval where every test set drawn anew")
    assert found.loc["worst recall", "after_low"] < found.loc["worst recall", "after"]
    assert (
        found.loc[["flip rate", "combined error variance", "largest excess gap"], "after"]
        .eq(0)
        .all()
    )


# What divides by the errors of each class, of which few have tails that test sets do not tell.
QUOTIENTS = ("combined error variance", "symmetric distance error", "classes without errors")


def measured(drawn: list[np.ndarray]) -> np.ndarray:
    """Return each measure's value after and its difference from the control, by test set."""
    rows = []
    for chosen in drawn:
        one, other = (expected(BEFORE[chosen], side[chosen]) for side in (AFTER, CONTROL))
        rows.append([[one[name], one[name] - other[name]] for name in one])
    return np.array(rows)


def check_ends(pair, values: np.ndarray, near: np.ndarray) -> None:
    """Hold a pair's ends against the spread of values, each within a share ``near`` of it."""
    errors = values.std(axis=0, ddof=1)
    found, z = of(pair, "a"), stats.norm.ppf(0.995)
    for name, (own, over), (share, of_over) in zip(
        expected(BEFORE, AFTER), errors, near, strict=True
    ):
        if name in QUOTIENTS:
            assert found.loc[name, ["after_high", "over_control_low"]].isna().all()
            continue
        row = found.loc[name]
        assert row["after_high"] - row["after"] == pytest.approx(z * own, rel=share), name
        width = row["over_control_high"] - row["over_control_low"]
        assert width == pytest.approx(2 * z * over, rel=of_over), name
        assert row["after_low"] >= 0


def test_a_pair_s_intervals_are_the_spread_over_the_test_sets_that_are_drawn(pair) -> None:
    """The same test sets, measured here; labels are in the order of their classes already."""
    size = np.bincount(LABELS)
    start = np.repeat(np.cumsum(size) - size, size)
    uniform = np.random.default_rng(fairness.SEED).random((fairness.RESAMPLES, IMAGES))
    drawn = start + (uniform * size[LABELS]).astype(int)
    assert (LABELS[drawn] == LABELS).all()
    values = measured(list(drawn))
    check_ends(pair, values, np.full(values.shape[1:], 1e-9))


def test_a_pair_s_intervals_are_those_of_images_drawn_anew_within_classes(pair) -> None:
    """Drawn by other random numbers, so that both know a standard error by chance alone.

    That of n values has the relative standard error sqrt((kurtosis - 1) / 4 n); four are allowed.
    """
    rng, many = np.random.default_rng(7), 400
    parts = [np.flatnonzero(c == LABELS) for c in range(CLASSES)]
    values = measured(
        [np.concatenate([rng.choice(part, len(part)) for part in parts]) for _ in range(many)]
    )
    with np.errstate(invalid="ignore"):
        kurtosis = stats.kurtosis(values, axis=0, fisher=False)
    near = 4 * np.sqrt((kurtosis - 1) / 4 * (1 / many + 1 / fairness.RESAMPLES))
    check_ends(pair, values, near)
    assert "both halves" in of(pair, "a").loc["largest excess gap, cross-fitted", "note"]


def test_quotients_of_errors_have_no_interval() -> None:
    """One error of a class before: a third of the test sets drawn anew would have none of it."""
    before = LABELS.copy()
    before[np.arange(IMAGES) % 3 == 0] = (LABELS[::3] + 1) % CLASSES
    before[LABELS == 2] = 2
    before[np.flatnonzero(LABELS == 2)[0]] = 3
    found = of(rd.audit(LABELS, before, {"a": AFTER.argmax(1)}), "a")
    row = found.loc["combined error variance"]
    assert row["after"] > 0
    assert np.isnan(row["after_low"])
    assert "it divides by the errors of each class" in row["note"]
    assert found.loc["flip rate", "note"] == ""


def test_the_same_input_gives_the_same_ends(pair) -> None:
    again = of(rd.audit(LABELS, BEFORE, {"a": AFTER, "same": BEFORE}, control=CONTROL), "a")
    assert again.equals(of(pair, "a"))
    # The order of the images is no matter for what is measured.
    mixed = np.random.default_rng(3).permutation(IMAGES)
    other = rd.audit(LABELS[mixed], BEFORE[mixed], {"a": AFTER[mixed]}, control=CONTROL[mixed])
    halved = "largest excess gap, cross-fitted"
    np.testing.assert_allclose(
        of(other, "a")["after"].drop(halved), again["after"].drop(halved), rtol=1e-9
    )


def test_what_needs_probabilities_is_there_only_where_they_are() -> None:
    needing = {"calibration error", "uncertainty", "spread of excess loss"}
    classes = [side.argmax(1) for side in (BEFORE, AFTER)]
    assert not needing & set(rd.audit(LABELS, *classes).tables["measures"]["measure"])
    mixed = rd.audit(LABELS, classes[0], AFTER).tables["measures"].set_index("measure")
    assert set(mixed.index) & needing == {"calibration error", "uncertainty"}
    assert mixed.loc["uncertainty", ["before", "change"]].isna().all()
    top = rd.audit(LABELS, BEFORE, AFTER, top_k=2).tables["measures"].set_index("measure")
    assert not {"calibration error", "uncertainty"} & set(top.index)
    groups = rd.audit(LABELS, BEFORE, AFTER, top_k=2).tables["groups"]
    assert top.loc["worst recall", "after"] == pytest.approx(groups["after"].min())


def test_a_probability_of_zero_has_no_loss() -> None:
    zero = AFTER.copy()
    zero[0] = np.eye(CLASSES)[(LABELS[0] + 1) % CLASSES]
    found = of(rd.audit(LABELS, BEFORE, {"a": zero}), "a")
    assert np.isnan(found.loc["spread of excess loss", "after"])
    assert "is 0, whose loss is infinite" in found.loc["spread of excess loss", "note"]


def test_several_networks_have_the_t_intervals_of_their_values() -> None:
    several = [np.stack([scores(10 * n + k, s) for k in range(4)]) for n, s in enumerate((3, 2.4))]
    found = of(rd.audit(LABELS, *several, level=0.9), "after")
    every = [expected(*pair) for pair in zip(*several, strict=True)]
    for name in set(every[0]) - {"combined error variance", "symmetric distance error"}:
        values = [one[name] for one in every]
        assert found.loc[name, "after"] == pytest.approx(np.mean(values)), name
        if np.ptp(values):
            ends = stats.t.interval(0.9, 3, np.mean(values), stats.sem(values))
            assert tuple(found.loc[name, ["after_low", "after_high"]]) == pytest.approx(ends), name
    # What another seed does: networks 0 and 1 before, 2 and 3 before.
    between = [expected(several[0][k], several[0][k + 1])["flip rate"] for k in (0, 2)]
    assert found.loc["flip rate", "reseed"] == pytest.approx(np.mean(between))


def test_classes_without_an_image_and_answers_of_no_class_are_no_matter() -> None:
    first, second = BEFORE.argmax(1), AFTER.argmax(1)
    names = [f"c{c}" for c in range(CLASSES)]
    plain = rd.audit(LABELS, first, second, classes=names).tables
    more = rd.audit(LABELS, first, second, classes=[*names, "none"]).tables
    assert more["measures"].equals(plain["measures"])
    assert "none" not in set(more["class_measures"]["name"])
    left = rd.audit(LABELS, first, np.where(second == 0, -1, second)).tables["measures"]
    assert left.set_index("measure").loc["worst recall", "after"] == 0


def test_an_answer_of_no_class_for_another_is_a_flip() -> None:
    first = BEFORE.argmax(1)
    first[:30], second = -1, first.copy()
    first[30:60], second[:60] = CLASSES, CLASSES + 1  # no label has these
    second[60:70] = -1
    found = rd.audit(LABELS, first, second).tables
    rate = found["measures"].set_index("measure").loc["flip rate", "after"]
    assert rate == found["models"]["flipped_share"][0] == 70 / IMAGES


def test_shares_and_calibration_of_classes() -> None:
    found = rd.audit(LABELS, BEFORE, AFTER, control=CONTROL).tables["class_measures"]
    named = [side.argmax(1) for side in (BEFORE, AFTER, CONTROL)]
    shares = found[found["measure"] == "share named over true"].set_index("name")
    errors = found[found["measure"] == "class calibration error"].set_index("name")
    for c in range(CLASSES):
        before, after, control = ((one == c).sum() / (c == LABELS).sum() for one in named)
        row = shares.loc[str(c)]
        assert row["before"] == pytest.approx(before)
        assert row["after"] == pytest.approx(after)
        assert row["change"] == pytest.approx(after - before)
        assert row["over_control"] == pytest.approx(after - control)
        which = named[1] == c
        sure, right = AFTER.max(1)[which], LABELS[which] == c
        bins = np.clip(np.ceil(sure * 10).astype(int) - 1, 0, 9)
        error = sum(
            (bins == b).mean() * abs(sure[bins == b].mean() - right[bins == b].mean())
            for b in np.unique(bins)
        )
        assert errors.loc[str(c), "after"] == pytest.approx(error)
