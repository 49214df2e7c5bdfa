"""What a reader of an audit has to know before any number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from recall_distortion.auditing.answers import Answers, TestSet
from recall_distortion.auditing.decision import BEFORE
from recall_distortion.auditing.populations import Population
from recall_distortion.auditing.vectors import ABSTAINED

#: Standard errors by which a model has to be better than chance.
_CLEARLY = 3.0
#: Warnings about networks of a population that are said one by one.
_SAID = 4

Model = Answers | Population


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
    """Return warnings about a test set and the models' answers, a sentence each."""
    models = {BEFORE: before, **candidates}
    of_models = list(_of_models(images, _networks(models)))
    if isinstance(before, Population) and (more := len(of_models) - _SAID) > 0:
        of_models = [*of_models[:_SAID], f"There are {more} more such warnings."]
    return [*_of_test_set(images), *of_models]


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


def _of_models(images: TestSet, models: Mapping[str, Answers]) -> Iterator[str]:
    size = len(images)
    for name, model in models.items():
        answered = model.predicted != ABSTAINED
        if _is_chance(images, model):
            accuracy = float((model.predicted == images.index).mean())
            yield (
                f"{name} agrees with the labels no better than chance ({accuracy:.3f}, and chance "
                f"{_chance(images, model):.3f}){_hint(images, model)} Nothing is within a limit by "
                "such answers."
            )
        unknown = int((model.predicted >= len(images.names)).sum())
        if unknown:
            yield f"{name} answers {unknown} images by classes that no label has."
        if not answered.all():
            yield (
                f"{name} gives no answer to {int((~answered).sum())} of {size} images; these count "
                "as wrong."
            )
    names = list(models)
    perfect = {name for name, model in models.items() if _is_labels(images, model)}
    for place, name in enumerate(names):
        if name in perfect:
            nothing = "" if len(perfect) == len(models) else " Nothing is within a limit by them."
            yield f"{name} is right everywhere: are these the labels?{nothing}"
        for other in names[:place]:
            if np.array_equal(models[name].predicted, models[other].predicted):
                yield f"{name} gives the same answers as {other}: is it the same file?"


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
