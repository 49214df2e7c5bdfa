"""Quantized networks as tensors: made, carried into what computes them, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.quantization import arithmetic
from recall_distortion.compression.quantization.arithmetic import Affine
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.layers import whole_network
from recall_distortion.compression.quantization.plan import FLOAT, STATIC, Quantizer
from recall_distortion.vocabulary import UNCOMPRESSED_TEXT

#: Bits of what is stored beside weights: a scale, a bias or a number between layers in float32 or
#: int32, the zero of a layer's input, and where weights were pruned a place, kept or not.
_WORD, _ZERO, _PLACE = 32, 8, 1


def quantized(
    folded: Mapping[str, Tensor],
    layers: Layers,
    quantizer: Quantizer,
    inputs: Mapping[str, Affine] | None = None,
) -> dict[str, Tensor]:
    """Return a network's stored tensors from its ``folded`` ones in float32.

    Of each layer: ``weight``, in int8 where it is whole numbers of 8 bits or fewer, and in half
    precision or, of bfloat16, as its 16 bits in int16; ``bias``, int32 where activations are
    static, of the weights' format where that is no whole number, else float32; ``scale`` [O] of
    whole numbers; and of static activations ``input_scale`` and ``input_zero``, from ``inputs``.
    """
    found: dict[str, Tensor] = {}
    for name in layers.norms:
        weight, bias = folded[f"{name}.weight"], folded[f"{name}.bias"]
        if not quantizer.integer_weights:
            for part, values in (("weight", weight), ("bias", bias)):
                half = arithmetic.rounded(values, quantizer.weights)
                is_plain = half.dtype == torch.float16
                found[f"{name}.{part}"] = half if is_plain else half.view(torch.int16)
            continue
        levels, scale = arithmetic.quantize_weights(weight, quantizer.bits)
        found[f"{name}.weight"], found[f"{name}.scale"] = levels.to(torch.int8), scale
        if quantizer.activations == STATIC:
            assert inputs is not None
            own = inputs[name]
            bias = arithmetic.quantize_bias(bias, scale.double() * own.scale.double())
            found[f"{name}.input_scale"] = own.scale
            found[f"{name}.input_zero"] = own.zero.to(torch.int8)
        found[f"{name}.bias"] = bias
    return found


def carried(stored: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return stored tensors as the state of ``computing``'s network.

    Whole numbers are as they are, in that network's floating-point types, where it multiplies them;
    elsewhere weights are numbers again.
    """
    wanted = network.state_dict()
    found = {}
    for name, value in stored.items():
        layer, _, part = name.rpartition(".")
        if value.dtype == torch.int16:
            value = value.view(torch.bfloat16)
        if name in wanted:
            value = value.to(wanted[name].dtype)
            if part == "weight" and f"{layer}.scale" in stored.keys() - wanted.keys():
                scale = stored[f"{layer}.scale"]
                value = value * scale.view(-1, *(1,) * (value.dim() - 1))
            found[name] = value
    return found


def computing(network: nn.Module, layers: Layers, quantizer: Quantizer) -> nn.Module:
    """Return what computes quantized networks of a plain one's kind, with any tensors.

    Where only weights have few bits it is the plain network, its batch norms left out.
    """
    if quantizer.activations == FLOAT:
        return layers.without_norms(network)
    return whole_network(network, layers, quantizer)


@dataclass(frozen=True)
class Size:
    """What a quantized network really takes.

    ``prunable`` counts the weights that may be pruned, ``kept_prunable`` those that were not and
    ``total`` all parameters before, batch norm's included. ``bits`` are those of a weight;
    ``bytes`` holds the weights that are kept, scales, biases, the scale and zero of each layer's
    input and, in layers that were pruned, one bit a weight for its place; ``realised_ratio`` is
    that of ``total`` parameters in float32 to them. ``zeros`` counts the weights of all layers that
    are 0, by pruning or by rounding. ``origin`` and ``origin_ratio`` are the method and the ratio
    of the network that was quantized.
    """

    realised_ratio: float
    kept_fraction: float
    kept_prunable: int
    prunable: int
    total: int
    bits: int
    bytes: int
    zeros: int
    origin: str
    origin_ratio: str

    @classmethod
    def of(
        cls,
        stored: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        network: nn.Module,
        quantizer: Quantizer,
        origin_ratio: str = UNCOMPRESSED_TEXT,
    ) -> Size:
        """Return the size of a network's stored tensors; ``masks`` are what it was pruned by."""
        counts = networks.counts(network)
        removed = {name: int((~mask).sum()) for name, mask in masks.items()}
        prunable = networks.prunable_parameters(network)
        bits = zeros = 0
        for name, value in stored.items():
            part = name.rpartition(".")[2]
            if part == "weight":
                bits += (value.numel() - removed.get(name, 0)) * quantizer.bits
                bits += _PLACE * value.numel() if removed.get(name) else 0
                zeros += int((value == 0).sum())
            elif part == "input_zero":
                bits += _ZERO
            else:
                bits += value.numel() * (_WORD if quantizer.integer_weights else quantizer.bits)
        kept = counts.prunable_weights - sum(removed.get(name, 0) for name in prunable)
        size = -(-bits // 8)
        return cls(
            4 * counts.total / size,
            kept / counts.prunable_weights,
            kept,
            counts.prunable_weights,
            counts.total,
            quantizer.bits,
            size,
            zeros,
            quantizer.of,
            origin_ratio,
        )
