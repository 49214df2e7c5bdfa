"""A network of a few thousand weights without convolutions, for images as small as 8 x 8 digits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    """Two hidden layers of 32 on 8 x 8 pixels; larger images are averaged down to that."""

    kaiming_normal = False

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64 * channels, 32)
        self.fc2 = nn.Linear(32, 32)
        self.classifier = nn.Linear(32, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        if images.shape[-2:] != (8, 8):
            images = F.adaptive_avg_pool2d(images, 8)
        x = F.relu(self.fc1(images.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: torch.Tensor = self.classifier(x)
        return logits


#: What a study calls it -> what makes it for (channels, classes).
NETWORKS = {"mlp": MLP}
