"""Each weight by itself; the groups are the parameters that weights lie in."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def scores(network: nn.Module, of_weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the weights' scores as they are."""
    return of_weights


def left(network: nn.Module, masks: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the masks as they are."""
    return masks


def masks(network: nn.Module, kept: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return what is kept as it is: biases and batch norm are left alone."""
    return kept


def made_of(network: nn.Module, chosen: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return what is chosen as it is."""
    return chosen
