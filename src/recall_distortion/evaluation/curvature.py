"""How curved the training loss is at a network's weights, and how its gradients vary over images.

Everything is of the plain network in evaluation mode, without weight decay or augmentation, and
over the coordinates that pruning left: what a mask removes is no direction to move in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from recall_distortion.evaluation.eigenvalues import leading
from recall_distortion.networks import registry
from recall_distortion.training.randomness import generator

#: Images whose second derivatives are held at once, and whose single gradients are. More gain the
#: smallest networks milliseconds, and 256 of ResNet-20 would need 0.7 GB more.
AT_ONCE, SINGLE = 64, 32


@dataclass(frozen=True)
class Curvature:
    """What is measured of a network; every field is a column of networks.csv.

    ``hessian_eigenvalues`` are by falling magnitude, separated by spaces. The sum over them is no
    trace: it has only the leading ones.
    """

    hessian_largest: float
    hessian_sum: float
    hessian_eigenvalues: str
    hessian_residual: float
    hessian_products: int
    gradient_second_moment: float
    gradient_covariance: float
    weight_norm: float
    train_loss: float
    test_loss: float
    curvature_images: int
    surviving: int


class Loss:
    """The mean cross-entropy of a network over N images, as a function of its kept parameters.

    ``network`` is a plain module in evaluation mode, ``images`` [N, C, H, W] and ``labels`` [N] lie
    where it does. ``masks`` map parameters' names to booleans of their shapes; n of all parameters
    are kept, in the order of ``named_parameters``. What a user's module freezes is none of them.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        masks: Mapping[str, Tensor] | None = None,
    ) -> None:
        if network.training:
            raise ValueError("curvature is that of a network in evaluation mode")
        self.network, self.images, self.labels = network, images, labels
        self.parameters = {n: own for n, own in network.named_parameters() if own.requires_grad}
        kept = [
            masks[name].to(value.device)
            if masks and name in masks
            else torch.ones_like(value, dtype=torch.bool)
            for name, value in self.parameters.items()
        ]
        self.kept = _flat(kept)

    def __len__(self) -> int:
        return int(self.kept.sum())

    def product(self, vector: Tensor) -> Tensor:
        """Return the Hessian's product with a vector [n], by differentiating twice (Pearlmutter).

        Raises ``NetworkError`` where ``network`` is a fast form, which has no second derivatives.
        """
        whole = torch.zeros(len(self.kept)).to(vector)
        whole[self.kept] = vector
        parameters = list(self.parameters.values())
        sizes = [value.numel() for value in parameters]
        parts = [
            part.view_as(value) for part, value in zip(whole.split(sizes), parameters, strict=True)
        ]
        found = torch.zeros_like(vector)
        for images, labels in self._batches(AT_ONCE):
            # Attention's fast forms have no second derivatives.
            with sdpa_kernel(SDPBackend.MATH):
                loss = F.cross_entropy(self.network(images), labels, reduction="sum")
                first = torch.autograd.grad(loss, parameters, create_graph=True)
                second = torch.autograd.grad(first, parameters, parts, materialize_grads=True)
            found += _flat(second)[self.kept]
        return found / len(self.labels)

    def gradient_traces(self) -> tuple[float, float]:
        """Return the traces of the second moment and of the covariance of the images' gradients.

        With g_i the gradient of image i's own loss they are (1/N) Σ |g_i|² and that less |ḡ|².
        """
        buffers = dict(self.network.named_buffers())

        def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
            logits = functional_call(self.network, (parameters, buffers), (image[None],))
            return F.cross_entropy(logits, label[None])

        single: Callable[..., dict[str, Tensor]] = vmap(grad(loss), in_dims=(None, 0, 0))
        at_once = SINGLE
        if registry.known(self.network) is not None and not self._vectorizes(single):
            single, at_once = self._one_by_one, 1
        detached = {name: value.detach() for name, value in self.parameters.items()}
        total, squares = 0.0, 0.0
        mean = torch.zeros(len(self), dtype=torch.float64)
        for images, labels in self._batches(at_once):
            with sdpa_kernel(SDPBackend.MATH):
                found = single(detached, images, labels)
            rows = torch.cat([found[name].flatten(1) for name in detached], dim=1)[:, self.kept]
            squares += float(rows.square().sum(1).double().sum())
            mean += rows.sum(0).double().cpu()
            total += len(labels)
        moment = squares / total
        return moment, moment - float((mean / total).square().sum())

    def _vectorizes(self, single: Callable[..., dict[str, Tensor]]) -> bool:
        """Return whether a user's module takes images at once; a line says why not."""
        detached = {name: value.detach() for name, value in self.parameters.items()}
        try:
            with sdpa_kernel(SDPBackend.MATH):
                single(detached, self.images[:2], self.labels[:2])
        except RuntimeError as error:
            said = str(error).partition("\n")[0]
            print(f"gradients of images one after another: torch.vmap: {said}", flush=True)
            return False
        return True

    def _one_by_one(
        self, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Return the gradients of the one image's own loss, as a row each."""
        loss = F.cross_entropy(self.network(images), labels)
        found = torch.autograd.grad(loss, list(self.parameters.values()), materialize_grads=True)
        return {name: own[None] for name, own in zip(parameters, found, strict=True)}

    @torch.no_grad()
    def value(self) -> float:
        """Return the loss."""
        total = sum(
            float(F.cross_entropy(self.network(images), labels, reduction="sum"))
            for images, labels in self._batches(AT_ONCE)
        )
        return total / len(self.labels)

    def _batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.images.split(size), self.labels.split(size), strict=True)


def measure(
    loss: Loss, test_images: Tensor, test_labels: Tensor, *, eigenvalues: int, seed: int
) -> Curvature:
    """Return what ``Curvature`` says of a network, by its loss over training images.

    ``eigenvalues`` are as many of the Hessian's as are sought; ``seed`` gives the vector that the
    search begins at.
    """
    size = len(loss)
    weight = next(iter(loss.parameters.values()))
    start = torch.randn(size, generator=generator(seed, "curvature start")).to(weight)
    found = leading(loss.product, start, eigenvalues)
    moment, covariance = loss.gradient_traces()
    weights = _flat(list(loss.parameters.values())).detach()[loss.kept]
    return Curvature(
        hessian_largest=float(np.max(found.values)),
        hessian_sum=float(found.values.sum()),
        hessian_eigenvalues=" ".join(f"{value:.6g}" for value in found.values),
        hessian_residual=found.residual,
        hessian_products=found.products,
        gradient_second_moment=moment,
        gradient_covariance=covariance,
        weight_norm=float(weights.double().norm()),
        train_loss=loss.value(),
        test_loss=Loss(loss.network, test_images, test_labels).value(),
        curvature_images=len(loss.labels),
        surviving=size,
    )


def _flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in tensors])
