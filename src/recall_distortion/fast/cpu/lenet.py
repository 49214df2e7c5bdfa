"""LeNet-5 with convolution, pooling and rectifier computed as one layer."""

from __future__ import annotations

from recall_distortion.fast.cpu.pooled import PooledForm
from recall_distortion.networks.lenet import LeNet5


class FastLeNet5(PooledForm):
    """``networks.lenet.LeNet5`` on a CPU."""

    plain = LeNet5
    parts = ("conv1", "conv2", "fc1", "fc2", "classifier")
    side = 5


#: What ``fast.cpu.faster`` looks for here.
FORM = FastLeNet5
