"""LeNet-5 with rectifiers and max pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from recall_distortion.networks.layers import adaptive_max_pool


class LeNet5(nn.Module):
    """Two 5 x 5 convolutions and three linear layers; 61,706 parameters for MNIST.

    Made for images of 28 x 28; others, from 12 x 12 on, are pooled to the same 5 x 5 features.
    """

    kaiming_normal = False

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.classifier = nn.Linear(84, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        if x.shape[-2:] != (5, 5):
            x = adaptive_max_pool(x, 5)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: torch.Tensor = self.classifier(x)
        return logits


#: What a study calls it -> what makes it for (channels, classes).
NETWORKS = {"lenet5": LeNet5}
