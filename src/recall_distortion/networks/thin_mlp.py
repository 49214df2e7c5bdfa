"""A deep and narrow network without convolutions, of any depth and width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ThinMLP(nn.Module):
    """``depth`` hidden layers of ``width`` rectified units each, on 8 x 8 pixels.

    Without shortcuts and batch norm, so that it is hard to train where it is deep and narrow (Riera
    et al., 2022, arXiv 2201.12795). Larger images are averaged down to 8 x 8, as for ``MLP``.
    """

    kaiming_normal = False

    def __init__(self, channels: int, classes: int, *, depth: int, width: int) -> None:
        super().__init__()
        inputs = [64 * channels, *[width] * (depth - 1)]
        self.hidden = nn.ModuleList(nn.Linear(one, width) for one in inputs)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        if images.shape[-2:] != (8, 8):
            images = F.adaptive_avg_pool2d(images, 8)
        x = images.flatten(1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        logits: torch.Tensor = self.classifier(x)
        return logits


#: What a study calls it before its size -> what makes it for (channels, classes, depth, width).
NETWORKS = {"thin_mlp": ThinMLP}
