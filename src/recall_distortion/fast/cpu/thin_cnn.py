"""The thin CNN in training, with Jumpstart's gradients added where its rectifiers' are made.

Autograd would make an array of zeros of each layer's own, and then add all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from recall_distortion.fast import cpu
from recall_distortion.fast.cpu.forms import Form, is_own
from recall_distortion.fast.cpu.jumpstart import FoundExtremes, Jumpstart
from recall_distortion.fast.cpu.rectified import rectified
from recall_distortion.fast.plain import refuse_hooks
from recall_distortion.networks.dropped import Dropped
from recall_distortion.networks.thin_cnn import ThinCNN


class FastThinCNN(Form):
    """``networks.thin_cnn.ThinCNN`` on a CPU.

    Called as a module it is the plain network; ``stacked_gradients`` is the training of K networks,
    whose channels lie side by side, so that their convolutions are one of K groups.
    """

    plain = ThinCNN
    parts = ("hidden", "classifier")

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        hidden, classifier = network.get_submodule("hidden"), network.get_submodule("classifier")
        assert isinstance(classifier, nn.Linear)  # as _computes says
        self._hidden = {f"hidden.{name}": layer for name, layer in hidden.named_children()}
        self._classifier = {"classifier": classifier}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        (network,) = self._plain
        logits: Tensor = network(images)
        return logits

    def stacked_gradients(
        self,
        tensors: Mapping[str, Tensor],
        images: Tensor,
        labels: Tensor,
        dropped: Dropped | None,
        label_smoothing: float,
        jumpstart: Jumpstart | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean losses [K] on images [K, B, C, H, W], and the gradients of ``tensors``.

        Labels are [K, B], and ``tensors`` the networks' parameters by name [K, ...]. What the
        classifier gets is multiplied by the masks of ``dropped``.
        """
        for skipped in (self, *self._plain, *self._hidden.values(), *self._classifier.values()):
            refuse_hooks(skipped, "compiled loops")
        networks = len(images)
        weights = [_joined(tensors[f"{name}.weight"]) for name in self._hidden]
        biases = [_joined(tensors[f"{name}.bias"]) for name in self._hidden]
        tapped = [
            n for n, name in enumerate(self._hidden) if jumpstart and name in jumpstart.layers
        ]
        passed, outputs = _forward(_side_by_side(images), weights, biases, tapped, networks)
        own, before = [_stacked(outputs[n], networks) for n in tapped], None
        if own:
            before = FoundExtremes(cpu.load_extremes().find(own), sum(z.shape[2] for z in own))
        last = passed[-1].requires_grad_()
        with torch.enable_grad():
            pixels = last.flatten(2)
            pooled = torch.stack([pixels.mean(2), pixels.amax(2)])  # [2, B, K units]
            features = pooled.unflatten(2, (networks, -1)).permute(2, 1, 0, 3).flatten(2)
        found = rectified(
            features.detach(),
            self._classifier,
            tensors,
            labels,
            dropped,
            label_smoothing,
            jumpstart,
            before=before,
            needs_x=True,
        )
        (of_last,) = torch.autograd.grad(features, last, found.of_x)
        add: dict[int, Callable[[Tensor], None]] = {}
        if before and found.of_before is not None:
            spread = cpu.load_extremes().spread(own, before.values, found.of_before)
            add = dict(zip(tapped, spread, strict=True))
        gradients = dict(found.gradients)
        for n, part, gradient in _backward(of_last, weights, passed, outputs, add):
            name = [*self._hidden][n]
            gradients[f"{name}.{part}"] = gradient.unflatten(0, (networks, -1))
        return found.losses, gradients

    @classmethod
    def _computes(cls, network: nn.Module) -> bool:
        hidden = network.get_submodule("hidden").children()
        return is_own(network.get_submodule("classifier"), nn.Linear) and all(
            is_own(layer, nn.Conv2d)
            and layer.kernel_size == (3, 3)
            and layer.padding == layer.stride == layer.dilation == (1, 1)
            and layer.groups == 1
            and layer.padding_mode == "zeros"
            and layer.weight.device.type == "cpu"
            and layer.weight.dtype == torch.float32
            for layer in hidden
        )


def _joined(values: Tensor) -> Tensor:
    """Return [K, units, ...] as [K units, ...]; of one network as it lies in memory."""
    return values[0] if len(values) == 1 else values.flatten(0, 1)


def _side_by_side(images: Tensor) -> Tensor:
    """Return images [K, B, C, H, W] as [B, K C, H, W]."""
    return images[0] if len(images) == 1 else images.transpose(0, 1).flatten(1, 2)


def _stacked(z: Tensor, networks: int) -> Tensor:
    """Return [B, K units, H, W] as [K, B, units, H, W], which is the same memory."""
    stacked: Tensor = z.unflatten(1, (networks, -1))
    return stacked.transpose(0, 1)


def _forward(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    tapped: Collection[int],
    networks: int,
) -> tuple[list[Tensor], dict[int, Tensor]]:
    """Return what convolutions get [B, K channels, H, W], and what the rectifier after all gives.

    And what the ``tapped`` ones give, by their numbers.
    """
    passed, outputs = [x], {}
    for n, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = torch.conv2d(passed[-1], weight, bias, padding=1, groups=networks)
        if n in tapped:
            outputs[n] = z
        passed.append(torch.relu(z) if n in tapped else torch.relu_(z))
    return passed, outputs


def _backward(
    gradient: Tensor,
    weights: Sequence[Tensor],
    passed: Sequence[Tensor],
    outputs: Mapping[int, Tensor],
    add: Mapping[int, Callable[[Tensor], None]],
) -> Iterator[tuple[int, str, Tensor]]:
    """Yield the number of a convolution, ``weight`` or ``bias``, and its gradient.

    ``gradient`` is that of what the last one's rectifier gives, and ``add`` adds to those of the
    ``outputs`` that are tapped.
    """
    ops, same = torch.ops.aten, [1, 1]
    for n in reversed(range(len(weights))):
        of_z = ops.threshold_backward(gradient, passed[n + 1], 0)
        networks = passed[n].shape[1] // weights[n].shape[1]
        if n in add:
            if of_z.stride() != outputs[n].stride():
                of_z = torch.empty_like(outputs[n]).copy_(of_z)
            add[n](_stacked(of_z, networks))
        gradient, of_weight, of_bias = ops.convolution_backward(
            of_z, passed[n], weights[n], [of_z.shape[1]], same, same, same, False, [0, 0], networks,
            [n > 0, True, True],
        )  # fmt: skip
        yield n, "weight", of_weight
        yield n, "bias", of_bias


#: What ``fast.cpu.faster`` looks for here.
FORM = FastThinCNN
