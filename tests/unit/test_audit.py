"""An audit of predictions: tables against counts by hand, decisions, wrong input, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.auditing.decision import Limits, images_needed
from recall_distortion.auditing.reading import read
from recall_distortion.inference.statistics.paired import cautious, mcnemar, tango, wilson
from recall_distortion.system.errors import AuditError

CLASSES = ["cat", "dog", "eel"]
#: By class: images right before and after, lost, gained, wrong both times.
KINDS = {"cat": (900, 20, 30, 50), "dog": (700, 80, 20, 200), "eel": (500, 0, 0, 100)}


def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and the answers before and after that ``KINDS`` counts; wrong ones are next."""
    labels, before, after = [], [], []
    for label, counts in enumerate(KINDS.values()):
        wrong = (label + 1) % 3
        pairs = [(label, label), (label, wrong), (wrong, label), (wrong, wrong)]
        for (one, other), count in zip(pairs, counts, strict=True):
            labels += [label] * count
            before += [one] * count
            after += [other] * count
    order = np.random.default_rng(0).permutation(len(labels))
    return tuple(np.array(values)[order] for values in (labels, before, after))


LABELS, BEFORE, AFTER = answers()


@pytest.fixture
def found() -> rd.auditing.Audit:
    return rd.audit(LABELS, BEFORE, AFTER, classes=CLASSES)


def of_classes(found: rd.auditing.Audit, candidate: str = "after") -> pd.DataFrame:
    groups = found.tables["groups"]
    rows = groups[(groups["grouping"] == "class") & (groups["candidate"] == candidate)]
    return rows.set_index("name")


def test_classes_are_counted_and_have_the_intervals_of_their_counts(found) -> None:
    classes = of_classes(found)
    assert list(classes.index) == CLASSES
    for name, (both, lost, gained, neither) in KINDS.items():
        row, n = classes.loc[name], both + lost + gained + neither
        assert (row["images"], row["lost"], row["gained"]) == (n, lost, gained)
        assert row["flipped"] == lost + gained
        assert row["before"] == (both + lost) / n
        assert row["after"] == (both + gained) / n
        assert row["change"] == pytest.approx((gained - lost) / n)
        assert (row["low"], row["high"]) == tango(lost, gained, n, 0.99)
        simultaneous = cautious(lost, gained, n, 1 - 0.01 / 3)
        assert (row["simultaneous_low"], row["simultaneous_high"]) == simultaneous
        assert (row["lost_share_low"], row["lost_share_high"]) == wilson(lost, n, 0.99)
        assert row["p"] == mcnemar(lost, gained).mid
    assert list(classes["verdict"]) == ["inconclusive", "loss", "inconclusive"]
    weighted = (classes["excess"] * classes["images"]).sum()
    assert weighted == pytest.approx(0, abs=1e-9)


def test_the_whole_is_counted(found) -> None:
    (whole,) = found.tables["models"].to_dict("records")
    assert whole["images"] == len(LABELS)
    assert whole["change"] == pytest.approx((AFTER == LABELS).mean() - (BEFORE == LABELS).mean())
    assert whole["alpha"] == pytest.approx(
        rd.slope(*(balances(values) for values in (BEFORE, AFTER))), abs=0.05
    )  # cross-fitted, which takes little away with classes of this size
    assert whole["alpha_low"] < whole["alpha"] < whole["alpha_high"]
    assert whole["largest_loss"] == pytest.approx(60 / 1000)
    assert whole["largest_loss_crossfit"] == pytest.approx(60 / 1000, abs=1e-3)


def balances(predictions: np.ndarray) -> np.ndarray:
    return rd.recall_table(LABELS, predictions, CLASSES)["normalized_balance"].to_numpy()


def test_the_largest_loss_of_classes_that_change_alike_is_luck() -> None:
    """Each of 50 classes loses 5 %; the largest looks like twice that, cross-fitted it does not."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(50), 100)
    before = np.where(rng.random(5000) < 0.9, labels, (labels + 1) % 50)
    after = np.where(rng.random(5000) < 0.05, (before + 1) % 50, before)
    (whole,) = rd.audit(labels, before, after).tables["models"].to_dict("records")
    assert whole["largest_loss"] > 0.08
    assert whole["largest_loss_crossfit"] == pytest.approx(0.045, abs=0.02)


def test_flows_say_where_lost_images_went(found) -> None:
    flows = found.tables["flows"]
    assert flows[["class", "to", "images"]].to_numpy().tolist() == [
        ["dog", "eel", 80],
        ["cat", "dog", 20],
    ]
    assert (flows["share"] == 1).all()


def test_flips_are_the_images_whose_answer_changed() -> None:
    keys = np.array([f"image {i}" for i in range(len(LABELS))])
    found = rd.audit(LABELS, BEFORE, AFTER, classes=CLASSES, keys=keys)
    flips = found.tables["flips"]
    assert set(flips["image"]) == set(keys[BEFORE != AFTER])
    assert flips["kind"].value_counts().to_dict() == {"lost": 100, "gained": 50}
    assert list(flips["kind"].head(100).unique()) == ["lost"]


def test_flips_begin_with_the_largest_drop_of_the_true_class() -> None:
    before = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    after = np.array([[0.4, 0.6], [0.45, 0.55], [0.1, 0.9]])
    flips = rd.audit([0, 0, 0], before, after).tables["flips"]
    assert list(flips["image"]) == [2, 0, 1]
    np.testing.assert_allclose(flips["probability_before"], [0.8, 0.9, 0.6])


def test_another_grouping_has_the_same_columns() -> None:
    sensor = np.where(np.arange(len(LABELS)) % 2, "left", "right")
    found = rd.audit(LABELS, BEFORE, AFTER, groups={"sensor": sensor})
    groups = found.tables["groups"]
    sensors = groups[groups["grouping"] == "sensor"].set_index("name")
    assert list(sensors.index) == ["left", "right"]
    left = sensor == "left"
    assert sensors.loc["left", "before"] == (BEFORE == LABELS)[left].mean()
    assert len(found.summary()["candidates"]["after"]["classes"]) == 3


FORMS = {
    "texts": lambda values: np.array(CLASSES)[values],
    "objects": lambda values: np.array(CLASSES, object)[values],
    "one byte": lambda values: values.astype(np.uint8),
    "lists": list,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_classes_does_not_matter(form: str, found) -> None:
    same = rd.audit(*(FORMS[form](values) for values in (LABELS, BEFORE, AFTER)), classes=CLASSES)
    pd.testing.assert_frame_equal(same.tables["groups"], found.tables["groups"])


def test_texts_that_look_like_numbers_are_names() -> None:
    """In the order of names 10 comes before 2."""
    labels = np.array(["1", "10", "2"] * 20)
    numbers = labels.astype(int)
    found = rd.audit(labels, numbers, np.where(numbers == 10, -1, numbers))
    assert of_classes(found)["before"].to_dict() == {"1": 1, "10": 1, "2": 1}
    assert of_classes(found)["after"].to_dict() == {"1": 1, "10": 0, "2": 1}


@pytest.mark.parametrize("kind", ["probabilities", "half precision", "logits"])
def test_scores_say_the_same_as_the_classes_with_the_highest(kind: str, found) -> None:
    def scores(values: np.ndarray) -> np.ndarray:
        logits = np.full((len(values), 3), -1.0)
        logits[np.arange(len(values)), values] = 2
        if kind == "logits":
            return logits
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return shares.astype(np.float16) if kind == "half precision" else shares

    same = rd.audit(LABELS, scores(BEFORE), scores(AFTER), classes=CLASSES)
    pd.testing.assert_frame_equal(same.tables["groups"], found.tables["groups"])
    likely = np.exp(2) / (np.exp(2) + 2 * np.exp(-1))
    lost = same.tables["flips"].query("kind == 'lost'")
    np.testing.assert_allclose(lost["probability_before"], likely, rtol=2e-3)


def test_top_k_counts_the_k_highest() -> None:
    scores = np.array([[3.0, 2, 1], [1, 2, 3], [1, 3, 2]])
    found = rd.audit([1, 0, 1], scores, scores, top_k=2)
    assert found.tables["models"]["before"][0] == pytest.approx(2 / 3)


def test_a_threshold_makes_answers_of_scores() -> None:
    labels = np.repeat([0, 1], 50)
    before = np.where(labels, 0.8, 0.3)
    found = rd.audit(labels, before, before - 0.2, threshold=0.5)
    classes = of_classes(found)
    assert classes["before"].tolist() == [1, 1]
    assert classes["after"].tolist() == [1, 1]
    found = rd.audit(labels, before, before - 0.4, threshold=0.5)
    assert of_classes(found)["after"].tolist() == [1, 0]


@pytest.mark.parametrize("nothing", [-1, np.nan, None, ""])
def test_no_answer_is_a_wrong_one_and_is_counted(nothing: object) -> None:
    texts = nothing in ("", None)
    labels = np.array(CLASSES)[LABELS] if texts else LABELS
    after = labels.astype(object if texts else type(nothing))
    after[:30] = nothing
    found = rd.audit(labels, labels, after, classes=CLASSES if texts else None)
    assert found.tables["models"]["no_answer_after"][0] == 30 / len(LABELS)
    assert found.tables["models"]["lost"][0] == 30
    assert any("no answer to 30 of" in words for words in found.warnings)


def test_what_a_reader_has_to_know_is_said() -> None:
    rng = np.random.default_rng(2)
    found = rd.audit(LABELS, BEFORE, {"shuffled": rng.permutation(AFTER), "same": BEFORE})
    shuffled, same = found.warnings
    assert "shuffled agrees with the labels no better than chance" in shuffled
    assert "same gives the same answers as before" in same
    missing = rd.audit(LABELS, BEFORE, AFTER, classes=[*CLASSES, "fly"])
    assert missing.warnings == [
        "1 of 4 classes have no test image (fly): nothing is known of them."
    ]
    assert of_classes(missing).loc["fly", "verdict"] == ""


def test_a_control_is_what_effects_are_read_against() -> None:
    """It loses the same dogs and no others: nothing is beyond it but 20 cats."""
    control = np.where((LABELS == 1) & (BEFORE != AFTER), AFTER, BEFORE)
    found = rd.audit(LABELS, BEFORE, AFTER, control=control, classes=CLASSES)
    classes = of_classes(found)
    assert classes["control"].to_dict() == {
        name: (control == LABELS)[place == LABELS].mean() for place, name in enumerate(CLASSES)
    }
    assert classes["over_control"].to_dict() == pytest.approx({"cat": 0.01, "dog": 0, "eel": 0})
    cat = classes.loc["cat"]
    assert (cat["over_control_low"], cat["over_control_high"]) == tango(20, 30, 1000, 0.99)
    assert set(classes["over_control_verdict"]) == {"inconclusive"}
    (whole,) = found.tables["models"].to_dict("records")
    alone = rd.audit(LABELS, BEFORE, control, classes=CLASSES).tables["models"]["alpha"][0]
    assert whole["alpha_control"] == pytest.approx(alone)
    assert whole["alpha_over_control"] == pytest.approx(whole["alpha"] - alone)
    assert (
        whole["alpha_over_control_low"]
        < whole["alpha_over_control"]
        < whole["alpha_over_control_high"]
    )
    without = rd.audit(LABELS, BEFORE, AFTER, classes=CLASSES)
    assert of_classes(without)["over_control"].isna().all()
    assert list(without.tables["groups"]) == list(found.tables["groups"])


def test_limits_decide_by_intervals(found) -> None:
    with pytest.raises(AuditError, match="give max_drop, max_excess or max_alpha"):
        found.decide()
    assert found.decide(max_drop=0.3) == "within"
    assert found.decide(max_drop=0.02) == "beyond"  # dogs lose 6 points
    assert found.decide(max_drop=0.06) == "undecided"
    assert found.decide(max_excess=0.005) == "beyond"
    assert found.decide(max_excess=0.2) == "within"
    assert found.decide(max_drop=0.3, max_excess=0.005) == "beyond"
    assert found.decide(max_alpha=1.01) == "beyond"
    assert found.decide(max_alpha=5.0) == "within"


def test_equal_scores_are_no_gain_among_the_first_k() -> None:
    """Coarse scores, as of a quantized model, have many; the first of them counts as the higher."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 10, 3000)
    logits = rng.normal(size=(3000, 10)) + 2.0 * np.eye(10)[labels]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    coarse = np.round(shares * 15)
    found = rd.audit(labels, shares, coarse, top_k=5, scores="logits").tables["models"]
    assert found["after"][0] <= found["before"][0]
    even = rd.audit(labels, np.full((3000, 10), 0.1), np.full((3000, 10), 0.1), top_k=2)
    assert even.tables["models"]["after"][0] == (labels < 2).mean()


def test_what_is_lost_among_the_first_k_is_listed() -> None:
    before = np.array([[3.0, 2, 1]] * 4)
    after = np.array([[3.0, 1, 2]] * 4)
    found = rd.audit([1, 1, 1, 0], before, after, top_k=2)
    assert found.tables["models"]["lost"][0] == 3
    assert list(found.tables["flips"]["kind"]) == ["lost"] * 3


def test_a_class_of_one_image_takes_alpha_from_no_other(found) -> None:
    labels, before, after = (np.append(values, 3) for values in (LABELS, BEFORE, AFTER))
    one = rd.audit(labels, before, after, classes=[*CLASSES, "fly"])
    assert one.tables["models"]["alpha"][0] == pytest.approx(found.tables["models"]["alpha"][0])
    assert "1 class has a single test image" in one.warnings[0]


def test_numbers_are_the_classes_order_where_it_is_given() -> None:
    classes = ["2", "0", "1"]
    labels = np.array(classes)[LABELS]
    assert rd.audit(labels, BEFORE, AFTER, classes=classes).tables["models"]["before"][0] == (
        (BEFORE == LABELS).mean()
    )


def test_texts_that_look_like_numbers_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n007,7,True\n7,8,False\n")
    assert read(f"{tmp_path}/t.csv:a").tolist() == ["007", "7"]
    assert read(f"{tmp_path}/t.csv:b").tolist() == [7, 8]
    assert read(f"{tmp_path}/t.csv:c").tolist() == ["True", "False"]


@pytest.mark.parametrize("limit", ["max_drop", "max_excess"])
@pytest.mark.parametrize("value", [2, 1.0, 0, -0.1, float("nan")])
def test_a_limit_on_recall_is_a_share(found, limit: str, value: float) -> None:
    """2 for 2 % would let everything pass."""
    with pytest.raises(AuditError, match=r"2 points are 0\.02"):
        found.decide(**{limit: value})


def test_answers_of_other_images_are_never_within_a_limit() -> None:
    order = np.random.default_rng(3).permutation(len(LABELS))
    found = rd.audit(LABELS[order], BEFORE, AFTER)
    assert found.doubted == ["before", "after"]
    assert found.decide(max_drop=0.5) == "undecided"
    assert rd.audit(LABELS, BEFORE, AFTER).decide(max_drop=0.5) == "within"


def test_the_ends_of_a_finding_are_those_that_decide(found) -> None:
    """What is undecided has the limit between them, what is beyond lies above it."""
    for tolerated in (0.005, 0.02, 0.06, 0.09, 0.3):
        for one in found.findings(Limits(tolerated, tolerated)):
            if one.decision == "within":
                assert one.high < tolerated
            elif one.decision == "beyond":
                assert one.low > tolerated
            else:
                assert one.low <= tolerated <= one.high


def test_a_summary_says_what_was_decided(found) -> None:
    said = found.summary(Limits(drop=0.02))
    assert said["limits"] == {"drop": 0.02, "excess": None, "alpha": None}
    assert said["decision"] == "beyond"
    assert said["findings"][0]["name"] == "dog"
    assert found.summary()["decision"] is None


def test_labels_that_begin_at_one_are_noticed() -> None:
    found = rd.audit(LABELS + 1, BEFORE, AFTER)
    assert any("agree if the labels begin at 1: subtract 1" in words for words in found.warnings)
    found = rd.audit(LABELS, BEFORE + 1, AFTER)
    assert any("agree if the answers begin at 1: subtract 1" in words for words in found.warnings)


@pytest.mark.parametrize("given", [None, CLASSES])
def test_columns_that_are_named_as_classes_are_taken_by_name(given) -> None:
    labels = np.array(CLASSES)[LABELS]
    scores = pd.DataFrame(ONE_HOT[BEFORE] * 1.0, columns=CLASSES)
    found = rd.audit(labels, scores, scores[["eel", "cat", "dog"]], classes=given)
    assert found.tables["models"]["before"][0] == (BEFORE == LABELS).mean()
    assert found.tables["models"]["flipped"][0] == 0
    with pytest.raises(AuditError, match="give the columns the classes' names"):
        rd.audit(labels, scores.rename(columns={"eel": "fly"}), scores, classes=given)


def test_the_order_of_nameless_columns_is_not_guessed() -> None:
    with pytest.raises(AuditError, match="name the classes in the order of the columns"):
        rd.audit(np.array(CLASSES)[LABELS], ONE_HOT[BEFORE] * 1.0, AFTER)


def test_an_audit_reads_as_the_command_prints_it(found) -> None:
    assert "after: accuracy 0.8462 -> 0.8269" in str(found)


@pytest.mark.parametrize("name", ["before", "control"])
def test_a_candidate_may_not_be_called_as_another_model_is(name: str) -> None:
    with pytest.raises(AuditError, match=f"a candidate is called {name}"):
        rd.audit(LABELS, BEFORE, {name: AFTER})


def test_the_worst_candidate_decides() -> None:
    found = rd.audit(LABELS, BEFORE, {"same": BEFORE, "worse": AFTER})
    assert found.decide(max_drop=0.02) == "beyond"
    same = rd.audit(LABELS, BEFORE, BEFORE)  # which has 600 eels
    assert same.decide(max_drop=0.01) == "undecided"
    assert same.decide(max_drop=0.02) == "within"


def test_a_class_without_images_is_never_within() -> None:
    found = rd.audit(LABELS, BEFORE, BEFORE, classes=[*CLASSES, "fly"])
    assert found.decide(max_drop=0.9) == "undecided"


def test_how_many_images_show_that_nothing_is_lost() -> None:
    needed = images_needed(0.02, 0.99)
    assert needed == 326
    assert tango(0, 0, needed, 0.99).high < 0.02 < tango(0, 0, needed - 1, 0.99).high


ONE_HOT = np.eye(3, dtype=int)


@pytest.mark.parametrize(
    ("labels", "before", "words"),
    [
        (LABELS, BEFORE[:-1], "before: holds 2599 predictions, but there are 2600 labels"),
        (ONE_HOT[LABELS], BEFORE, "as one-hot labels have; give the classes, values.argmax(1)"),
        (LABELS[:, None], BEFORE, "make it a vector, values[:, 0]"),
        (LABELS + 0.5, BEFORE, "classes are whole numbers or texts"),
        (LABELS - 1, BEFORE, "holds the label -1"),
        (LABELS + 1, ONE_HOT[BEFORE] * 1.0, "The labels run from 1: subtract 1"),
        (np.array(CLASSES)[LABELS], BEFORE, "before: holds integers, and the labels are texts"),
        (LABELS, np.array(CLASSES)[BEFORE], "before: holds texts such as"),
        (LABELS, ONE_HOT[BEFORE] * np.nan, "image 0 has scores that are no finite numbers"),
        (LABELS, ONE_HOT[BEFORE] * 0.5, "sum to 0.5: probabilities of one class among several"),
        (LABELS, BEFORE + 0.5, "scores of a model of two classes need a threshold"),
        (LABELS, BEFORE - 5, "holds the class -5; -1 is no answer"),
        (np.where(LABELS, "cat", ""), BEFORE, "has no label"),
        (np.array([], int), np.array([], int), "labels: is empty"),
        (np.zeros((4, 2, 2), int), BEFORE, "has shape [4, 2, 2]"),
        (LABELS * 1_000_000, BEFORE, "holds the class 2000000 among 2600"),
    ],
)
def test_wrong_input_is_one_message(labels: np.ndarray, before: np.ndarray, words: str) -> None:
    with pytest.raises(AuditError) as found:
        rd.audit(labels, before, AFTER)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ["cat", "dog"]}, "holds the label 2, but there are 2 classes"),
        ({"classes": ["cat", "dog", "cat"]}, "'cat' is named twice"),
        ({"keys": np.zeros(len(LABELS))}, "keys: 0.0 names 2600 images"),
        ({"keys": [1, 2]}, "keys: have shape [2]"),
        ({"groups": {"class": LABELS}}, "give yours another name"),
        ({"groups": {"sensor": [1]}}, "groups, sensor: has shape [1]"),
        ({"control": BEFORE[:9]}, "control: holds 9 predictions"),
        ({"top_k": 1.5}, "top k: a whole number from 1 on"),
        ({"top_k": -1}, "top k: a whole number from 1 on"),
        ({"scores": "probs"}, "scores: auto or logits"),
        ({"threshold": float("nan")}, "threshold: a number"),
        ({"classes": []}, "classes: names none"),
        ({"level": "0.99"}, "level: between 0 and 1"),
        ({"groups": [LABELS]}, "groups: give them by name"),
        ({"control": [[1, 2], [3]]}, "control: cannot be read as an array"),
        ({"control": np.ma.array(BEFORE, mask=BEFORE == 1)}, "control: is a masked array"),
        ({"control": np.where(BEFORE, BEFORE, 10**9)}, "holds the class 1000000000 among"),
        ({"top_k": 2}, "top 2 needs a score for each class"),
        ({"threshold": 0.5}, "a threshold is for two classes, and here are 3"),
    ],
)
def test_wrong_options_are_one_message(options: dict, words: str) -> None:
    with pytest.raises(AuditError) as found:
        rd.audit(LABELS, BEFORE, AFTER, **options)
    assert words in str(found.value)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, values in (("y", LABELS), ("before", BEFORE), ("after", AFTER)):
        np.save(f"{name}.npy", values)
    np.savez("all.npz", y=LABELS, before=BEFORE, after=AFTER)
    table = pd.DataFrame({"y": LABELS, "before": BEFORE, "after": AFTER})
    table.to_csv("all.csv", index=False)
    table.to_parquet("all.parquet")
    np.savetxt("head.csv", AFTER, fmt="%d")
    Path("text.npy").write_text("1\n2\n")
    Path("header.csv").write_text("label\n")
    return tmp_path


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_one_file_may_hold_everything(files: Path, suffix: str) -> None:
    for name, values in (("y", LABELS), ("before", BEFORE), ("after", AFTER)):
        np.testing.assert_array_equal(read(f"all.{suffix}:{name}"), values)
    with pytest.raises(AuditError, match="name one as"):
        read(f"all.{suffix}")
    with pytest.raises(AuditError, match="'x'"):
        read(f"all.{suffix}:x")


def test_scores_may_be_a_table(files: Path) -> None:
    pd.DataFrame(ONE_HOT[BEFORE] * 1.0).to_csv("scores.csv", index=False)
    np.testing.assert_array_equal(read("scores.csv", scores=True), ONE_HOT[BEFORE])
    # Pandas writes the rows' numbers unless it is told not to.
    pd.DataFrame(ONE_HOT[BEFORE] * 1.0).to_csv("scores_of_rows.csv")
    np.testing.assert_array_equal(read("scores_of_rows.csv", scores=True), ONE_HOT[BEFORE])
    pd.DataFrame({"y": LABELS}).to_csv("labels.csv")
    np.testing.assert_array_equal(read("labels.csv"), LABELS)


@pytest.mark.parametrize("first", [1, 0, 7])
def test_a_saved_column_of_rows_is_no_class(files: Path, first: int) -> None:
    """R begins at 1; what was chosen from a larger table begins anywhere, in any order."""
    scores = pd.DataFrame(ONE_HOT[BEFORE] * 1.0)
    scores.index = (
        np.random.default_rng(0).permutation(len(scores)) if first == 7 else (scores.index + first)
    )
    scores.to_csv("rows.csv")
    np.testing.assert_array_equal(read("rows.csv", scores=True), ONE_HOT[BEFORE])
    assert read("rows.csv:Unnamed: 0").tolist() == scores.index.tolist()
    pd.DataFrame({"y": LABELS}, index=scores.index).to_csv("labels.csv")
    np.testing.assert_array_equal(read("labels.csv"), LABELS)
    if first != 7:
        scores.to_csv("named.csv", index_label="row")
        with pytest.raises(AuditError, match=r"named.csv: its column row counts the rows"):
            read("named.csv", scores=True)


@pytest.mark.parametrize("name", ["nan", "NA", "None", "null"])
def test_a_class_of_any_name_is_read_back(tmp_path: Path, name: str) -> None:
    names = [name, "dog", "eel"]
    found = rd.audit(LABELS, BEFORE, AFTER, classes=names)
    found.save(tmp_path)
    for kind in ("groups", "flows", "flips"):
        table = pd.read_csv(tmp_path / f"{kind}.csv", keep_default_na=False, na_values=[""])
        for column in {"name", "class", "to", "before", "after"} & set(table):
            if found.tables[kind][column].dtype.kind not in "fi":
                assert list(table[column]) == list(found.tables[kind][column])
    assert name in found.summary()["candidates"]["after"]["classes"]


def test_a_class_may_be_called_na(files: Path) -> None:
    Path("na.csv").write_text("label\nNA\nnull\n1\n")
    assert read("na.csv").tolist() == ["NA", "null", "1"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.npy", None, "there is no such file"),
        ("text.txt", b"1\n2\n", "give a file that ends in"),
        ("cut.npy", b"\x93NUMPY", "cannot be read"),
        ("cut.npz", b"PK", "is no .npz file"),
        ("cut.npz", b"PK\x03\x04garbage", "cannot be read"),
        ("odd.csv", b"a\n1,2,3\n1\n\xff\n", "cannot be read"),
        ("cut.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AuditError) as found:
        read(str(tmp_path / name))
    assert name in str(found.value)
    assert words in str(found.value)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = command.main(["audit", *words])
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


GIVEN = ("--labels", "y.npy", "--before", "before.npy", "--after")


def test_the_command_prints_an_answer_and_writes_tables(files: Path, capsys) -> None:
    words = (*GIVEN, "pruned=after.npy", "--classes", "cat,dog,eel", "--out", "out")
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    assert "pruned: accuracy 0.8462 -> 0.8269" in out
    first = next(line for line in out.splitlines() if line.strip().startswith("dog"))
    assert first.split()[-1] == "loss"
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["schema"] == 2
    assert summary["candidates"]["pruned"]["classes"]["dog"]["lost"] == 80
    assert {path.name for path in Path("out").iterdir()} == {
        *("models.csv", "groups.csv", "flows.csv", "flips.csv", "measures.csv"),
        *("class_measures.csv", "summary.json", "report.html"),
    }


@pytest.mark.parametrize(
    ("limits", "status", "words"),
    [
        (("--max-drop", "0.3"), 0, "after: within: every class is within"),
        (("--max-drop", "0.02"), 3, "1: loss 0.0600"),
        (("--max-drop", "0.06"), 4, "after: undecided: this test set cannot tell"),
        (("--max-drop", "0.06", "--undecided-passes"), 0, "undecided"),
        (("--max-alpha", "1.01"), 3, "alpha"),
    ],
)
def test_the_exit_status_says_what_was_decided(
    files: Path, capsys, limits: tuple[str, ...], status: int, words: str
) -> None:
    found, out, _ = run(capsys, *GIVEN, "after.npy", *limits)
    assert found == status
    assert words in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*GIVEN, "none.npy"), "none.npy: there is no such file"),
        ((*GIVEN, "after.npy", "--max-drop", "-1"), "a number above 0, such as 0.001, not '-1'"),
        ((*GIVEN, "after.npy", "--groups", "x.npy"), "--groups x.npy: give it as NAME=FILE"),
        ((*GIVEN, "after.npy", "--after", "after.npy"), "two candidates are called after"),
        ((*GIVEN, "after.npy", "--max-drop", "2"), "max drop: a share of recall between 0 and 1"),
        ((*GIVEN, "after.npy", "--method", "x"), "are for a study: name its folder"),
        (("--labels", "header.csv", *GIVEN[2:], "after.npy"), "labels (header.csv): is empty"),
        ((*GIVEN, "after.npy", "--undecided-passes"), "there is no limit to decide by"),
        (
            (*GIVEN, "after.npy", "--classes", "none.txt"),
            "--classes none.txt: there is no such file",
        ),
        ((*GIVEN, "after.npy", "--groups", "a=y.npy", "--groups", "a=y.npy"), "the same name"),
        ((*GIVEN, "head.csv"), "head.csv: its first line, 0, is numbers"),
        ((*GIVEN, "text.npy"), "text.npy: holds Python objects or is no .npy file"),
        ((*GIVEN, "after.npy", "--level", "99"), "level: between 0 and 1, such as 0.99, not 99.0"),
    ],
)
def test_wrong_words_write_nothing(files: Path, capsys, words: tuple[str, ...], said: str) -> None:
    status, out, err = run(capsys, *words, "--out", "out")
    assert status == 2
    assert out == ""
    assert said in err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--after", "int8=cut.npy"), "int8 (cut.npy): holds 9 predictions, but there are 2600"),
        (("--after", "cut.npy"), "cut (cut.npy): holds 9 predictions"),
        (("--after", "after.npy", "--control", "cut.npy"), "control (cut.npy): holds 9"),
        (("--after", "after.npy", "--keys", "cut.npy"), "keys (cut.npy): have shape [9]"),
        (("--after", "after.npy", "--groups", "a=cut.npy"), "groups, a (cut.npy): has shape [9]"),
        (("--after", "after.npy", "--before", "cut.npy"), "before (cut.npy): holds 9"),
        (("--after", "all.csv:x"), "all.csv: has no column 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(
    files: Path, capsys, words: tuple[str, ...], said: str
) -> None:
    np.save("cut.npy", AFTER[:9])
    status, out, err = run(capsys, *GIVEN[:4], *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"recall-distortion audit: error: {said}")


@pytest.mark.parametrize("words", [("--max-drop", "-1"), ("--nonsense",), ("--top-k", "x")])
def test_wrong_words_are_one_line(files: Path, capsys, words: tuple[str, ...]) -> None:
    status, out, err = run(capsys, *GIVEN, "after.npy", *words)
    assert (status, out) == (2, "")
    assert err.startswith("recall-distortion audit: error: ")
    assert err.count("\n") == 1
    assert words[0] in err


def test_answers_of_other_images_do_not_pass_as_undecided(files: Path, capsys) -> None:
    np.save("y.npy", np.random.default_rng(3).permutation(LABELS))
    words = (*GIVEN, "after.npy", "--max-drop", "0.5", "--undecided-passes")
    status, out, _ = run(capsys, *words)
    assert status == 4
    assert "no better than chance" in out


def test_a_file_is_no_folder_to_write_to(files: Path, capsys) -> None:
    status, out, err = run(capsys, *GIVEN, "after.npy", "--out", "y.npy")
    assert (status, out) == (2, "")
    assert "--out y.npy: is a file; name a folder" in err


def test_a_folder_that_cannot_be_made_is_named(files: Path, capsys) -> None:
    status, _, err = run(capsys, *GIVEN, "after.npy", "--out", "/proc/nowhere")
    assert status == 2
    assert "--out /proc/nowhere: cannot be written to" in err


def test_a_threshold_is_for_one_score() -> None:
    scores = np.array([[0.4, 0.6], [0.7, 0.3]])
    with pytest.raises(AuditError, match="a threshold is for one score an image"):
        rd.audit([0, 1], scores, scores, threshold=0.6)
    # Of one of the two classes there may be no image.
    found = rd.audit([0] * 20, np.linspace(0, 0.4, 20), np.linspace(0.3, 0.9, 20), threshold=0.5)
    assert set(found.tables["flows"]["to"]) == {"1"}


def test_other_groups_are_printed_too(files: Path, capsys) -> None:
    np.save("sensor.npy", np.where(np.arange(len(LABELS)) % 2, "left", "right"))
    _, out, _ = run(capsys, *GIVEN, "after.npy", "--groups", "sensor=sensor.npy")
    assert {"sensor", "left", "right"} <= set(out.split())
