"""Networks to quantize, for the tests of what does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from core_helpers import recipe, training_plan, write_prepared
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.quantization.blocks import Paths, quantize_block
from recall_distortion.compression.quantization.files import load_quantized
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.plan import QuantizationPlan, Quantizer
from recall_distortion.compression.quantization.stored import carried, computing
from recall_distortion.data.prepared import load
from recall_distortion.training import DeviceImages, Engine, train_block
from recall_distortion.training.replicates import load_block
from recall_distortion.vocabulary import Panel

PANEL = Panel("data", "architecture", "recipe")
# Sizes of image, channels and epochs at which networks tell ten noisy prototypes apart.
SIZES = {
    "mlp": (8, 1, 4),
    "cnn": (8, 1, 4),
    "lenet300": (28, 1, 2),
    "lenet5": (28, 1, 2),
    "resnet20": (8, 3, 3),
}


def quantizer(weights: str = "int8", activations: str = "static", **values: object) -> Quantizer:
    """Return a quantizer as a job reads a study's."""
    plain = {"activation_bits": 8, "calibration_images": 64, "range": "min_max",
             "percentile": 99.0, "of": "dense"}  # fmt: skip
    return Quantizer(weights=weights, activations=activations, **(plain | values))


@dataclass(frozen=True)
class Trained:
    """Dense networks of an architecture, and the test images."""

    folder: Path
    architecture: str

    @property
    def dense(self) -> Path:
        return self.folder / "dense.safetensors"

    @property
    def data(self) -> Path:
        return self.folder / "data.safetensors"

    def images(self) -> DeviceImages:
        data = load(self.data)
        return DeviceImages(data.test_images, data.test_labels, data.mean, data.std)

    def network(self) -> nn.Module:
        block = load_block(self.dense)
        return networks.build(self.architecture, channels=block.channels, classes=block.classes)

    def quantize(self, name: str = "q", **methods: Quantizer) -> Path:
        """Quantize the networks by some methods at ratio 4 and return the file's path."""
        path = self.folder / f"{name}.safetensors"
        quantize_block(
            Paths(self.data, self.dense, [], path, path.with_suffix(".csv")),
            QuantizationPlan(methods, "holdout"),
            panel=PANEL,
            cells={method: {"4": "1"} for method in methods},
        )
        return path

    def logits(self, way: Quantizer, images: Tensor, engine: Engine) -> Tensor:
        """Return the logits [K, B, C] of both quantized networks, as evaluation computes them."""
        (found,) = load_quantized(self.quantize(m=way))
        network = self.network()
        module = computing(network, Layers.of(network, images[:1]), way)
        states = [carried(found.networks.state(seed), module) for seed in found.networks.seeds]
        rows = []
        with torch.no_grad():
            for together in [states] if engine.vectorized else [[state] for state in states]:
                stack = engine.open(module, together)
                rows.append(torch.cat([stack.logits(part) for part in images.split(500)], 1))
        return torch.cat(rows)

    def stored(self, way: Quantizer) -> list[dict[str, np.ndarray]]:
        """Return the stored tensors of both quantized networks as arrays."""
        (found,) = load_quantized(self.quantize(m=way))
        return [
            {name: value.numpy() for name, value in found.networks.state(seed).items()}
            for seed in found.networks.seeds
        ]


def trained(folder: Path, architecture: str, *, test: int = 10_000) -> Trained:
    """Train two networks of an architecture on ten noisy prototypes."""
    size, channels, epochs = SIZES[architecture]
    found = Trained(folder, architecture)
    write_prepared(
        found.data, train=480, holdout=80, test=test, classes=10, channels=channels, size=size,
        noise=110.0,
    )  # fmt: skip
    train_block(
        found.data,
        found.dense,
        folder / "history.csv",
        training_plan(recipe((epochs, 0.02))),
        architecture=architecture,
        seeds=[3, 8],
    )
    return found
