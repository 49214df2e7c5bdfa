"""The page of an audit: what it says of the numbers, of many classes, and of odd names."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import recall_distortion as rd


def page(folder: Path, *given: object, drop: float | None = None, **options: object) -> str:
    """Return the page of an audit, as it is written."""
    rd.audit(*given, **options).save(folder / "pets", max_drop=drop, about={"labels": "y.npy"})
    return (folder / "pets/report.html").read_text("utf-8")


def words(text: str) -> str:
    """Return what a reader sees, roughly."""
    body = re.sub(r"<(style|script)>.*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.fixture
def pets() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1,000 cats, of which 60 are lost, and 1,000 dogs, of which none is."""
    labels = np.repeat(["cat", "dog"], 1000)
    before = labels.copy()
    before[[*range(900, 1000), *range(1900, 2000)]] = "eel"
    after = before.copy()
    after[:60] = "dog"
    return labels, before, after


def test_the_page_says_what_was_decided_and_why(tmp_path, pets) -> None:
    said = words(page(tmp_path, *pets, drop=0.02))
    assert "Asked, of the change from before to after: no class may lose 2 points" in said
    assert "beyond: a limit is exceeded 1 of 2 classes lost recall: cat (−6.0), in points." in said
    assert "cat: loss 6.0, at least 4.0, at most 8.2; tolerated 2" in said
    assert "labels y.npy package recall-distortion" in said
    assert "cat dog 60 100 %" in said  # where lost images went
    assert "Images whose answer changed 60" in said


def test_without_limits_nothing_is_decided(tmp_path, pets) -> None:
    said = words(page(tmp_path, *pets))
    assert "Asked" not in said
    assert "limit is exceeded" not in said


def test_an_undecided_page_says_how_many_images_it_takes(tmp_path, pets) -> None:
    labels, before, _ = pets
    said = words(page(tmp_path, labels, before, before, drop=0.001))
    assert "undecided: this test set cannot tell No change of the model or of any class" in said
    assert "Even a model that changed nothing needs 6,629 images in a class" in said
    assert "Look at this first. after gives the same answers as before" in said


def test_of_many_classes_the_ends_are_shown_and_the_rest_can_be_found(tmp_path) -> None:
    labels = np.repeat(np.arange(300), 20)
    after = np.where(np.arange(6000) % 7, labels, (labels + 1) % 300)
    text = page(tmp_path, labels, labels, after)
    by_class, _ = text.split("<h3>Before and after</h3>")
    rows = re.findall(r"<tr( hidden)?><th scope=\"row\">", by_class)
    assert len(rows) == 300
    assert rows.count("") == 40
    assert 'type="search" hidden' in text  # shown by the script
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert len(text) < 500_000


def test_names_are_shown_as_they_are_and_are_no_markup(tmp_path, pets) -> None:
    labels, before, after = (np.where(values == "cat", "<b>&c", values) for values in pets)
    text = page(tmp_path, labels, before, {"<i>x": after}, groups={"<u>": labels})
    assert not re.search("<b>&c|<i>x|<u>", text)
    assert "&lt;b&gt;&amp;c" in text


def test_each_candidate_has_its_section(tmp_path, pets) -> None:
    labels, before, after = pets
    said = words(page(tmp_path, labels, before, {"int8": before, "pruned": after}))
    assert said.count("accuracy before") == 2
    assert "candidate accuracy lost most, points classes that lost int8 90.00 % → 90.00 %" in said


def test_the_answer_of_several_candidates_is_one_sentence_and_a_table(tmp_path, pets) -> None:
    labels, before, after = pets
    worse = {"pruned": after, "int4": after + "", "int8": before}
    text = page(tmp_path, labels, before, worse, drop=0.02)
    answer, *sections = re.split(r"<section", text)[1:]
    assert (
        "2 beyond (a limit is exceeded): pruned, int4; 1 within (every class is within the "
        "limits): int8." in words(answer)
    )
    assert "pruned beyond 90.00 % → 87.00 % cat −6.0 1 of 2" in words(answer).replace("\xa0", " ")
    assert "at least" not in words(answer).split("A class is within")[0]
    for section, said in zip(sections, ("beyond", "beyond", "within"), strict=False):
        assert f"{said}: " in words(section)
    assert words(sections[0]).count("cat: loss 6.0, at least 4.0") == 1


def test_the_dots_of_the_classes_that_lost_most_have_names(tmp_path) -> None:
    labels = np.repeat(np.arange(10), 300)
    lost = np.array([0, 60, 61, 0, 62, 3, 0, 0, 0, 0])
    after = np.where(np.arange(3000) % 300 < lost[labels], (labels + 1) % 10, labels)
    text = page(tmp_path, labels, labels, after, classes=list("abcdefghij"))
    (figure,) = re.findall(r'<svg class="scatter".*?</svg>', text, re.DOTALL)
    names = re.findall(r'<text class="name" x="([\d.-]+)" y="([\d.-]+)".*?>(\w)</text>', figure)
    assert {name for *_, name in names} == {"b", "c", "e"}
    heights = sorted(float(y) for _, y, _ in names)
    assert np.diff(heights).min() >= 5 - 1e-9
    assert page(tmp_path, labels, labels, labels).count('class="name"') == 0


def test_a_loss_of_the_whole_is_said_where_no_class_shows_it(tmp_path) -> None:
    labels = np.repeat(np.arange(50), 20)
    after = np.where(np.arange(1000) % 40, labels, (labels + 1) % 50)
    said = words(page(tmp_path, labels, labels, after))
    assert "The model lost 2.5 points of accuracy; which classes did cannot be told." in said


def test_other_groups_are_ordered_by_what_they_lost(tmp_path, pets) -> None:
    labels, before, after = pets
    groups = {"kind": np.where(labels == "cat", "z", "a")}
    text = page(tmp_path, labels, before, after, groups=groups)
    assert text.index('<th scope="row">z</th>') < text.index('<th scope="row">a</th>')


def test_the_same_audit_gives_the_same_bytes(tmp_path, pets) -> None:
    assert page(tmp_path, *pets) == page(tmp_path, *pets)


def test_a_class_without_images_and_one_without_an_interval_are_shown(tmp_path) -> None:
    labels = np.array([0, 0, 1])
    text = page(tmp_path, labels, labels, labels, classes=["cat", "dog", "eel"])
    assert "no image" in words(text)
    assert "nan" not in words(text).lower()


def test_classes_that_are_numbers_are_called_classes(tmp_path) -> None:
    labels = np.repeat([0, 1], 1000)
    before = np.where(np.arange(2000) % 10, labels, 1 - labels)
    after = before.copy()
    after[:60] = 1
    candidates = {"worse": after, "better": labels ^ (np.arange(2000) % 20 == 0)}
    text = page(tmp_path, labels, before, candidates, drop=0.02)
    said = words(text).replace("\xa0", " ")
    assert "class 0: loss 5." in said
    assert "classes lost recall: class 0 (−5." in said
    assert re.search(r"worse beyond [\d.]+ % → [\d.]+ % class 0 −5\.\d", said)
    # Which class gained least is no answer to which lost most.
    assert re.search(r"better within [\d.]+ % → [\d.]+ % none 0 of 2", said)


def test_an_alpha_that_stays_open_is_said_beside_a_limit_that_is_exceeded(tmp_path, pets) -> None:
    labels, before, after = pets
    found = rd.audit(labels, before, after)
    found.save(tmp_path, max_drop=0.02, max_alpha=1.5)
    said = words((tmp_path / "report.html").read_text("utf-8"))
    assert "beyond: a limit is exceeded" in said
    assert (
        "Whether alpha is within its limit is open: more images, or models whose classes differ "
        "more, would tell." in said
    )


def test_axes_have_two_numbers_each(tmp_path, pets) -> None:
    text = page(tmp_path, *pets)
    (figure,) = re.findall(r'<svg class="scatter".*?</svg>', text, re.DOTALL)
    axis = [one.replace("\xa0", " ") for one in re.findall(r"<text x[^>]*>([^<]*)</text>", figure)]
    assert sorted(axis) == sorted(["80 %", "80 %", "100 %, recall before", "100 %, recall after"])


def of_networks(count: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """600 cats, dogs and eels; all networks call the same thirty cats dogs, but only after."""
    labels = np.repeat(["cat", "dog", "eel"], 200)
    before = np.stack([labels] * count)
    for network in range(count):
        before[network, 10 * network :: 97] = "eel"
    after = before.copy()
    after[:, :30] = "dog"
    return labels, before, after


def test_a_page_of_several_networks_says_what_most_answer_otherwise(tmp_path) -> None:
    labels, before, after = of_networks()
    said = words(page(tmp_path, labels, before, after, control=before))
    assert "30 of 600 images (5.00 %) have another modal label" in said
    assert "Of the control it is 0, without any compression : a difference of +30" in said
    assert "4 seeds have too few exchanges for an adjusted p of 0.05" in said
    assert "Two halves of the networks before, 2 each, differ on" in said
    assert "The modal label before is right for 100.0 % of them, the one after for 0.0 %" in said
    assert "Where no class moves, chance alone finds 0.1 " in said or "finds 0.2 " in said
    assert "paired, less control’s the control" in said
    assert "other networks on these images (Student’s t)" in said
    without = words(page(tmp_path, labels, before, after))
    assert "How many of them change without any compression is not known: there is no" in without
    assert "Which classes moved, four ways" in said
    assert "the control had the same" not in without.split("three ways")[1].split("test")[0]


def test_a_page_of_one_network_has_its_further_measures_alone(tmp_path, pets) -> None:
    said = words(page(tmp_path, *pets))
    assert "modal label" not in said
    assert "four ways" not in said
    assert "Further measures, fairness among them" in said
    assert "other images, drawn anew within classes" in said
    rd.audit(*pets, measures=False).save(tmp_path / "short")
    short = words((tmp_path / "short/report.html").read_text("utf-8"))
    assert "Further measures" not in short


def test_a_name_on_the_page_of_several_networks_is_no_markup(tmp_path) -> None:
    labels, before, after = (
        np.char.replace(side.astype("U20"), "cat", "<b>cat") for side in of_networks()
    )
    text = page(tmp_path, labels, before, after)
    assert "<b>cat" not in text
    assert "&lt;b&gt;cat" in text
