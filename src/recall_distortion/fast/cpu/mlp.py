"""The MLP with what lies between its multiplications computed as one loop."""

from __future__ import annotations

from recall_distortion.fast.cpu.rectified import RectifiedForm
from recall_distortion.networks.mlp import MLP


class FastMLP(RectifiedForm):
    """``networks.mlp.MLP`` on a CPU."""

    plain = MLP
    parts = ("fc1", "fc2", "classifier")


#: What ``fast.cpu.faster`` looks for here.
FORM = FastMLP
