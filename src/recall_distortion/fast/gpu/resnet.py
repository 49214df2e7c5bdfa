"""K residual networks for CIFAR computed as one: whole networks forward, and backward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from recall_distortion.fast.gpu import batches, units
from recall_distortion.fast.gpu.units import Passed, Unit
from recall_distortion.fast.plain import has_its_own_forward, refuse_hooks
from recall_distortion.networks.resnet import Block, ResNet
from recall_distortion.system.errors import NetworkError

_FIRST_ALONE = (
    "fused residual units have first derivatives of parameters alone, by backward() and "
    "torch.autograd.grad; for others, or for these in another way, take the plain network, which "
    "recall_distortion.networks.build returns, or Engine(fast=False)"
)
#: Numbers of one network's images, whose places a kernel counts in 32 bits.
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class _Layer:
    """Which of a network's tensors a unit has, by their modules' names, and its part in a block."""

    convolution: str
    norm: str
    stride: int
    begins: bool
    ends: bool


def _layers(network: ResNet) -> Iterator[_Layer]:
    yield _Layer("conv1", "bn1", 1, False, False)
    for name, module in network.named_modules():
        if isinstance(module, Block):
            stride = 2 if module.grows else 1
            yield _Layer(f"{name}.conv1", f"{name}.bn1", stride, True, False)
            yield _Layer(f"{name}.conv2", f"{name}.bn2", 1, False, True)


def _norm(network: ResNet, layer: _Layer) -> nn.BatchNorm2d:
    norm = network.get_submodule(layer.norm)
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


class FusedResNets:
    """K networks of one architecture: their tensors, and the kernels that compute with them.

    ``tensors`` are parameters and buffers [K, ...] by the plain network's names and in its shapes;
    ``parameters`` are those to fit, as leaves that share their memory. A convolution's weight lies
    there as the kernels read it, its outputs innermost.
    """

    #: Gathers their batches, where it knows the augmentations (see ``batches``).
    batch = staticmethod(batches.batch)
    knows = staticmethod(batches.known)

    def __init__(
        self, network: nn.Module, states: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
    ) -> None:
        """Take states [K, ...] by name to where ``network`` lies; products are of ``dtype``.

        Raises ``NetworkError`` where the kernels do not compute what the network does.
        """
        if not fits(network):
            raise NetworkError(f"{type(network).__name__} has no form in fused residual units")
        self.network, self.dtype = network, dtype
        self._layers = list(_layers(network))
        self._norms = [_norm(network, layer) for layer in self._layers]
        device = network.classifier.weight.device
        self._place(states, device)
        self.parameters = {
            name: self.tensors[name].view_as(self.tensors[name]).requires_grad_()
            for name, _ in network.named_parameters()
        }

    def __len__(self) -> int:
        return len(self.tensors["classifier.bias"])

    def _place(self, states: Mapping[str, Tensor], device: torch.device) -> None:
        """Make the tensors: all convolutions' weights in one piece of memory, and all counts."""
        named = {f"{layer.convolution}.weight" for layer in self._layers}
        # [K, CO, CI, 3, 3] is kept as [K, 3, 3, CI, CO].
        kept = {name: states[name].permute(0, 3, 4, 2, 1) for name in named}
        order = [f"{layer.convolution}.weight" for layer in self._layers]
        self._flat = torch.cat([kept[name].flatten() for name in order]).to(device)
        self._shapes = [kept[name].shape for name in order]
        weights = dict(zip(order, self._split(self._flat), strict=True))
        counts = [f"{layer.norm}.num_batches_tracked" for layer in self._layers]
        self._counts = torch.stack([states[name] for name in counts]).to(device)
        self.tensors = {}
        for name, value in states.items():
            if name in weights:
                self.tensors[name] = _as_plain(weights[name])
            elif name in counts:
                self.tensors[name] = self._counts[counts.index(name)]
            else:
                self.tensors[name] = value.to(device, copy=True).contiguous()

    def _split(self, flat: Tensor) -> list[Tensor]:
        """Return the convolutions' weights, as the kernels read them, in one piece of memory."""
        parts = flat.split([shape.numel() for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _units(self) -> list[Unit]:
        weights = self._split(self._flat.to(self.dtype))
        return [
            Unit(
                weight,
                self.tensors[f"{layer.norm}.weight"],
                self.tensors[f"{layer.norm}.bias"],
                self.tensors[f"{layer.norm}.running_mean"],
                self.tensors[f"{layer.norm}.running_var"],
                layer.stride,
                norm.momentum,  # type: ignore[arg-type]  # a number, as ``fits`` says
                norm.eps,
            )
            for layer, norm, weight in zip(self._layers, self._norms, weights, strict=True)
        ]

    def logits(self, images: Tensor, *, training: bool = False) -> Tensor:
        """Return each network's logits [K, B, classes] in single precision.

        In training each network has images of its own, [K B, C, H, W], batch norm takes the batch's
        statistics, which the running ones follow, and the result has gradients; otherwise all
        networks have the same images, [B, C, H, W], and it has none.

        Raises ``NetworkError`` for a hook on the network or a module of it, and, when its gradient
        is taken, where that is to have a gradient of its own (``create_graph=True``).
        """
        for module in self.network.modules():
            refuse_hooks(module, "fused residual units")
        if not isinstance(images, Tensor) or images.dim() != 4 or not images.is_floating_point():
            raise NetworkError("images are normalized numbers of a float type, [B, C, H, W]")
        if images.requires_grad or not _has_memory(images):
            raise NetworkError(_FIRST_ALONE)
        if images.shape[1] != self.network.conv1.in_channels:
            raise NetworkError(
                f"the network is for {self.network.conv1.in_channels} channels, and the images "
                f"have {images.shape[1]}"
            )
        # Contiguous where the channels lie innermost, as those of ``DeviceImages`` do.
        pixels = images.permute(0, 2, 3, 1).to(self.dtype).contiguous()
        if training:
            pixels = pixels.unflatten(0, (len(self), -1))
            if pixels[0, ..., 0].numel() * 16 > _LARGEST:
                raise NetworkError("a batch has too many pixels for fused residual units")
            logits: Tensor = _Logits.apply(self, pixels, *self.parameters.values())
            return logits
        with torch.no_grad():
            return self._evaluate(pixels)

    def _evaluate(self, pixels: Tensor) -> Tensor:
        """Return logits [K, B, classes] of pixels [B, H, W, C] by the running statistics."""
        most = max(_LARGEST // (16 * pixels[0, ..., 0].numel()), 1)
        computed = self._units()
        found = []
        for part in pixels.split(most):
            x = source = part[None]
            for layer, unit in zip(self._layers, computed, strict=True):
                if layer.begins:
                    source = x
                x = units.evaluate(unit, x, source if layer.ends else None)
            found.append(self._classify(_features(x)))
        return torch.cat(found, 1)

    def _classify(self, features: Tensor) -> Tensor:
        weight, bias = self.tensors["classifier.weight"], self.tensors["classifier.bias"]
        return torch.baddbmm(bias[:, None], features, weight.mT)

    def forward(self, pixels: Tensor) -> tuple[Tensor, list[Passed], Tensor]:
        """Return logits [K, N, classes] of pixels [K, N, H, W, C] in training.

        And what ``backward`` needs: what each unit leaves, and the features [K, N, 64].
        """
        x = source = pixels
        passed = []
        for layer, unit in zip(self._layers, self._units(), strict=True):
            if layer.begins:
                source = x
            passed.append(units.train(unit, x, source if layer.ends else None))
            x = passed[-1].out
        self._counts.add_(1)
        features = _features(x)
        return self._classify(features), passed, features

    def backward(
        self, passed: Sequence[Passed], features: Tensor, gradient: Tensor
    ) -> dict[str, Tensor]:
        """Return the parameters' gradients by name from that of the logits [K, N, classes]."""
        found = {
            "classifier.weight": gradient.mT @ features,
            "classifier.bias": gradient.sum(1),
        }
        last = passed[-1].out
        _, _, rows, columns, _ = last.shape
        dout = (gradient @ self.tensors["classifier.weight"]) / (rows * columns)
        dout = dout.to(last.dtype)[:, :, None, None].expand(last.shape).contiguous()
        block = None
        layers = list(zip(self._layers, self._units(), passed, strict=True))
        for layer, unit, own in reversed(layers):
            if layer.ends:
                block = own.out, dout
            gradients = units.backward(
                unit,
                own,
                dout,
                block if layer.begins else None,
                needs_x=layer is not self._layers[0],
            )
            found[f"{layer.convolution}.weight"] = _as_plain(gradients.weight)
            found[f"{layer.norm}.weight"] = gradients.gamma
            found[f"{layer.norm}.bias"] = gradients.beta
            if gradients.x is not None:
                dout = gradients.x
        return found


class _Logits(torch.autograd.Function):
    """The networks in training, as autograd sees them."""

    @staticmethod
    def forward(ctx: Any, networks: FusedResNets, pixels: Tensor, *parameters: Tensor) -> Tensor:
        found, *ctx.left = networks.forward(pixels)
        ctx.networks = networks
        ctx.versions = [value._version for value in parameters]
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # torch records what a backward pass does if and only if it is to be differentiated.
        if torch.is_grad_enabled() or not _has_memory(gradient):
            raise NetworkError(_FIRST_ALONE)
        if ctx.left is None:
            raise NetworkError("the gradient of fused residual units can be taken once")
        networks = ctx.networks
        if ctx.versions != [value._version for value in networks.parameters.values()]:
            raise NetworkError("parameters changed between the forward and the backward pass")
        left, ctx.left = ctx.left, None  # activations are not held until autograd's graph ends
        found = networks.backward(*left, gradient.contiguous())
        return None, None, *(found[name] for name in networks.parameters)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> None:
        raise NetworkError(_FIRST_ALONE)


def fits(network: nn.Module) -> TypeGuard[ResNet]:
    """Return whether the kernels compute what a network does: nothing of it was replaced."""
    # A class derived from the plain one may compute something else.
    if type(network) is not ResNet or "forward" in vars(network):
        return False
    if not (has_its_own_forward(ResNet) and has_its_own_forward(Block)):
        return False
    layers = list(_layers(network))
    names = {f"{layer.convolution}.weight" for layer in layers}
    names |= {f"{layer.norm}.{name}" for layer in layers for name in ("weight", "bias")}
    names |= {"classifier.weight", "classifier.bias"}
    named = dict(network.named_parameters())
    if set(named) != names or {type(value) for value in named.values()} != {nn.Parameter}:
        return False
    if {(value.dtype, value.device) for value in named.values()} != {
        (torch.float32, network.conv1.weight.device)
    }:
        return False
    return all(map(_is_computed, network.modules()))


def _is_computed(module: nn.Module) -> bool:
    """Return whether a part of a network is one that the kernels know, as its source has it."""
    if {"forward", "_conv_forward", "shortcut"} & set(vars(module)):
        return False
    if type(module) is nn.Conv2d:
        plain = {
            "kernel_size": (3, 3),
            "padding": (1, 1),
            "dilation": (1, 1),
            "groups": 1,
            "bias": None,
            "padding_mode": "zeros",
        }
        return all(getattr(module, name) == value for name, value in plain.items())
    if type(module) is nn.BatchNorm2d:
        return module.affine and module.track_running_stats and module.momentum is not None
    if type(module) is Block:
        stride = (2, 2) if module.grows else (1, 1)
        return module.conv1.stride == stride and module.conv2.stride == (1, 1)
    return type(module) in (ResNet, nn.Sequential, nn.Linear)


def _has_memory(value: Tensor) -> bool:
    """Return whether a tensor is just numbers, which those of torch's transforms are not."""
    try:
        value.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return False
    return True


def _features(x: Tensor) -> Tensor:
    """Return the means [K, N, C] over the pixels of images [K, N, H, W, C]."""
    return x.flatten(2, 3).mean(2, dtype=torch.float32)


def _as_plain(weight: Tensor) -> Tensor:
    """Return a weight [K, 3, 3, CI, CO] as [K, CO, CI, 3, 3], in the same memory."""
    return weight.permute(0, 4, 3, 1, 2)


#: What ``fast.gpu.form`` looks for here.
FORM = FusedResNets
