"""Quantized networks answer on a GPU as on a CPU; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from quantization_helpers import quantizer, trained

from recall_distortion.compression.quantization.files import load_quantized
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.stored import carried, computing

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "lenet5", "resnet20"])
@pytest.mark.parametrize("activations", ["static", "dynamic"])
def test_logits_are_those_of_a_cpu(tmp_path: Path, architecture: str, activations: str) -> None:
    dense, way = trained(tmp_path, architecture, test=2000), quantizer(activations=activations)
    (found,) = load_quantized(dense.quantize(m=way))
    images = dense.images().batch(slice(None))
    logits = {}
    for device in ("cpu", "cuda"):
        network = dense.network().to(device)
        module = computing(network, Layers.of(network, images[:1].to(device)), way)
        module.load_state_dict(carried(found.networks.state(3), module))
        logits[device] = module.eval()(images.to(device)).cpu()
    assert torch.equal(logits["cpu"].argmax(1), logits["cuda"].argmax(1))
    if architecture != "resnet20":  # whose mean before the classifier is summed in another order
        assert torch.equal(*logits.values())
