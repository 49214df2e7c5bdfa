"""A convolutional network of a few thousand weights, for images as small as 8 x 8 digits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from recall_distortion.networks.layers import adaptive_max_pool


class CNN(nn.Module):
    """Two 3 x 3 convolutions, each with max pooling, and two linear layers.

    Images of 8 x 8 leave 2 x 2 features; those of others, from 4 x 4 on, are pooled to that.
    """

    kaiming_normal = False

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(64, 32)
        self.classifier = nn.Linear(32, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        if x.shape[-2:] != (2, 2):
            x = adaptive_max_pool(x, 2)
        x = F.relu(self.fc1(x.flatten(1)))
        logits: torch.Tensor = self.classifier(x)
        return logits


#: What a study calls it -> what makes it for (channels, classes).
NETWORKS = {"cnn": CNN}
