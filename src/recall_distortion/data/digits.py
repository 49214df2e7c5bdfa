"""scikit-learn's handwritten digits: 1,797 grayscale images of 8 x 8, part of that package."""

from __future__ import annotations

import hashlib

import numpy as np

from recall_distortion.data.images import RawData

#: scikit-learn stores the digits as 0..16.
_LARGEST_VALUE = 16


def read() -> RawData:
    """Return the digits, without a test set, their 17 gray levels spread over 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels = np.rint(bunch.images * (255 / _LARGEST_VALUE)).astype(np.uint8)
    images = np.ascontiguousarray(levels[:, None])
    labels = bunch.target.astype(np.int64)
    digest = hashlib.sha256(images.tobytes())
    digest.update(labels.astype("<i8").tobytes())
    return RawData(
        train_images=images,
        train_labels=labels,
        test_images=None,
        test_labels=None,
        class_names=tuple(str(name) for name in bunch.target_names),
        checksum=f"sha256:{digest.hexdigest()}",
    )
