"""Two halves of the test images, which are the same wherever something is measured on each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The images in even places, from 0 on, and those in odd ones.
HALVES = 2


def halves(images: int) -> NDArray[np.int64]:
    """Return the half of each of so many test images [N], by its place in the test set.

    No label and no prediction has a say, so that what is measured on one half has no error in
    common with what is measured on the other, given the networks.
    """
    return np.arange(images) % HALVES
