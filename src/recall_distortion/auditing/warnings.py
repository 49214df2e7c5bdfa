"""What a reader of an audit has to know before any number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from recall_distortion.auditing.answers import ABSTAINED, Answers, TestSet

#: Standard errors by which a model has to be better than chance.
_CLEARLY = 3.0


def warnings_of(images: TestSet, before: Answers, candidates: Mapping[str, Answers]) -> list[str]:
    """Return warnings about a test set and the models' answers, a sentence each."""
    return [*_of_test_set(images), *_of_models(images, {"before": before, **candidates})]


def _of_test_set(images: TestSet) -> Iterator[str]:
    counts = np.bincount(images.index, minlength=len(images.names))
    if (missing := np.flatnonzero(counts == 0)).size:
        named = ", ".join(images.names[place] for place in missing[:5])
        more = ", ..." if missing.size > 5 else ""
        yield (
            f"{missing.size} of {len(counts)} classes have no test image ({named}{more}): nothing "
            "is known of them."
        )
    if len(images.names) > len(images) / 2:
        yield (
            f"{len(images.names)} classes for {len(images)} images: are these labels the images' "
            "numbers?"
        )


def _of_models(images: TestSet, models: Mapping[str, Answers]) -> Iterator[str]:
    size = len(images)
    for name, model in models.items():
        answered = model.predicted != ABSTAINED
        chance = _chance(images, model)
        accuracy = float((model.predicted == images.index).mean())
        if accuracy <= chance + _CLEARLY * np.sqrt(chance * (1 - chance) / size):
            yield (
                f"{name} agrees with the labels no better than chance ({accuracy:.3f}, and chance "
                f"{chance:.3f}): are its predictions in the order of the labels?"
            )
        if not answered.all():
            yield (
                f"{name} gives no answer to {int((~answered).sum())} of {size} images; these count "
                "as wrong."
            )
    first = models["before"]
    for name, model in models.items():
        if name != "before" and np.array_equal(model.predicted, first.predicted):
            yield f"{name} gives the same answers as the model before: is it the same file?"


def _chance(images: TestSet, model: Answers) -> float:
    """Return how often answers agree with labels that are dealt to the images at random."""
    last = max(len(images.names), int(model.predicted.max()) + 1)
    labels = np.bincount(images.index, minlength=last)
    answered = np.bincount(model.predicted[model.predicted != ABSTAINED], minlength=last)
    return float(labels @ answered) / len(images) ** 2
