"""The CNN with convolution, pooling and rectifier computed as one layer."""

from __future__ import annotations

from recall_distortion.fast.cpu.pooled import PooledForm
from recall_distortion.networks.cnn import CNN


class FastCNN(PooledForm):
    """``networks.cnn.CNN`` on a CPU."""

    plain = CNN
    parts = ("conv1", "conv2", "fc1", "classifier")
    side = 2


#: What ``fast.cpu.faster`` looks for here.
FORM = FastCNN
