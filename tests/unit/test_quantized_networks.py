"""Quantized networks against exact integers, and against the kernels of a library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import whole_numbers
from quantization_helpers import Trained, quantizer, trained
from torch import Tensor

from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.training import Engine
from recall_distortion.training.replicates import load_block

ENGINES = {"sequential": Engine(fast=False), "vectorized": Engine(2, fast=False)}


@pytest.fixture(
    scope="module",
    params=[
        *(name for name in whole_numbers.NETWORKS if name != "resnet20"),
        pytest.param("resnet20", marks=pytest.mark.slow),
    ],
)
def networks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.slow
@pytest.mark.parametrize("activations", ["static", "dynamic"])
def test_labels_are_those_of_exact_integers(networks: Trained, activations: str) -> None:
    way = quantizer(activations=activations)
    # Whole numbers of convolutions take NumPy up to a minute for all images, of which each has
    # thousands to round.
    count = {"resnet20": 1000, "lenet5": 2000}.get(networks.architecture, 10_000)
    images = networks.images().batch(slice(0, count))
    assert len(images) == count
    stored = networks.stored(way)
    found = [networks.logits(way, images, engine) for engine in ENGINES.values()]
    assert torch.equal(*found)
    compute = whole_numbers.NETWORKS[networks.architecture]
    for logits, own in zip(found[0].numpy()[:1], stored[:1], strict=True):
        layers = whole_numbers.Integers(own)
        parts = np.array_split(images.numpy(), 20)
        wanted = np.concatenate([compute(layers, part) for part in parts])
        labels = logits.argmax(1)
        assert len(np.unique(labels)) > 5  # networks that tell classes apart
        assert np.array_equal(labels, wanted.argmax(1))
        if networks.architecture == "resnet20":  # the mean before the classifier has an order
            np.testing.assert_allclose(logits, wanted, rtol=0, atol=2e-2 * np.ptp(wanted))
        else:
            assert np.array_equal(logits, wanted)


def test_stored_weights_are_those_of_the_scheme(networks: Trained) -> None:
    block, network = load_block(networks.dense), networks.network()
    layers = Layers.of(network, networks.images().batch(slice(0, 1)))
    stored = networks.stored(quantizer())
    for seed, own in zip(block.seeds, stored, strict=True):
        folded = layers.folded(network, block.state(seed))
        for name in layers.norms:
            levels, scale = whole_numbers.weight_levels(folded[f"{name}.weight"].numpy(), 8)
            assert np.array_equal(own[f"{name}.weight"], levels)
            assert np.array_equal(own[f"{name}.scale"], scale)
            step = scale.astype(float) * float(own[f"{name}.input_scale"])
            bias = np.rint(folded[f"{name}.bias"].numpy().astype(float) / step)
            assert np.array_equal(own[f"{name}.bias"], bias)
            assert (np.abs(own[f"{name}.weight"]).reshape(len(scale), -1).max(1) == 127).all()


@pytest.mark.slow
def test_8_bits_change_few_labels_and_3_bits_more(networks: Trained) -> None:
    images = networks.images().batch(slice(0, 2000))
    network, block = networks.network(), load_block(networks.dense)
    dense = []
    for seed in block.seeds:
        stack = Engine(fast=False).open(network, [block.state(seed)])
        with torch.no_grad():
            dense.append(stack.logits(images)[0].argmax(1))

    def changed(*way: str) -> float:
        found = networks.logits(quantizer(*way), images, ENGINES["sequential"]).argmax(2)
        return float((found != torch.stack(dense)).double().mean())

    assert changed("float16", "float") <= 0.002
    assert changed("int8", "float") <= changed("int8", "static") + 0.01
    # Over its 784 inputs rounding averages out, and the prototypes are far apart.
    least = changed("int8", "float") if networks.architecture == "lenet300" else 0.06
    assert changed("int8", "dynamic") < 0.05
    assert changed("int2", "float") > least


def _has_vnni() -> bool:
    return "vnni" in Path("/proc/cpuinfo").read_text().partition("\n\n")[0]


def _kernels(stored: dict[str, np.ndarray], images: Tensor) -> Tensor:
    """Return LeNet-5's logits by the 8-bit kernels of oneDNN that torch ships."""
    own = {name: torch.from_numpy(value) for name, value in stored.items()}

    def levels(name: str, x: Tensor) -> tuple[Tensor, float, int]:
        scale, zero = own[f"{name}.input_scale"], int(own[f"{name}.input_zero"]) + 128
        found = (torch.round(x / scale.view((1,) * x.dim())) + zero).clamp(0, 255)
        return found.to(torch.uint8), float(scale), zero

    def bias(name: str) -> Tensor:
        scale = own[f"{name}.scale"].double() * own[f"{name}.input_scale"].double()
        return (own[f"{name}.bias"].double() * scale).float()

    def convolution(name: str, x: Tensor, padding: int) -> Tensor:
        x, scale, zero = levels(name, x)
        weight, of_weight = own[f"{name}.weight"], own[f"{name}.scale"]
        rest = [[1, 1], [padding] * 2, [1, 1], 1]
        packed = torch.ops.onednn.qconv_prepack(weight, of_weight, scale, zero, *rest, None)
        none = torch.zeros(len(of_weight), dtype=torch.int8)
        return torch.ops.onednn.qconv2d_pointwise(
            x, scale, zero, packed, of_weight, none, bias(name), *rest, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip

    def linear(name: str, x: Tensor) -> Tensor:
        x, scale, zero = levels(name, x)
        packed = torch.ops.onednn.qlinear_prepack(own[f"{name}.weight"], None)
        of_weight = own[f"{name}.scale"]
        none = torch.zeros(len(of_weight), dtype=torch.int8)
        return torch.ops.onednn.qlinear_pointwise(
            x, scale, zero, packed, of_weight, none, bias(name), 1.0, 0, torch.float32, "none",
            [], "",
        )  # fmt: skip

    x = F.relu(F.max_pool2d(convolution("conv1", images, 2), 2))
    x = F.relu(F.max_pool2d(convolution("conv2", x, 0), 2))
    x = F.relu(linear("fc1", x.flatten(1)))
    return linear("classifier", F.relu(linear("fc2", x)))


@pytest.mark.slow
def test_the_kernels_of_a_library_give_the_same_labels(tmp_path: Path) -> None:
    if not hasattr(torch.ops.onednn, "qconv2d_pointwise"):
        pytest.skip("this torch has no 8-bit kernels of oneDNN")
    # Without VNNI they add pairs of products in 16 bits, which 8-bit weights overflow and 7-bit
    # ones do not: 2 * 255 * 63 < 2^15.
    way = quantizer("int8" if _has_vnni() else "int7")
    networks = trained(tmp_path, "lenet5")
    images = networks.images().batch(slice(None))
    ours = networks.logits(way, images, ENGINES["sequential"])
    for logits, stored in zip(ours, networks.stored(way), strict=True):
        theirs = _kernels(stored, images.contiguous())
        # Their scales are multiplied in another order, so that a number between two levels may
        # become the other one; of 10,000 images with millions of numbers a few see that.
        assert (theirs.argmax(1) != logits.argmax(1)).sum() <= 2
        torch.testing.assert_close(theirs, logits, rtol=0, atol=0.02 * float(logits.abs().max()))
        exact = (theirs - logits).abs().amax(1) <= 1e-5 * float(logits.abs().max())
        assert exact.double().mean() > 0.9
