"""Audits of what is nearly wrong: roundings, hidden warnings, classes of one image, odd names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion import command
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


def table(folder: Path, **columns: object) -> str:
    """Write columns into a .csv file; return its path."""
    before, after = answers(), answers()
    given = {"y": LABELS, "b": before, "a": after, **columns}
    pd.DataFrame(given).to_csv(folder / "t.csv", index=False)
    return str(folder / "t.csv")


def run(path: str, *words: str) -> int:
    of = ("--labels", f"{path}:y", "--before", f"{path}:b", "--after", f"{path}:a")
    return command.main(["audit", *of, *words])


def test_keys_that_look_like_decimals_are_names_as_written(tmp_path) -> None:
    keys = [f"1.{number}" for number in range(len(LABELS))]  # 1.1 and 1.10 are two
    path = table(tmp_path, k=keys)
    assert run(path, "--keys", f"{path}:k", "--out", str(tmp_path / "out")) == 0
    written = pd.read_csv(tmp_path / "out" / "flips.csv", dtype=str)["image"]
    assert set(written) <= set(keys)
    assert len(written) > 200


@pytest.mark.parametrize(
    "names", [["3.1", "3.10", "3.2"], ["01", "1", "2"], ["3e2", "1e5", "300"], ["inf", "nan", "1"]]
)
def test_classes_that_look_like_numbers_are_names_as_written(tmp_path, capsys, names) -> None:
    named = {one: np.array(names)[values] for one, values in zip("yba", given(), strict=True)}
    named["a"] = np.where(np.arange(len(LABELS)) == 5, "", named["a"])
    assert run(table(tmp_path, **named), "--out", str(tmp_path / "out")) == 0, capsys.readouterr()
    groups = pd.read_csv(tmp_path / "out" / "groups.csv", dtype=str, keep_default_na=False)
    assert sorted(groups["name"]) == sorted(names)
    assert "after gives no answer" in capsys.readouterr().out.replace("a gives", "after gives")


def given() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return LABELS, answers(), answers()


def test_measured_numbers_are_no_labels_and_scores_stay_numbers(tmp_path, capsys) -> None:
    path = table(tmp_path, y=RNG.random(len(LABELS)))
    assert run(path) == 2
    assert "classes are whole numbers or texts" in capsys.readouterr().err
    scores = np.round(RNG.random(len(LABELS)), 1)
    path = table(tmp_path, y=np.array(["no", "yes"])[LABELS % 2], b=scores, a=scores)
    assert run(path, "--threshold", "0.5", "--classes", "no,yes") == 0, capsys.readouterr()


@pytest.mark.parametrize("forms", ["objects", "numbers", "texts", "times"])
@pytest.mark.parametrize("networks", [(), (3,)])
def test_images_without_a_group_are_left_out_of_that_grouping(forms: str, networks) -> None:
    values = {
        "objects": np.array(["s", "t", None], object),
        "numbers": np.array([1.0, 2.0, np.nan]),
        "texts": np.array(["s", "t", ""]),
        "times": np.array(["2020", "2021", "NaT"], "M8[D]"),
    }[forms][np.arange(len(LABELS)) % 7 % 3]
    missing = np.arange(len(LABELS)) % 7 % 3 == 2
    before, after = answers(*networks), answers(*networks)
    found = rd.audit(LABELS, before, after, control=before, groups={"site": values})
    groups = found.tables["groups"]
    sites = groups[groups["grouping"] == "site"]
    assert len(sites) == 2
    assert sites["images"].sum() == (~missing).sum()
    assert groups[groups["grouping"] == "class"]["images"].sum() == len(LABELS)
    said = f"{missing.sum()} of 900 images have no site: they are left out of that grouping alone."
    assert said in found.warnings
    alone = rd.audit(
        LABELS[~missing],
        before[..., ~missing],
        after[..., ~missing],
        control=before[..., ~missing],
        groups={"site": values[~missing]},
    ).tables["groups"]
    pd.testing.assert_frame_equal(
        sites.reset_index(drop=True),
        alone[alone["grouping"] == "site"].reset_index(drop=True),
    )


def test_empty_cells_of_groups_are_no_group(tmp_path, capsys) -> None:
    path = table(tmp_path, g=np.where(LABELS == 1, "", "nan"), n=np.where(LABELS == 1, "", "1"))
    words = ("--groups", f"g={path}:g", "--groups", f"n={path}:n")
    assert run(path, *words, "--out", str(tmp_path / "out")) == 0
    groups = pd.read_csv(tmp_path / "out" / "groups.csv", dtype=str, keep_default_na=False)
    assert groups.set_index("grouping").loc[["g", "n"], "name"].tolist() == ["nan", "1"]
    assert "300 of 900 images have no g" in capsys.readouterr().out


def test_no_image_with_a_group_is_an_error() -> None:
    with pytest.raises(AuditError, match="groups, g: names no group"):
        rd.audit(LABELS, *given()[1:], groups={"g": [None] * len(LABELS)})


@pytest.mark.parametrize("words", [("--seed", "0"), ("--seed", "all"), ("--seed", "3")])
def test_a_seed_is_refused_with_files(tmp_path, capsys, words) -> None:
    assert run(table(tmp_path), *words) == 2
    assert "--seed and --network are for a study" in capsys.readouterr().err


@pytest.mark.parametrize(
    "keys",
    [np.arange(900, dtype="f4") / 10, np.arange(900).astype("M8[D]"), np.arange(900, dtype="u1")],
)
def test_images_are_found_by_keys_of_any_kind(tmp_path, keys: np.ndarray) -> None:
    size = len(np.unique(keys))
    images = np.zeros((size, 4, 4), np.uint8)
    after = {"same": answers()[:size], "other": answers()[:size]}
    found = rd.audit(LABELS[:size], after["same"], after, keys=keys[:size], images=images)
    found.save(tmp_path)
    assert (tmp_path / "report.html").read_text("utf-8").count("<img") > 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keys": [f"k{number}\udcff" for number in range(900)]}, "keys: 'k0\\udcff' holds half"),
        ({"classes": ["a\ud800", "b", "c"]}, "classes: 'a\\ud800' holds half"),
        ({"groups": {"g": ["\udcff"] * 900}}, "groups, g: '\\udcff' holds half"),
        ({"groups": {"\udcff": ["g"] * 900}}, "groups: '\\udcff' holds half"),
        ({"threshold": "a"}, "threshold: a number, not 'a'"),
        ({"threshold": True}, "threshold: a number, not True"),
        ({"level": "a"}, "level: between 0 and 1, such as 0.99, not 'a'"),
        ({"level": None}, "level: between 0 and 1, such as 0.99, not None"),
        ({"top_k": 2.0}, "top k: a whole number from 1 on, not 2.0"),
    ],
)
def test_what_no_file_can_hold_is_refused_before_the_audit(options, words: str) -> None:
    with pytest.raises(AuditError) as found:
        rd.audit(*given(), **options)
    assert words in str(found.value)


def test_half_characters_in_labels_and_candidates_are_refused() -> None:
    texts = np.array(["a\udcff", "b", "c"])
    with pytest.raises(AuditError, match=r"labels: 'a\\udcff' holds half a character"):
        rd.audit(*(texts[values] for values in given()))
    with pytest.raises(AuditError, match=r"after: 'x\\udcff' holds half a character"):
        rd.audit(LABELS, answers(), {"x\udcff": answers()})


def test_numbers_of_numpy_are_numbers(tmp_path) -> None:
    scores = probabilities(0), probabilities(1)
    found = rd.audit(LABELS, *scores, level=np.float32(0.9), top_k=np.int64(2))
    assert found.level == pytest.approx(0.9)
    pd.testing.assert_frame_equal(
        found.tables["groups"],
        rd.audit(LABELS, *scores, level=float(np.float32(0.9)), top_k=2).tables["groups"],
    )
    found.save(tmp_path, max_drop=np.float32(0.5), max_alpha=np.int64(9))
    assert found.decide(max_drop=np.float32(0.5)) == "within"
    with pytest.raises(AuditError, match="max drop: a number, not 'a'"):
        found.decide(max_drop="a")


EVIL = "a\x1b[31m\nx: within\x00\u202e"


def test_names_neither_speak_to_a_terminal_nor_end_a_line(tmp_path, capsys) -> None:
    before, after = answers(), answers()
    found = rd.audit(
        np.where(LABELS == 2, 3, LABELS),
        before,
        {EVIL: after},
        classes=[EVIL, "b", f"{EVIL}2", "c"],
        groups={EVIL: [EVIL] * len(LABELS)},
    )
    found.save(tmp_path, max_drop=0.01, about={EVIL: EVIL})
    written = (tmp_path / "report.html").read_text("utf-8")
    path = table(tmp_path)
    words = ("--classes", "a\x1b[31m,b,c\x00", "--max-drop", "0.01")
    of = ("--labels", f"{path}:y", "--before", f"{path}:b", "--after", f"\x1b]0;x={path}:a")
    assert command.main(["audit", *of, *words]) in (3, 4)
    assert command.main(["audit", *of[:4], "--after", "\x1b[31m.npy"]) == 2
    printed = capsys.readouterr()
    for text in (str(found), written, printed.out, printed.err):
        assert not set("\x1b\x00\u202e") & set(text)
    for text in (str(found), printed.out):
        assert not any(line.startswith("x: within") for line in text.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("quotes", [True, False])
def test_the_page_with_images_keeps_its_size_whatever_the_names(tmp_path, quotes: bool) -> None:
    many = 100
    labels = np.arange(6000) % many
    start = '"' * 37 if quotes else "𝕏" * 3000
    before, after = (
        np.where(RNG.random(6000) < 0.5, labels, (labels + step) % many) for step in (1, 2)
    )
    found = rd.audit(
        labels,
        before,
        after,
        classes=[f"{start}{number:03}" for number in range(many)],
        keys=['"' * 26 + f"{number:04}" for number in range(6000)],
        images=RNG.integers(0, 256, (6000, 12, 12, 3), dtype=np.uint8),
    )
    found.save(tmp_path, max_drop=0.1)
    size = (tmp_path / "report.html").stat().st_size
    assert 1_600_000 < size < 2_000_000


def test_a_page_without_room_for_images_says_so(tmp_path, monkeypatch) -> None:
    from recall_distortion.auditing import page

    monkeypatch.setattr(page, "LARGEST", 100)
    images = np.zeros((len(LABELS), 4, 4), np.uint8)
    for after, words in (
        (answers(), "the rest of the page, of 3 classes, leaves no room"),
        (None, "</b>: none flipped."),
    ):
        before = answers()
        rd.audit(LABELS, before, before if after is None else after, images=images).save(tmp_path)
        assert words in (tmp_path / "report.html").read_text("utf-8")


def test_what_lies_beside_images_is_none(tmp_path) -> None:
    from PIL import Image

    for number in range(len(LABELS)):
        Image.new("L", (4, 4)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.png.json").write_text("{}")
        (tmp_path / f"{number}.txt").write_text("x")
    for keys in (None, [f"{number}.png" for number in range(len(LABELS))]):
        found = rd.audit(LABELS, answers(), answers(), images=tmp_path, keys=keys)
        found.save(tmp_path / "out")
        assert "<img" in (tmp_path / "out" / "report.html").read_text("utf-8")
    Image.new("L", (4, 4)).save(tmp_path / "3.gif")
    with pytest.raises(AuditError, match=r"3\.gif and .*3\.png are of the same key"):
        rd.audit(LABELS, answers(), answers(), images=tmp_path)


def test_the_page_of_several_networks_says_what_its_intervals_assume(tmp_path) -> None:
    assumption = "take the seeds’ effects as about normal"
    for networks, said in (((5,), True), ((), False)):
        rd.audit(LABELS, answers(*networks), answers(*networks)).save(tmp_path)
        assert (assumption in (tmp_path / "report.html").read_text("utf-8")) == said


def test_ctrl_c_ends_in_one_line(tmp_path, capsys, monkeypatch) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recall_distortion.auditing.words.audit", interrupted)
    assert run(table(tmp_path)) == 130
    assert capsys.readouterr().err == "recall-distortion: stopped by Ctrl-C\n"


def test_a_closed_output_is_no_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert run(table(tmp_path), "--out", str(tmp_path / "out")) == 0
    assert (tmp_path / "out" / "report.html").is_file()
