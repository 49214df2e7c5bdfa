"""In which range the numbers lie that a layer gets, from training images."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recall_distortion.compression.quantization import arithmetic
from recall_distortion.compression.quantization.arithmetic import Affine
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.plan import MIN_MAX, Quantizer
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.randomness import generator

#: Images at once.
_BATCH = 64


class _Ends:
    """The lowest and the highest numbers of all that were seen, as many as a percentile leaves."""

    def __init__(self, percentile: float, images: int) -> None:
        self.percentile, self.images = percentile, images
        self.low = self.high = torch.empty(0)

    def see(self, values: Tensor) -> None:
        """Take the numbers of some of the images, [B, ...]."""
        every = self.images * values[0].numel()
        beyond = every - math.ceil(self.percentile / 100 * every)
        flat = values.detach().flatten()
        low, high = torch.cat([flat, self.low.to(flat)]), torch.cat([flat, self.high.to(flat)])
        kept = min(beyond + 1, len(low))
        self.low = low.topk(kept, largest=False).values
        self.high = high.topk(kept).values


def calibrate(
    network: nn.Module,
    layers: Layers,
    folded: Mapping[str, Tensor],
    images: DeviceImages,
    quantizer: Quantizer,
    *,
    seed: int,
) -> dict[str, Affine]:
    """Return scale and zero of what each layer gets, by the layer's name, 0-dimensional tensors.

    ``network`` has no batch norm, and ``folded`` are its tensors in float32. The images are drawn
    from the replicate's seed, so many as the quantizer says or all, without augmentation. By
    ``min_max`` the range is that of all the numbers; by ``percentile`` p it reaches from the
    (100 - p)th percentile to the p-th, nearest ranks.
    """
    count = min(quantizer.calibration_images, len(images))
    index = torch.randperm(len(images), generator=generator(seed, "calibration"))[:count]
    index = index.to(images.labels.device)
    percentile = 100.0 if quantizer.range == MIN_MAX else quantizer.percentile
    ends = {name: _Ends(percentile, count) for name in layers.norms}
    hooks = [
        network.get_submodule(name).register_forward_pre_hook(
            lambda module, given, name=name: ends[name].see(given[0])
        )
        for name in layers.norms
    ]
    try:
        with torch.no_grad():
            network.eval()
            for part in index.split(_BATCH):
                functional_call(network, dict(folded), (images.batch(part),))
    finally:
        for hook in hooks:
            hook.remove()
    # The outermost number that is still inside: topk has them in falling order of how far out.
    return {
        name: arithmetic.affine(found.low[-1], found.high[-1], quantizer.activation_bits)
        for name, found in ends.items()
    }
