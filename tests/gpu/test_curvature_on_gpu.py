"""On a GPU the curvature is what it is on a CPU but for rounding; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recall_distortion import networks
from recall_distortion.evaluation.curvature import Loss, measure
from recall_distortion.system import processor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize(("name", "channels", "size"), [("mlp", 1, 8), ("lenet5", 1, 28),
                                                        ("resnet20", 3, 16)])  # fmt: skip
def test_a_gpu_measures_what_a_cpu_does(name, channels, size):
    processor.prepare_gpu()
    network = networks.build(name, channels=channels, classes=4)
    networks.initialize(network, torch.Generator().manual_seed(0))
    network.eval()
    rng = torch.Generator().manual_seed(1)
    images = torch.randn(64, channels, size, size, generator=rng)
    labels = torch.arange(64) % 4
    masks = {
        key: torch.rand(weight.shape, generator=rng) < 0.5
        for key, weight in networks.prunable_parameters(network).items()
    }
    with torch.no_grad():
        for key, mask in masks.items():
            network.get_parameter(key).mul_(mask)
    found = []
    for device in ("cpu", "cuda"):
        network, images, labels = network.to(device), images.to(device), labels.to(device)
        loss = Loss(network, images, labels, masks)
        found.append(measure(loss, images, labels, eigenvalues=5, seed=0))
    left, right = found
    values = [np.array(one.hessian_eigenvalues.split(), float) for one in found]
    # Each is within its residual, at most 1e-3 of the largest, of an eigenvalue.
    np.testing.assert_allclose(*values, atol=2e-3 * abs(values[0]).max())
    for key in ("gradient_second_moment", "gradient_covariance", "train_loss", "weight_norm"):
        assert getattr(left, key) == pytest.approx(getattr(right, key), rel=1e-4)
    assert left.surviving == right.surviving
