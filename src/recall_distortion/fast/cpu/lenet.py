"""LeNet-5 with convolution, pooling and rectifier computed as one layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from recall_distortion.fast.cpu.pooled import PooledForm
from recall_distortion.networks.layers import adaptive_max_pool
from recall_distortion.networks.lenet import LeNet5


class FastLeNet5(PooledForm):
    """``networks.lenet.LeNet5`` on a CPU."""

    plain = LeNet5

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        x = self.pooled(self.conv1, images)
        x = self.pooled(self.conv2, x)
        if x.shape[-2:] != (5, 5):
            x = adaptive_max_pool(x, 5)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.classifier(x)


#: What ``fast.cpu.faster`` looks for here.
FORM = FastLeNet5
