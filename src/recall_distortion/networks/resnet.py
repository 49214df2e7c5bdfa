"""The residual networks for CIFAR of He et al. 2016 (section 4.2), shortcuts without parameters."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """Two 3 x 3 convolutions, each with batch norm, added to a shortcut.

    Where the width grows, the shortcut takes every second pixel and pads the channels with zeros,
    half before and half after (option A), so it has no parameter.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.grows = width != inputs
        self.conv1 = nn.Conv2d(
            inputs, width, 3, stride=2 if self.grows else 1, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def shortcut(self, x: torch.Tensor, width: int) -> torch.Tensor:
        """Return x [N, inputs, H, W], or where the width grows [N, width, ceil(H/2), ceil(W/2)]."""
        if not self.grows:
            return x
        padding = (width - x.shape[1]) // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, padding, padding))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of the next layer."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x, out.shape[1]))


class ResNet(nn.Module):
    """A residual network of depth 6 * blocks + 2: three stages of 16, 32 and 64 channels."""

    kaiming_normal = True

    def __init__(self, channels: int, classes: int, *, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.stage1 = nn.Sequential(*(Block(16, 16) for _ in range(blocks)))
        self.stage2 = nn.Sequential(*(Block(32 if i else 16, 32) for i in range(blocks)))
        self.stage3 = nn.Sequential(*(Block(64 if i else 32, 64) for i in range(blocks)))
        self.classifier = nn.Linear(64, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.stage3(self.stage2(self.stage1(x)))
        logits: torch.Tensor = self.classifier(x.mean((-2, -1)))
        return logits


#: What a study calls them -> what makes them for (channels, classes).
NETWORKS = {
    "resnet20": functools.partial(ResNet, blocks=3),
    "resnet32": functools.partial(ResNet, blocks=5),
    "resnet44": functools.partial(ResNet, blocks=7),
    "resnet56": functools.partial(ResNet, blocks=9),
    "resnet110": functools.partial(ResNet, blocks=18),
}
