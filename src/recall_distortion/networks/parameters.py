"""How many parameters a network has, and its layers too; without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """A layer with parameters: how many weights it has and how many others beside them."""

    weights: int
    others: int = 0  # biases, or the affine pair of a batch norm, whose weights are not prunable
    prunable: bool = True


@dataclass(frozen=True)
class Counts:
    """Parameters of a network.

    ``total`` counts every parameter, ``prunable_modules`` all parameters of the prunable
    convolutions and linear layers (ShrinkBench's accounting), ``prunable_weights`` only the
    weights among them, which are what a mask covers.
    """

    total: int
    prunable_modules: int
    prunable_weights: int


def linear(inputs: int, outputs: int, *, prunable: bool = True) -> Layer:
    """Return a linear layer with biases."""
    return Layer(inputs * outputs, outputs, prunable)


def convolution(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> Layer:
    """Return a convolution by a square kernel."""
    return Layer(inputs * outputs * kernel * kernel, outputs if bias else 0)


def batch_norm(width: int) -> Layer:
    """Return a batch norm of so many channels."""
    return Layer(0, 2 * width, prunable=False)
