"""scikit-learn's handwritten digits: 1,797 grayscale images of 8 x 8, part of that package."""

from __future__ import annotations

import hashlib
from importlib import metadata

import numpy as np

from recall_distortion.data.images import RawData, Source
from recall_distortion.data.prepared import Shape
from recall_distortion.system.errors import DataError

#: Where scikit-learn keeps the digits: a row an image, 64 pixels of 0..16 and the label.
_TABLE = "sklearn/datasets/data/digits.csv.gz"
_LARGEST_VALUE = 16


def read() -> RawData:
    """Return the digits, without a test set, their 17 gray levels spread over 0..255."""
    # Read as sklearn.datasets.load_digits does, without importing scikit-learn, which takes longer
    # than all else that the step does.
    package = metadata.distribution("scikit-learn")
    try:
        table = np.loadtxt(str(package.locate_file(_TABLE)), delimiter=",")
    except FileNotFoundError as error:
        raise DataError(
            f"scikit-learn {package.version} does not hold its digits where they are looked for: "
            f"{error}"
        ) from None
    levels = np.rint(table[:, :-1] * (255 / _LARGEST_VALUE)).astype(np.uint8)
    images = np.ascontiguousarray(levels.reshape(-1, 1, 8, 8))
    labels = table[:, -1].astype(np.int64)
    digest = hashlib.sha256(images.tobytes())
    digest.update(labels.astype("<i8").tobytes())
    return RawData(
        train_images=images,
        train_labels=labels,
        test_images=None,
        test_labels=None,
        class_names=tuple(str(digit) for digit in range(10)),
        checksum=f"sha256:{digest.hexdigest()}",
    )


SOURCES = {
    "digits": Source(
        "scikit-learn's 8 x 8 handwritten digits, embedded",
        lambda _: read(),
        Shape(1, 8, 10),
        has_test_set=False,
    )
}
