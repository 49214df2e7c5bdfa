"""A deep and narrow convolutional network, of any depth and width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ThinCNN(nn.Module):
    """``depth`` rectified 3 x 3 convolutions of ``width`` filters each, without pooling between.

    The classifier reads each filter's mean and maximum over the image. Without shortcuts and batch
    norm: the network that Riera et al. (2022, arXiv 2201.12795) train on CIFAR-10.
    """

    kaiming_normal = False

    def __init__(self, channels: int, classes: int, *, depth: int, width: int) -> None:
        super().__init__()
        inputs = [channels, *[width] * (depth - 1)]
        self.hidden = nn.ModuleList(nn.Conv2d(one, width, 3, padding=1) for one in inputs)
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        x = images
        for layer in self.hidden:
            x = F.relu(layer(x))
        pixels = x.flatten(2)
        logits: torch.Tensor = self.classifier(torch.cat([pixels.mean(2), pixels.amax(2)], dim=1))
        return logits


#: What a study calls it before its size -> what makes it for (channels, classes, depth, width).
NETWORKS = {"thin_cnn": ThinCNN}
