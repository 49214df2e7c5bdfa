"""The CNN with convolution, pooling and rectifier computed as one layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from recall_distortion.fast.cpu.pooled import PooledForm
from recall_distortion.networks.cnn import CNN
from recall_distortion.networks.layers import adaptive_max_pool


class FastCNN(PooledForm):
    """``networks.cnn.CNN`` on a CPU."""

    plain = CNN

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        x = self.pooled(self.conv1, images)
        x = self.pooled(self.conv2, x)
        if x.shape[-2:] != (2, 2):
            x = adaptive_max_pool(x, 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.classifier(x)


#: What ``fast.cpu.faster`` looks for here.
FORM = FastCNN
