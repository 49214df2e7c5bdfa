"""The thin MLP with what lies between its multiplications computed as one loop."""

from __future__ import annotations

from recall_distortion.fast.cpu.rectified import RectifiedForm
from recall_distortion.networks.thin_mlp import ThinMLP


class FastThinMLP(RectifiedForm):
    """``networks.thin_mlp.ThinMLP`` on a CPU."""

    plain = ThinMLP
    parts = ("hidden", "classifier")


#: What ``fast.cpu.faster`` looks for here.
FORM = FastThinMLP
