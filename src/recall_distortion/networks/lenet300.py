"""LeNet-300-100 with rectifiers: fully connected."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class LeNet300(nn.Module):
    """Two hidden layers of 300 and 100 on 28 x 28 pixels; 266,610 parameters for MNIST.

    The network of LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998,
    section III.C.4, with rectifiers. Larger images are averaged down to 28 x 28.
    """

    kaiming_normal = False

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784 * channels, 300)
        self.fc2 = nn.Linear(300, 100)
        self.classifier = nn.Linear(100, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        if images.shape[-2:] != (28, 28):
            images = F.adaptive_avg_pool2d(images, 28)
        x = F.relu(self.fc1(images.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: torch.Tensor = self.classifier(x)
        return logits


#: What a study calls it -> what makes it for (channels, classes).
NETWORKS = {"lenet300": LeNet300}
