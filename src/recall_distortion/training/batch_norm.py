"""Batch norm in elementary operations, as ``torch.vmap`` can stack it on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ElementaryBatchNorm(TorchFunctionMode):
    """Within this context ``F.batch_norm``, whichever module calls it, is ``batch_norm`` here.

    torch's own has no rule for ``torch.vmap`` on a GPU where the channels are last, and none in
    half precision.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, with its batch norm replaced."""
        return (batch_norm if function is F.batch_norm else function)(*arguments, **(named or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``torch.nn.functional.batch_norm`` of images [B, C, ...], with its arguments.

    As there, a batch's mean and variance are taken over all dimensions but the channels'; the
    running ones follow them in place, with the unbiased variance; and half precision is computed in
    single precision and rounded once, at the end.
    """
    precise = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    if training:
        others = [dimension for dimension in range(input.dim()) if dimension != 1]
        count = input.numel() // input.shape[1]
        if count == 1:
            raise ValueError(
                f"batch norm in training needs more than one value a channel, not {[*input.shape]}"
            )
        variance, mean = torch.var_mean(precise, others, correction=0)
        if running_mean is not None:
            running_mean.mul_(1 - momentum).add_(mean.detach(), alpha=momentum)
        if running_var is not None:
            unbiased = variance.detach() * (count / (count - 1))
            running_var.mul_(1 - momentum).add_(unbiased, alpha=momentum)
    elif running_mean is None or running_var is None:
        raise RuntimeError("batch norm in evaluation needs running_mean and running_var")
    else:
        mean, variance = running_mean, running_var
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = (1, -1, *[1] * (input.dim() - 2))
    return torch.addcmul(shift.view(shape), precise, scale.view(shape)).to(input.dtype)
