"""The layers that the networks share."""

from __future__ import annotations

import pytest
import torch

from recall_distortion.networks import layers


def gradients(found, tensors):
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(found.shape, generator=rng, dtype=torch.float64).to(found.dtype)
    return torch.autograd.grad((found * weights).sum(), tensors)


@pytest.mark.parametrize(("height", "width", "size"), [(6, 6, 5), (3, 5, 2), (8, 8, 2), (1, 3, 2)])
@pytest.mark.parametrize("stacked", [False, True])
def test_windows_taken_one_by_one_are_the_adaptive_pooling(height, width, size, stacked):
    """The form of a deterministic GPU, alone and under vmap, where no two maxima are equal."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(3, 2, 4, height, width, generator=rng, dtype=torch.float64)
    images.requires_grad_()

    def pool(images):
        return layers._window_maxima(images, size)

    found = torch.vmap(pool)(images) if stacked else torch.stack([*map(pool, images)])
    expected = torch.stack([layers.adaptive_max_pool(one, size) for one in images])
    assert torch.equal(found, expected)
    for left, right in zip(gradients(found, [images]), gradients(expected, [images]), strict=True):
        torch.testing.assert_close(left, right)
