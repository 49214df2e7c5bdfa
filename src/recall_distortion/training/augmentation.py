"""Random flips and crops of a whole batch as tensor operations.

An augmentation has two functions: ``draw`` makes its random choices for an epoch's images on the
CPU, so that a GPU sees the same ones, and ``apply`` carries a batch's choices out on any device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # pixels on every side before the random crop (docs/methods.md, section 2)


@dataclass(frozen=True)
class Augmentation:
    """Random choices [N, ...] for N images, and what they do to images [N, C, H, W]."""

    draw: Callable[[int, torch.Generator], Tensor]
    apply: Callable[[Tensor, Tensor], Tensor]


def draw_flips(count: int, generator: torch.Generator) -> Tensor:
    """Return for each image whether it is mirrored, with probability 1/2; booleans [N]."""
    return torch.rand(count, generator=generator) < 0.5


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Return the batch [B, C, H, W] with the images that ``mirrored`` [B] marks mirrored."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def draw_shifts(count: int, generator: torch.Generator) -> Tensor:
    """Return for each image where its crop begins in the padded image: row, column [N, 2]."""
    return torch.randint(0, 2 * PADDING + 1, (count, 2), generator=generator)


def crop(images: Tensor, shifts: Tensor) -> Tensor:
    """Return the batch [B, C, H, W] with each image shifted by up to 4 pixels, black filling in."""
    batch, _, height, width = images.shape
    padded = F.pad(images, (PADDING,) * 4)
    rows = shifts[:, 0, None] + torch.arange(height, device=images.device)
    columns = shifts[:, 1, None] + torch.arange(width, device=images.device)
    index = torch.arange(batch, device=images.device)[:, None, None]
    # Indexing behind a slice moves the channels last; permute puts them back.
    cropped = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


AUGMENTATIONS = {"flip": Augmentation(draw_flips, flip), "crop": Augmentation(draw_shifts, crop)}
