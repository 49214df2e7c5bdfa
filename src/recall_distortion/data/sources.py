"""The data sources that a study can name, and what is known of them before their data are read.

The workflow reads a study every time it starts, so nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A kind of data set: its images' shape where that is known before the data are read."""

    description: str
    channels: int | None = None
    classes: int | None = None
    image_size: int | None = None
    needs_path: bool = False
    has_test_set: bool = True


SOURCES: dict[str, Source] = {
    "digits": Source("scikit-learn's 8 x 8 handwritten digits, embedded", 1, 10, 8, False, False),
    "mnist": Source("MNIST through torchvision", 1, 10, 28),
    "fashion_mnist": Source("Fashion-MNIST through torchvision", 1, 10, 28),
    "cifar10": Source("CIFAR-10 through torchvision", 3, 10, 32),
    "cifar100": Source("CIFAR-100 through torchvision", 3, 100, 32),
    "arrays": Source("an .npz file of arrays", needs_path=True),
    "folder": Source("a folder with one sub-folder of images per class", needs_path=True),
}
