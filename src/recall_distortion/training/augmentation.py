"""Random flips and crops of a whole batch as tensor operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # pixels on every side before the random crop (docs/methods.md, section 2)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch [B, C, H, W] with each image mirrored with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    mirrored = mirrored.to(images.device)[:, None, None, None]
    return torch.where(mirrored, images.flip(3), images)


def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch [B, C, H, W] with each image shifted by up to 4 pixels, black filling in."""
    batch, _, height, width = images.shape
    shifts = torch.randint(0, 2 * PADDING + 1, (batch, 2), generator=generator).to(images.device)
    padded = F.pad(images, (PADDING,) * 4)
    rows = shifts[:, 0, None] + torch.arange(height, device=images.device)
    columns = shifts[:, 1, None] + torch.arange(width, device=images.device)
    index = torch.arange(batch, device=images.device)[:, None, None]
    # Indexing behind a slice moves the channels last; permute puts them back.
    cropped = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


AUGMENTATIONS = {"flip": flip, "crop": crop}
