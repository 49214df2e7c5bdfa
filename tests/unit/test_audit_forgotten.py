"""What an audit of several networks says of images that most answer otherwise, and of classes.

Every number is computed here once more, with numpy and scipy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_audit_of_study import write

import recall_distortion as rd
from recall_distortion.auditing.of_study import audit_replicate
from recall_distortion.inference.questions.class_tests import class_tests
from recall_distortion.inference.questions.measures import measured
from recall_distortion.inference.questions.populations import populations
from recall_distortion.measures.networks import measure, whole_cells
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.vocabulary import CELL, RETRAINED

NETWORKS, CLASSES = 9, 4
LABELS = np.repeat(np.arange(CLASSES), (100, 150, 200, 50))
TESTS = ("published", "own", "paired", "control")


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return answers [K, M] before, after and of a control, of images of their own difficulty."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=len(LABELS))
    found = []
    for shift in (1.2, 0.6, 1.1):
        right = rng.normal(size=(NETWORKS, len(LABELS))) < shift + hard - 0.3 * (LABELS == 3)
        wrong = (LABELS + rng.integers(1, CLASSES, right.shape)) % CLASSES
        found.append(np.where(right, LABELS, wrong))
    return tuple(found)


def modes(answers: np.ndarray) -> np.ndarray:
    """Return the most frequent label of each image, the lowest of several."""
    return np.array([np.bincount(one, minlength=CLASSES).argmax() for one in answers.T])


def row(found: rd.auditing.Audit, table: str, **where: object) -> dict:
    rows = found.tables[table]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    (one,) = rows.to_dict("records")
    return one


@pytest.fixture(scope="module", params=range(3))
def given(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return drawn(request.param)


@pytest.fixture(scope="module")
def found(given) -> rd.auditing.Audit:
    before, after, control = given
    return rd.audit(LABELS, before, {"a": after}, control=control)


def test_images_whose_modal_label_changes(found, given) -> None:
    before, after, control = given
    pies, null = (modes(before) != modes(side) for side in (after, control))
    said = row(found, "populations")
    assert said["pies"] == pies.sum() > 0
    assert said["share"] == pies.mean()
    assert said["control"] == null.sum()
    assert said["over_control"] == pies.sum() - null.sum()
    assert said["least"] <= said["pies"] <= said["largest"]
    for where, which in (("pies", pies), ("others", ~pies), ("null", null)):
        for name, side in (("before", before), ("after", after)):
            expected = (side == LABELS)[:, which].mean()
            assert said[f"{name}_on_{where}"] == pytest.approx(expected)
    assert said["after_mode_right"] == pytest.approx((modes(after) == LABELS)[pies].mean())
    by_class = found.tables["class_tests"]
    assert by_class["pies"].tolist() == np.bincount(LABELS[pies], minlength=CLASSES).tolist()
    assert by_class["control_pies"].tolist() == np.bincount(LABELS[null]).tolist()


def test_both_bounds_hold_every_way_to_break_ties(found, given) -> None:
    before, after, _ = given
    least = largest = 0
    for first, second in zip(before.T, after.T, strict=True):
        tops = []
        for one in (first, second):
            votes = np.bincount(one, minlength=CLASSES)
            tops.append(set(np.flatnonzero(votes == votes.max())))
        least += not tops[0] & tops[1]
        largest += len(tops[0] | tops[1]) > 1
    said = row(found, "populations")
    assert (said["least"], said["largest"]) == (least, largest)


def test_p_is_that_of_exchanged_networks(found, given) -> None:
    """All 512 exchanges here, 999 drawn there."""
    before, after, control = given
    start = modes(before)
    differences = []
    for number in range(2**NETWORKS):
        swapped = (number >> np.arange(NETWORKS) & 1).astype(bool)[:, None]
        one, other = np.where(swapped, control, after), np.where(swapped, after, control)
        differences.append((modes(one) != start).sum() - (modes(other) != start).sum())
    size = np.abs(differences)
    exact = (size >= size[0]).mean()
    assert row(found, "populations")["p"] == pytest.approx(exact, abs=0.06)


def test_the_images_themselves(found, given) -> None:
    before, after, _ = given
    pies = found.tables["pies"]
    changed = np.flatnonzero(modes(before) != modes(after))
    assert sorted(pies.loc[pies["is_pie"], "image"]) == changed.tolist()
    assert len(pies) == row(found, "populations")["largest"]
    for one in pies.to_dict("records"):
        image = one["image"]
        assert one["class"] == str(LABELS[image])
        assert one["before"] == str(modes(before)[image])
        assert one["after"] == str(modes(after)[image])
        votes = np.bincount(after[:, image], minlength=CLASSES)
        assert one["agreement_after"] == votes.max() / NETWORKS
    assert (np.diff(pies["distance"]) <= 0).all()


def test_classes_four_ways(found, given) -> None:
    before, after, control = given
    recall = {
        name: np.stack([(side == LABELS)[:, c == LABELS].mean(1) for c in range(CLASSES)], 1)
        for name, side in (("before", before), ("after", after), ("control", control))
    }
    accuracy = {
        name: (side == LABELS).mean(1)[:, None]
        for name, side in (("before", before), ("after", after), ("control", control))
    }
    own = {name: recall[name] - accuracy[name] for name in recall}
    shifted = {name: recall[name] - accuracy[name].mean() for name in recall}
    expected = {
        "published": stats.ttest_ind(shifted["after"], shifted["before"], equal_var=False).pvalue,
        "own": stats.ttest_ind(own["after"], own["before"], equal_var=False).pvalue,
        "paired": stats.ttest_rel(own["after"], own["before"]).pvalue,
        "control": stats.ttest_rel(own["after"], own["control"]).pvalue,
    }
    classes, whole = found.tables["class_tests"], row(found, "populations")
    assert whole["expected"] == 0.05 * CLASSES
    for test, p in expected.items():
        np.testing.assert_allclose(classes[f"{test}_p"], p, rtol=1e-8)
        assert whole[f"{test}_moved"] == (p <= 0.05).sum()
        order = np.argsort(p)
        holm = np.maximum.accumulate(np.minimum(1, np.sort(p) * (CLASSES - np.arange(CLASSES))))
        np.testing.assert_allclose(classes[f"{test}_p_adjusted"].to_numpy()[order], holm, 1e-8)
        assert whole[f"{test}_adjusted"] == (holm <= 0.05).sum()


def test_no_change_at_all_is_no_image_and_no_class(given) -> None:
    before = given[0]
    found = rd.audit(LABELS, before, before, control=before)
    said = row(found, "populations")
    assert (said["pies"], said["least"], said["over_control"], said["p"]) == (0, 0, 0, 1)
    for test in TESTS:
        assert (found.tables["class_tests"][f"{test}_p"] == 1).all()
        assert said[f"{test}_moved"] == 0
    assert not found.tables["pies"]["is_pie"].any()


def test_copies_of_a_network_agree_and_have_its_answers(given) -> None:
    before, after = (np.repeat(side[:1], 6, axis=0) for side in given[:2])
    found = rd.audit(LABELS, before, after)
    said = row(found, "populations")
    assert said["pies"] == said["least"] == said["largest"] == (before[0] != after[0]).sum()
    assert said["tied"] == 0
    assert said["reseed_pies"] == 0
    assert (found.tables["pies"]["agreement_after"] == 1).all()
    one = rd.audit(LABELS, before[0], after[0]).tables["measures"].set_index("measure")
    several = found.tables["measures"].set_index("measure")
    halved = "largest excess gap, cross-fitted"
    for name in ("before", "after", "change"):
        np.testing.assert_allclose(several[name], one[name], atol=1e-12)
    rest = several.drop(index=halved)
    np.testing.assert_allclose(rest["after_low"], rest["after"])


def test_without_a_control_halves_of_the_networks_before_are_the_null(given) -> None:
    before, after, _ = given
    said = row(rd.audit(LABELS, before, after), "populations")
    null = modes(before[0:8:2]) != modes(before[1:8:2])
    assert said["reseed_pies"] == null.sum()
    assert said["reseed_networks"] == 4
    assert said["before_on_null"] == pytest.approx((before == LABELS)[:, null].mean())
    assert np.isnan(said["control"])
    assert np.isnan(said["p"])
    assert said["reading"] == ""
    assert "no control" in said["note"]
    assert said["fewer"] == 4
    assert said["at_fewer_low"] <= said["at_fewer_median"] <= said["at_fewer_high"]
    assert said["reseed_at_fewer_low"] <= said["reseed_at_fewer_high"]


def test_what_stands_beside_halves_has_no_pairs_either() -> None:
    """Networks of a pair share most of their errors: unpaired ones are what halves are like."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(NETWORKS, len(LABELS)))

    def answered() -> np.ndarray:
        right = 0.9 * shared + rng.normal(0, 0.4, shared.shape) < 0.7
        return np.where(right, LABELS, (LABELS + 1) % CLASSES)

    before, after = answered(), answered()
    said = row(rd.audit(LABELS, before, after), "populations")
    null = said["reseed_at_fewer_median"]
    # Nothing but chance is between before and after.
    assert said["unpaired_at_fewer_median"] == pytest.approx(null, abs=4 * np.sqrt(null))
    assert said["at_fewer_median"] < 0.8 * null
    text = str(rd.audit(LABELS, before, after))
    own = said["unpaired_at_fewer_median"]
    assert f"before: {null:.0f}; as many after and others before: {own:.0f}" in text


def test_few_networks_say_what_is_missing(given) -> None:
    before, after, control = (side[:2] for side in given)
    said = row(rd.audit(LABELS, before, after, control=control), "populations")
    assert said["reading"] == ""
    assert "2 seeds have too few exchanges" in said["note"]
    assert "fewer than four networks" in said["note"]


def test_one_network_has_no_population(given) -> None:
    tables = rd.audit(LABELS, given[0][0], given[1][0]).tables
    assert not {"populations", "class_tests", "pies"} & set(tables)
    without = rd.audit(LABELS, given[0], given[1], measures=False).tables
    assert set(without) == {"models", "groups", "flows", "flips"}


def test_no_answer_and_further_classes_are_answers_too(given) -> None:
    """What most networks give no answer to, or a class of no label, changes its modal label."""
    before = given[0]
    after = np.where(np.arange(len(LABELS)) < 5, -1, before)
    after[:, 5:7] = CLASSES  # a class that no label has
    found = rd.audit(LABELS, before, after)
    pies = found.tables["pies"].query("is_pie").set_index("image")
    assert set(pies.index) == set(range(7))
    assert pies.loc[[0, 4], "after"].tolist() == ["", ""]
    assert pies.loc[5, "after"] == str(CLASSES)
    changed = row(found, "measures", measure="prediction shift")
    named = [np.bincount(one[one >= 0], minlength=CLASSES + 1) for one in after]
    support = np.bincount(LABELS, minlength=CLASSES + 1)
    shift = [np.abs(one - support).sum() + 5 for one in named]  # five have no answer
    assert changed["after"] == pytest.approx(np.mean(shift) / (2 * len(LABELS)))


def test_names_of_images_are_theirs(given) -> None:
    names = np.array([f"file{number}.png" for number in range(len(LABELS))])
    found = rd.audit(LABELS, given[0], given[1], keys=names).tables["pies"]
    plain = rd.audit(LABELS, given[0], given[1]).tables["pies"]
    assert found["image"].tolist() == names[plain["image"]].tolist()


def of_study(folder: Path) -> Mapping[str, pd.DataFrame]:
    """Return what the study of these predictions says of its cells, at the ratio 10."""
    parts = [
        part
        for path in sorted(folder.glob("predictions/**/*.safetensors"))
        for part in read_predictions(path)[0]
    ]
    sparsity = pd.DataFrame(columns=[*CELL, "seed"])
    recall, networks = measure(parts, sparsity, [])
    found = populations(whole_cells(parts))
    tables = {
        "cells": found.cells,
        "images": found.images,
        "tests": class_tests(recall)[0],
        "counts": class_tests(recall)[1],
        "measures": measured(networks),
    }
    return {
        name: table[
            (table["method"] == "magnitude")
            & (table["ratio"] == 10)
            & (table["state"] == RETRAINED)
        ]
        for name, table in tables.items()
    }


def test_a_study_s_replicates_have_the_study_s_own_numbers(tmp_path: Path) -> None:
    write(tmp_path, seeds=[3, 4, 5, 6])
    found = audit_replicate(tmp_path, method="magnitude", ratios=[10], seed=None)
    study = of_study(tmp_path)
    (cell,) = study["cells"].to_dict("records")
    said = row(found, "populations")
    for ours, theirs in {
        **{name: name for name in ("pies", "share", "least", "largest", "highest", "tied")},
        **{name: name for name in ("control", "over_control", "p", "distance", "distance_p")},
        "before_on_pies": "dense_on_pies", "after_on_null": "own_on_null",
        "at_fewer_median": "paired_median", "after_mode_right": "own_mode_right",
    }.items():  # fmt: skip
        assert said[ours] == cell[theirs], ours
    images = found.tables["pies"].head(len(study["images"]))
    assert images["image"].tolist() == study["images"]["image"].tolist()
    assert images["is_pie"].tolist() == study["images"]["is_pie"].tolist()
    for test in TESTS:
        for column in ("change", "p", "p_adjusted", "verdict"):
            own = found.tables["class_tests"][f"{test}_{column}"].tolist()
            assert own == study["tests"][f"{test}_{column}"].tolist()
        for column in ("moved", "adjusted"):
            assert said[f"{test}_{column}"] == study["counts"][f"{test}_{column}"].iloc[0]
    measures = found.tables["measures"].set_index("measure")
    theirs = study["measures"].set_index("measure")
    assert list(measures.index) == list(theirs.index)
    for ours, name in {
        "before": "before", "after": "mean", "after_low": "low", "change_high": "change_high",
        "control": "control", "over_control": "over_control",
        "over_control_low": "over_control_low",
    }.items():  # fmt: skip
        np.testing.assert_allclose(measures[ours], theirs[name], rtol=2e-3, atol=1e-6, err_msg=ours)
