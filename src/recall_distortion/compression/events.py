"""What networks get right just before and just after something is removed of them: events.

An event is a removal after which training goes on from what is left (Bartoldson et al., 2020, arXiv
1906.03728). Rounds after the first and removals within a training lie inside a job, whose networks
no file holds; a job counts at each what they get right of the test images. Batch norm uses its
running statistics as they stand, and no step lies between the two counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion.tables.halves import HALVES, halves
from recall_distortion.training import DeviceImages, Engine
from recall_distortion.training.loop import evaluation_batch
from recall_distortion.training.stacks import Stack
from recall_distortion.vocabulary import CELL

#: The columns of a job's file: an event, a half of the test images and a class a row.
EVENT_COLUMNS = (*CELL, "seed", "event", "epoch", "half", "class", "support", "before", "after")


class Watch:
    """Counts what a stack's networks get right of images, by half of these and by class.

    ``images`` are the test images in their order, on the device of the networks; the halves are
    those of ``tables.halves``. ``support`` [2, C] are the images of each. ``engine`` computes a
    network that is in no stack, as it does where predictions are made.
    """

    def __init__(self, images: DeviceImages, classes: int, engine: Engine) -> None:
        self._images, self._classes, self._engine = images, classes, engine
        labels = images.labels.long()
        half = torch.from_numpy(halves(len(labels))).to(labels.device)
        self._places = half * classes + labels
        self.support = self._by_place(torch.ones_like(labels)[None], slice(None))[0].cpu()

    @torch.no_grad()
    def __call__(self, stack: Stack) -> Tensor:
        """Return counts [K, 2, C] of a stack in evaluation mode, on the CPU."""
        size = evaluation_batch(stack, self._images.labels.device)
        found = torch.zeros(len(stack), HALVES, self._classes, dtype=torch.int64)
        for start in range(0, len(self._images), size):
            part = slice(start, start + size)
            logits = stack.logits(self._images.batch(part))
            correct = (logits.argmax(2) == self._images.labels[part]).long()
            found += self._by_place(correct, part).cpu()
        return found

    def of_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> Tensor:
        """Return the counts [2, C] of one state; ``network``'s weights are overwritten."""
        return self(self._engine.open(network, [state]))[0]

    def _by_place(self, values: Tensor, part: slice) -> Tensor:
        """Return the sums [K, 2, C] of values [K, B] of images."""
        sums = values.new_zeros(len(values), HALVES * self._classes)
        return sums.index_add_(1, self._places[part], values).view(-1, HALVES, self._classes)


def event(epoch: int, before: Tensor, after: Tensor) -> dict[str, Any]:
    """Return an event after so many epochs from counts [2, C], in words that JSON has."""
    return {"epoch": epoch, "before": before.tolist(), "after": after.tolist()}


def rows(
    named: Mapping[str, Any], events: Sequence[Mapping[str, Any]], support: Tensor
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a network's events, which are numbered from 1 on in their order.

    ``named`` are its cell and seed. Each event has an ``epoch`` and counts [2, C] ``before`` and
    ``after``, as ``event`` returns it.
    """
    for number, one in enumerate(events, start=1):
        for half, supports in enumerate(support.tolist()):
            for label, images in enumerate(supports):
                counts = {word: one[word][half][label] for word in ("before", "after")}
                place = {"half": half, "class": label, "support": images}
                yield {**named, "event": number, "epoch": one["epoch"], **place, **counts}
