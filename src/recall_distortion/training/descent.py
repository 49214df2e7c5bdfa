"""The optimizers: how networks go along their gradients, and what they remember of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from recall_distortion.training.recipe import Recipe


class Descent(ABC):
    """Steps of an optimizer by torch's functional form, on parameters that it changes in place.

    The classes of ``torch.optim`` do the same steps, but their first use imports torch's compiler,
    which takes as long as importing torch. What is remembered of a gradient that was always zero is
    zero, so that a weight that is zero and gets none stays so by every optimizer.
    """

    fused = True

    def __init__(self, parameters: list[Tensor], recipe: Recipe) -> None:
        self.parameters = parameters
        self.rate = 0.0
        self._decay = recipe.weight_decay

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Change the parameters by one step along their gradients, at the present ``rate``."""
        # The fused kernels walk through memory, so a gradient must lie there as its parameter does:
        # a convolution's may come back in another order of dimensions.
        aligned = [
            gradient
            if gradient.stride() == parameter.stride()
            else torch.empty_like(parameter).copy_(gradient)
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
        ]
        self._step(aligned)

    @abstractmethod
    def _step(self, gradients: list[Tensor]) -> None: ...

    @abstractmethod
    def moments(self) -> dict[str, list[Tensor | None]]:
        """Return what is remembered of gradients, by name one tensor a parameter, of its shape.

        They are changed in place. There is none before the first step of SGD.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return all that the next step depends on besides parameters and rate."""

    def _restored(
        self, name: str, kept: Mapping[str, Tensor]
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield each parameter and what ``kept`` has of it, lying in memory as it does."""
        for position, parameter in enumerate(self.parameters):
            found = kept.get(f"{name}/{position}")
            if found is not None:
                found = torch.empty_like(parameter, requires_grad=False).copy_(found)
            yield parameter, found


class SGD(Descent):
    """Stochastic gradient descent, with weight decay in the gradient and momentum."""

    def __init__(
        self, parameters: list[Tensor], recipe: Recipe, kept: Mapping[str, Tensor]
    ) -> None:
        super().__init__(parameters, recipe)
        self._momentum = recipe.momentum
        self._nesterov = recipe.nesterov and recipe.momentum > 0
        # None before the first step, which writes into the list.
        self._buffers = [buffer for _, buffer in self._restored("momentum", kept)]

    def _step(self, gradients: list[Tensor]) -> None:
        sgd(
            self.parameters,
            gradients,
            self._buffers,
            lr=self.rate,
            momentum=self._momentum,
            nesterov=self._nesterov,
            weight_decay=self._decay,
            dampening=0.0,
            maximize=False,
            fused=self.fused,
        )

    def moments(self) -> dict[str, list[Tensor | None]]:
        """Return the momentum."""
        return {"momentum": self._buffers}

    def tensors(self) -> dict[str, Tensor]:
        """Return the momentum by position."""
        return {
            f"momentum/{position}": buffer
            for position, buffer in enumerate(self._buffers)
            if buffer is not None
        }


class Adam(Descent):
    """Adam (Kingma and Ba, 2015, arXiv 1412.6980), with weight decay in the gradient.

    As AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101) the decay is ``decoupled``: each step
    first shortens weights by the rate's share of it.
    """

    decoupled = False

    def __init__(
        self, parameters: list[Tensor], recipe: Recipe, kept: Mapping[str, Tensor]
    ) -> None:
        super().__init__(parameters, recipe)
        self._betas, self._eps = recipe.betas, recipe.eps
        self._means, self._squares = (
            [
                torch.zeros_like(parameter, requires_grad=False) if found is None else found
                for parameter, found in self._restored(name, kept)
            ]
            for name in ("exp_avg", "exp_avg_sq")
        )
        # All parameters have made the same steps, but the kernel counts them for each.
        steps = float(kept["steps"]) if kept else 0.0
        self._steps = [
            torch.full((), steps, dtype=torch.float32, device=parameter.device)
            for parameter in parameters
        ]

    def _step(self, gradients: list[Tensor]) -> None:
        beta1, beta2 = self._betas
        adam(
            self.parameters,
            gradients,
            self._means,
            self._squares,
            [],
            self._steps,
            fused=self.fused,
            decoupled_weight_decay=self.decoupled,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=self.rate,
            weight_decay=self._decay,
            eps=self._eps,
            maximize=False,
        )

    def moments(self) -> dict[str, list[Tensor | None]]:
        """Return the means of the gradients and of their squares."""
        return {"exp_avg": [*self._means], "exp_avg_sq": [*self._squares]}

    def tensors(self) -> dict[str, Tensor]:
        """Return the moments by position, and the number of steps."""
        found = {"steps": self._steps[0]}
        for name, values in (("exp_avg", self._means), ("exp_avg_sq", self._squares)):
            found |= {f"{name}/{position}": value for position, value in enumerate(values)}
        return found


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    decoupled = True


#: The optimizers by the names of a study.
OPTIMIZERS: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def descent(
    parameters: list[Tensor], recipe: Recipe, kept: Mapping[str, Tensor] | None = None
) -> Descent:
    """Return a recipe's optimizer, as it begins or with the ``tensors`` of an earlier one."""
    return OPTIMIZERS[recipe.optimizer](parameters, recipe, kept or {})
