"""What a reader of an audit has to know before any number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from recall_distortion.auditing.answers import Answers, TestSet
from recall_distortion.auditing.decision import BEFORE
from recall_distortion.auditing.populations import Population
from recall_distortion.auditing.vectors import ABSTAINED

#: Standard errors by which a model has to be better than chance.
_CLEARLY = 3.0

Model = Answers | Population
#: By a model's name its networks by theirs.
_Networks: TypeAlias = Mapping[str, Mapping[str, Answers]]


def doubtful(images: TestSet, models: Mapping[str, Model]) -> list[str]:
    """Return the models, by name, whose answers may not be theirs, so that nothing is within.

    They agree with the labels no better than chance, or are the labels where those of the model
    before are not. Of several networks one is enough.
    """
    first = _networks({BEFORE: models[BEFORE]}).values()
    perfect = all(_is_labels(images, one) for one in first)
    return [
        name
        for name, model in models.items()
        if any(
            _is_chance(images, one) or (_is_labels(images, one) and not perfect)
            for one in _networks({name: model}).values()
        )
    ]


def _is_labels(images: TestSet, model: Answers) -> bool:
    return np.array_equal(model.predicted, images.index)


def _networks(models: Mapping[str, Model]) -> dict[str, Answers]:
    """Return every single network by its name."""
    found: dict[str, Answers] = {}
    for name, model in models.items():
        if isinstance(model, Population):
            found |= {f"network {one} of {name}": own for one, own in model.networks()}
        else:
            found[name] = model
    return found


def _is_chance(images: TestSet, model: Answers) -> bool:
    chance, size = _chance(images, model), len(images)
    if len(np.unique(images.index)) < 2:
        return False
    accuracy = float((model.predicted == images.index).mean())
    return bool(accuracy <= chance + _CLEARLY * np.sqrt(chance * (1 - chance) / size))


def warnings_of(images: TestSet, before: Model, candidates: Mapping[str, Model]) -> list[str]:
    """Return warnings about a test set and the models' answers, a sentence each.

    Those that keep anything from being within come first; networks of one model that give the same
    reason are one warning.
    """
    models = {BEFORE: before, **candidates}
    every = {name: _networks({name: model}) for name, model in models.items()}
    return [
        *_of_chance(images, every),
        *_of_labels(images, every),
        *_of_test_set(images),
        *_of_copies(every),
        *_of_answers(images, every),
    ]


def _subject(networks: Collection[str], model: str, one: str, several: str) -> str:
    """Return the subject of a sentence about some networks of a model, and its verb."""
    if len(networks) == 1:
        return f"{next(iter(networks))} {one}"
    return f"{len(networks)} networks of {model} {several}"


def _range(values: Collection[float], form: str) -> str:
    low, high = (format(end, form) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _counts(which: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return of how many images something holds, by network, where of any."""
    return {name: int(images.sum()) for name, images in which.items() if images.any()}


def _of_chance(images: TestSet, models: _Networks) -> Iterator[str]:
    for name, networks in models.items():
        found = {one: own for one, own in networks.items() if _is_chance(images, own)}
        if not found:
            continue
        accuracy = [float((own.predicted == images.index).mean()) for own in found.values()]
        chance = [_chance(images, own) for own in found.values()]
        hint = _hint(images, next(iter(found.values())))
        yield (
            f"{_subject(found, name, 'agrees', 'agree')} with the labels no better than chance "
            f"({_range(accuracy, '.3f')}, and chance {_range(chance, '.3f')}){hint} Nothing is "
            "within a limit by such answers."
        )


def _of_labels(images: TestSet, models: _Networks) -> Iterator[str]:
    every = [_is_labels(images, own) for networks in models.values() for own in networks.values()]
    nothing = "" if all(every) else " Nothing is within a limit by them."
    for name, networks in models.items():
        found = [one for one, own in networks.items() if _is_labels(images, own)]
        if found:
            yield (
                f"{_subject(found, name, 'is', 'are')} right everywhere: are these the labels?"
                f"{nothing}"
            )


def _of_copies(models: _Networks) -> Iterator[str]:
    """Yield which networks answer as others of their own model or of one before it do."""
    names = list(models)
    for place, name in enumerate(names):
        for other in [*names[:place], name]:
            copies: dict[str, str] = {}
            own = list(models[name].items())
            for number, (one, answers) in enumerate(own):
                earlier = own[:number] if other == name else models[other].items()
                for two, others in earlier:
                    if np.array_equal(answers.predicted, others.predicted):
                        copies.setdefault(one, two)
            yield from _same(copies, name, other)


def _same(copies: Mapping[str, str], model: str, other: str) -> Iterator[str]:
    if not copies:
        return
    one, two = next(iter(copies.items()))
    if len(copies) == 1:
        yield f"{one} gives the same answers as {two}: is it the same file?"
        return
    as_which = "another" if model == other else f"networks of {other}"
    yield (
        f"{len(copies)} networks of {model} give the same answers as {as_which}, such as {one} and "
        f"{two}: are these the same files?"
    )


def _of_answers(images: TestSet, models: _Networks) -> Iterator[str]:
    for name, networks in models.items():
        last = len(images.names)
        unknown = _counts({one: own.predicted >= last for one, own in networks.items()})
        missing = _counts({one: own.predicted == ABSTAINED for one, own in networks.items()})
        if unknown:
            yield (
                f"{_subject(unknown, name, 'answers', 'answer')} {_range(unknown.values(), 'd')} "
                "images by classes that no label has."
            )
        if missing:
            yield (
                f"{_subject(missing, name, 'gives', 'give')} no answer to "
                f"{_range(missing.values(), 'd')} of {len(images)} images; these count as wrong."
            )


def _of_test_set(images: TestSet) -> Iterator[str]:
    counts = np.bincount(images.index, minlength=len(images.names))
    if (missing := np.flatnonzero(counts == 0)).size:
        named = ", ".join(images.names[place] for place in missing[:5])
        more = ", ..." if missing.size > 5 else ""
        from_one = ""
        if missing[0] == 0 and not (images.as_texts or images.numbered):
            from_one = " Where classes are counted from 1, subtract 1 of labels and answers."
        yield (
            f"{missing.size} of {len(counts)} classes have no test image ({named}{more}): nothing "
            f"is known of them.{from_one}"
        )
    if single := int((counts == 1).sum()):
        what = "class has" if single == 1 else "classes have"
        yield f"{single} {what} a single test image: alpha leaves out what cannot be halved."
    if len(images.names) > len(images) / 2:
        yield (
            f"{len(images.names)} classes for {len(images)} images: are these labels the images' "
            "numbers?"
        )


def _hint(images: TestSet, model: Answers) -> str:
    """Return what may be wrong with answers that agree by chance alone."""
    for shift, words in (
        (1, "answers begin at 1: subtract 1"),
        (-1, "labels begin at 1: subtract 1"),
    ):
        agree = float((model.predicted - shift == images.index).mean())
        if agree > 0.5:
            return f"; {agree:.0%} agree if the {words}."
    return ": are its answers in the order of the labels, and its columns in that of the classes?"


def _chance(images: TestSet, model: Answers) -> float:
    """Return how often answers agree with labels that are dealt to the images at random."""
    last = max(len(images.names), int(model.predicted.max()) + 1)
    labels = np.bincount(images.index, minlength=last)
    answered = np.bincount(model.predicted[model.predicted != ABSTAINED], minlength=last)
    return float(labels @ answered) / len(images) ** 2
