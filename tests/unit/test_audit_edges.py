"""Audits of what is nearly wrong: roundings, hidden warnings, classes of one image, odd names."""

from __future__ import annotations

import numpy as np
import pytest

import recall_distortion as rd
from recall_distortion.system.errors import AuditError

LABELS = np.arange(900) % 3
RNG = np.random.default_rng(0)


def answers(*networks: int, share: float = 0.8) -> np.ndarray:
    """Return classes of which a share is right; a wrong one is the next."""
    right = RNG.random((*networks, len(LABELS))) < share
    return np.where(right, LABELS, (LABELS + 1) % 3)


def probabilities(noise: float) -> np.ndarray:
    logits = np.random.default_rng(1).normal(size=(len(LABELS), 3))
    logits += noise * np.random.default_rng(2).normal(size=logits.shape)
    logits[np.arange(len(LABELS)), LABELS] += 2
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_a_rounding_makes_no_logits_of_probabilities() -> None:
    first, second = probabilities(0), probabilities(1)
    rounded = second.copy()
    rounded[5] = [np.nextafter(np.float32(1), 2), -1e-7, 0]
    flips = rd.audit(LABELS, first, rounded).tables["flips"].set_index("image")
    for image, row in flips.drop(index=5, errors="ignore").iterrows():
        assert row["probability_after"] == second[image, LABELS[image]]
    assert flips["probability_after"].between(0, 1).all()


def test_a_rounding_keeps_the_probabilities_of_a_threshold() -> None:
    labels, scores = LABELS % 2, RNG.random(len(LABELS))
    other = 1 - scores
    other[0] = 1 + 1e-7
    found = rd.audit(labels, scores, other, threshold=0.5).tables["flips"]
    assert found["probability_after"].between(0, 1).all()


def test_one_row_that_is_no_probability_among_such_is_an_error() -> None:
    wrong = probabilities(1)
    wrong[7, 1] = 3.0
    with pytest.raises(AuditError, match=r"after: .*image 7 .*scores='logits'"):
        rd.audit(LABELS, probabilities(0), wrong)
    assert rd.audit(LABELS, probabilities(0), np.log(probabilities(1))).tables["flips"].size


def test_the_decisive_warning_comes_first_and_equal_ones_are_summed() -> None:
    before, after = answers(6), answers(6)
    before[:, 3] = after[:, 3] = -1
    before[0, 4] = -1
    after[5] = RNG.permutation(after[5])
    found = rd.audit(np.where(LABELS == 2, 3, LABELS), *(x + (x == 2) for x in (before, after)))
    first, second, *others = found.warnings
    assert first.startswith("network 5 of after agrees with the labels no better than chance")
    assert second.startswith("1 of 4 classes have no test image")
    assert others == [
        "6 networks of before give no answer to 1 to 2 of 900 images; these count as wrong.",
        "6 networks of after give no answer to 1 of 900 images; these count as wrong.",
    ]


def test_networks_that_are_all_chance_or_the_same_are_said_once() -> None:
    before = answers(6)
    found = rd.audit(LABELS, before, RNG.integers(0, 3, before.shape)).warnings
    assert found[0].startswith("6 networks of after agree with the labels no better than chance (0")
    copies = rd.audit(LABELS, before, before).warnings
    assert copies == [
        "6 networks of after give the same answers as networks of before, such as network 0 of "
        "after and network 0 of before: are these the same files?"
    ]


@pytest.mark.parametrize("networks", [(), (2,)])
@pytest.mark.parametrize("control", [False, True])
def test_classes_of_one_image_have_no_alpha_and_no_traceback(networks, control, tmp_path) -> None:
    labels = np.arange(6)
    before = np.tile(labels, (*networks, 1))
    after = (before + 1) % 6
    found = rd.audit(labels, before, after, control=before if control else None)
    assert np.isnan(found.tables["models"][["alpha", "alpha_low", "largest_loss"]]).all(axis=None)
    found.save(tmp_path, max_drop=0.1, max_alpha=1.5)
    assert "alpha is not known" in str(found)
