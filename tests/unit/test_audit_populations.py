"""Audits of several networks of each model: their tables, their forms in files, wrong input."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.inference.statistics.pair_slope import PairCounts, pair_slope
from recall_distortion.inference.statistics.paired import tango
from recall_distortion.simulation.populations import Population
from recall_distortion.system.errors import AuditError

NETWORKS = 6
POPULATION = Population(NETWORKS, (200, 300, 500), (0.7, 0.8, 0.9), (0.5, 0.78, 0.85))
LABELS = POPULATION.labels


def answers(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers [K, M] before and after; wrong ones are the next class."""
    right = POPULATION.draw(np.random.default_rng(seed))
    return tuple(np.where(one, LABELS, (LABELS + 1) % 3) for one in right)


BEFORE, AFTER = answers()


@pytest.fixture
def found() -> rd.auditing.Audit:
    return rd.audit(LABELS, BEFORE, AFTER, level=0.95)


def of_classes(found: rd.auditing.Audit) -> pd.DataFrame:
    groups = found.tables["groups"]
    return groups[groups["grouping"] == "class"].set_index("name")


def test_counts_are_means_over_the_networks(found) -> None:
    classes = of_classes(found)
    for label, row in classes.reset_index().iterrows():
        own = label == LABELS
        before, after = (side[:, own] == label for side in (BEFORE, AFTER))
        assert row["images"] == own.sum()
        assert row["before"] == pytest.approx(before.mean())
        assert row["after"] == pytest.approx(after.mean())
        assert row["change"] == pytest.approx(after.mean() - before.mean())
        assert row["lost"] == pytest.approx((before & ~after).sum() / NETWORKS)
        assert row["gained"] == pytest.approx((after & ~before).sum() / NETWORKS)
        assert row["flipped"] == pytest.approx((BEFORE != AFTER)[:, own].sum() / NETWORKS)
        assert row["low"] < row["seeds_low"] < row["change"] < row["seeds_high"] < row["high"]
        assert row["simultaneous_low"] < row["low"]
        assert row["simultaneous_high"] > row["high"]
        assert row["lost_share_low"] < row["lost_share"] < row["lost_share_high"]
    assert (classes["excess"] * classes["images"]).sum() == pytest.approx(0, abs=1e-9)
    (whole,) = found.tables["models"].to_dict("records")
    assert whole["networks"] == NETWORKS
    assert whole["change"] == pytest.approx((AFTER == LABELS).mean() - (BEFORE == LABELS).mean())


def test_the_interval_on_these_images_is_that_of_the_networks_changes(found) -> None:
    for label, row in enumerate(of_classes(found).itertuples()):
        moved = [
            (after[label == LABELS] == label).mean() - (before[label == LABELS] == label).mean()
            for before, after in zip(BEFORE, AFTER, strict=True)
        ]
        ends = stats.t.interval(0.95, NETWORKS - 1, np.mean(moved), stats.sem(moved))
        assert (row.seeds_low, row.seeds_high) == pytest.approx(ends)


def test_alpha_is_pooled_over_the_networks(found) -> None:
    """The sums of the single pairs' cross-fitted sums, divided."""
    names = ["a", "b", "c"]
    pairs = []
    for before, after in zip(BEFORE, AFTER, strict=True):
        kinds = [
            np.bincount(LABELS[((before == LABELS) == one) & ((after == LABELS) == two)])
            for one, two in ((True, True), (True, False), (False, True), (False, False))
        ]
        pairs.append(pair_slope(PairCounts(*kinds), 0.95))
    (whole,) = found.tables["models"].to_dict("records")
    expected = sum(one.numerator for one in pairs) / sum(one.denominator for one in pairs)
    assert whole["alpha"] == pytest.approx(expected)
    first, second = (
        np.array([rd.recall_table(LABELS, one, names)["normalized_balance"] for one in side])
        for side in (BEFORE, AFTER)
    )
    plain = (first * second).sum() / (first**2).sum()  # attenuated by the images' noise
    assert plain < whole["alpha"] < 1.05 * plain
    assert whole["alpha_low"] < whole["alpha_seeds_low"] < whole["alpha"]
    assert whole["alpha"] < whole["alpha_seeds_high"] < whole["alpha_high"]


def test_one_network_has_the_answers_of_one_model() -> None:
    expected = rd.audit(LABELS, BEFORE[0], AFTER[0], control=BEFORE[1])
    for one in (
        rd.audit(LABELS, BEFORE[:1], AFTER[:1], control=BEFORE[1:2]),
        rd.audit(LABELS, {"a": BEFORE[0]}, {"after": {"a": AFTER[0]}}, control={"a": BEFORE[1]}),
    ):
        assert one.warnings == expected.warnings
        for name, table in expected.tables.items():
            pd.testing.assert_frame_equal(one.tables[name], table)


def test_copies_of_a_network_say_what_it_says_and_are_noticed() -> None:
    one = rd.audit(LABELS, BEFORE[0], AFTER[0]).tables
    copies = rd.audit(LABELS, BEFORE[[0, 0, 0]], AFTER[[0, 0, 0]])
    for name in ("groups", "models"):
        for column in one[name].columns.difference(["p", "p_exact", "p_adjusted"]):
            same = one[name][column].tolist()
            assert copies.tables[name][column].tolist() == pytest.approx(same, nan_ok=True), column
    assert "networks of before give the same answers as another" in copies.warnings[0]
    pd.testing.assert_frame_equal(
        copies.tables["flows"], one["flows"], check_dtype=False, check_like=True
    )


def scores(values: np.ndarray) -> np.ndarray:
    """Return probabilities [..., 3] whose highest are these answers."""
    return np.where(np.arange(3) == values[..., None], 0.6, 0.2)


FORMS = {
    "texts": lambda values: np.array(["0", "1", "2"])[values],
    "scores": scores,
    "a list": list,
    "by name": lambda values: {f"seed {seed}": one for seed, one in enumerate(values)},
    "scores by name": lambda values: {seed: scores(one) for seed, one in enumerate(values)},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_predictions_does_not_matter(form: str, found) -> None:
    labels = LABELS.astype(str) if form == "texts" else LABELS
    given = FORMS[form]
    same = rd.audit(labels, given(BEFORE), {"after": given(AFTER)}, level=0.95)
    for name in ("groups", "models", "flows"):
        pd.testing.assert_frame_equal(same.tables[name], found.tables[name])


def test_answers_that_only_some_networks_know_keep_their_names() -> None:
    labels = np.array(["a", "b"] * 50)
    before = np.stack([labels, labels, labels])
    after = before.copy()
    after[0, 0], after[1, 0], after[2, 2] = "z", "y", "y"
    tables = rd.audit(labels, before, after).tables
    assert tables["flows"][["class", "to"]].to_numpy().tolist() == [["a", "y"], ["a", "z"]]
    assert tables["flows"]["images"].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert tables["flows"]["share"].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_flips_say_how_many_networks_changed_their_answer() -> None:
    labels = np.zeros(40, int)
    before = np.zeros((3, 40), int)
    before[:, 7] = [1, 1, 0]
    after = before.copy()
    after[:, 3], after[:, 7], after[:2, 9] = 1, 0, [2, -1]
    flips = rd.audit(labels, before, after, keys=np.arange(100, 140)).tables["flips"]
    columns = ["image", "before", "after", "kind", "networks", "lost_by", "gained_by"]
    assert flips[columns].to_numpy().tolist() == [
        [103, "0", "1", "lost", 3, 3, 0],
        [109, "0", "", "lost", 2, 2, 0],  # each answer once: the first, here that of none
        [107, "1", "0", "gained", 2, 0, 2],
    ]


def test_a_control_of_as_many_networks_is_what_effects_are_read_against() -> None:
    found = rd.audit(LABELS, BEFORE, AFTER, control=AFTER, level=0.95)
    classes = of_classes(found)
    n = classes["images"].to_numpy()
    assert (classes["over_control"] == 0).all()
    ends = tango(0 * n, 0 * n, n, 0.95)
    assert classes["over_control_low"].tolist() == pytest.approx(ends.low)
    assert classes["over_control_seeds_high"].tolist() == [0, 0, 0]
    (whole,) = found.tables["models"].to_dict("records")
    assert whole["alpha_control"] == whole["alpha"]
    assert whole["alpha_over_control"] == 0
    assert whole["alpha_over_control_verdict"] == "inconclusive"


def test_limits_are_held_against_the_intervals_over_seeds_and_images(found) -> None:
    lost = -of_classes(found)["low"].max(), -of_classes(found)["low"].min()
    assert found.decide(max_drop=lost[1] + 1e-6) == "within"
    assert found.decide(max_drop=lost[1] - 1e-6) == "undecided"
    surely = -of_classes(found)["simultaneous_high"].min()
    assert found.decide(max_drop=surely - 1e-6) == "beyond"


def test_one_network_that_agrees_by_chance_leaves_nothing_within() -> None:
    after = AFTER.copy()
    after[2] = np.random.default_rng(1).permutation(after[2])
    found = rd.audit(LABELS, BEFORE, after)
    assert found.doubted == ["after"]
    assert "network 2 of after agrees with the labels no better than chance" in found.warnings[0]
    assert found.decide(max_drop=0.9) == "undecided"


def test_the_largest_loss_is_chosen_by_other_networks_and_images() -> None:
    """Each of 40 classes loses 5 points in the mean; networks and images make it look like more."""
    population = Population(4, (50,) * 40, (0.9,) * 40, (0.85,) * 40, seeds=0.4, moved=1.0)
    labels = population.labels
    before, after = (
        np.where(one, labels, (labels + 1) % 40)
        for one in population.draw(np.random.default_rng(0))
    )
    (whole,) = rd.audit(labels, before, after).tables["models"].to_dict("records")
    assert whole["largest_loss"] > 0.12
    assert whole["largest_loss_crossfit"] == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((BEFORE[:3], AFTER), "after: holds 6 networks, and before holds 3 networks: give as many"),
        ((BEFORE[0], AFTER), "after: holds 6 networks, and before holds 1 network"),
        ((BEFORE, {"x": AFTER[0]}), "x: holds 1 network, and before holds 6 networks"),
        (
            ({"a": BEFORE[0], "b": BEFORE[1]}, {"x": {"a": AFTER[0], "c": AFTER[1]}}),
            "x: network c stands where before has network b",
        ),
        ((scores(BEFORE)[:, :-1], scores(AFTER)), r"before: has shape \[6, 999, 3\]"),
        ((BEFORE[:, :-1], AFTER), "before: holds 6 predictions, but there are 1000 labels"),
        (({}, AFTER), "before: names no network"),
        ((scores(BEFORE)[:0], AFTER), "before: holds no network"),
        ((BEFORE * 0.5, AFTER), "before, network 0: holds float64 numbers"),
        (({"a": BEFORE[0], "b": BEFORE[1, :-1]}, AFTER), "before, network b: holds 999"),
    ],
)
def test_wrong_input_is_one_message(given: tuple[object, object], said: str) -> None:
    with pytest.raises(AuditError, match=said):
        rd.audit(LABELS, *given)


def test_a_control_has_as_many_networks() -> None:
    with pytest.raises(AuditError, match="control: holds 1 network, and before holds 6"):
        rd.audit(LABELS, BEFORE, AFTER, control=BEFORE[0])


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> Path:
    """Write the same networks as arrays and as columns whose order is not that of their numbers."""
    monkeypatch.chdir(tmp_path)
    for name, values in (("y", LABELS), ("before", BEFORE), ("after", AFTER)):
        np.save(f"{name}.npy", values)
    # Network 10 stands before network 2, as in a list of names.
    order = sorted(range(NETWORKS), key=lambda seed: str(2 * seed))
    columns = {
        f"{side}_{2 * seed}_x": values[seed]
        for side, values in (("old", BEFORE), ("new", AFTER))
        for seed in order
    }
    pd.DataFrame({"y": LABELS, **columns}).to_csv("t.csv", index=False)
    np.savez("t.npz", y=LABELS, **columns)
    np.savez("s.npz", **{name: scores(one) for name, one in columns.items()})
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = command.main(["audit", *words])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("file", ["t.csv", "t.npz", "s.npz"])
def test_columns_by_a_name_with_a_star_are_networks(files, capsys, file: str) -> None:
    expected = printed(
        capsys, "--labels", "y.npy", "--before", "before.npy", "--after", "m=after.npy"
    )
    found = printed(
        capsys, "--labels", "y.npy", "--before", f"{file}:old_*_x", "--after", f"m={file}:new_*_x"
    )
    assert found == expected
    assert "6 networks: intervals are over other seeds and other images" in found[1]
    assert "these images" in found[1]


def test_a_candidate_of_columns_is_called_as_they_are(files, capsys) -> None:
    words = ("--labels", "t.csv:y", "--before", "t.csv:old_*_x", "--after", "t.csv:new_*")
    _, out, err = printed(capsys, *words)
    assert "network 0_x stands where before has network 0" in err
    _, out, err = printed(capsys, *words[:-1], "t.csv:new_*_x")
    assert "new_x: accuracy" in out


@pytest.mark.parametrize(
    ("before", "labels", "said"),
    [
        ("t.csv:dense_*", "y.npy", "t.csv: has no column like dense_*"),
        ("t.npz:dense_*", "y.npy", "t.npz: has no array like dense_*"),
        ("t.csv:old_*_x", "t.csv:old_*_x", "t.csv: has no column 'old_*_x'"),
        ("t.csv:*", "y.npy", "holds 6 networks, and before holds 13 networks"),
    ],
)
def test_a_star_without_networks_is_said(files, capsys, before: str, labels: str, said) -> None:
    status, out, err = printed(
        capsys, "--labels", labels, "--before", before, "--after", "after=t.csv:new_*_x"
    )
    assert (status, out) == (2, "")
    assert said in err


def test_the_page_says_of_what_its_intervals_speak(files, capsys) -> None:
    words = ("--labels", "y.npy", "--before", "before.npy", "--out", "out")
    printed(capsys, *words, "--after", "after.npy", "--max-drop", "0.02")
    text = (files / "out/report.html").read_text("utf-8")
    assert "Intervals are over other seeds and other images" in text
    assert "on these images" in text
    assert "How a single network would turn out" in text
    assert "How another training would turn out" not in text
    assert "networks that lost it" in text
    assert not re.search(r"\bnan\b", text.split("<body>")[1])
    assert "by half of the networks, the others say" in text
    groups = pd.read_csv(files / "out/groups.csv")
    assert {"seeds_low", "excess_seeds_high"} <= set(groups)


def test_a_page_without_losses_speaks_of_seeds_and_images(tmp_path: Path) -> None:
    after = BEFORE.copy()
    after[:, :3] = LABELS[:3]
    rd.audit(LABELS, BEFORE, after).save(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "can be told from the luck of seeds and images." in text
