"""A pretended GPU: tensors with a CPU's numbers that refuse to be computed with a CPU's tensors.

torch calls the place of these tensors ``meta``, which on a machine without a GPU is the one device
besides the CPU that gradients go through; Python code sees ``cuda``. Every operation is carried out
on the CPU, after a look at where its tensors are: with tensors of both kinds it raises, unless the
CPU's is a single number in an operation that goes element by element, and so does a random draw
whose generator is of another device. What is computed is what a CPU computes; what a GPU rounds
otherwise or cannot do is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA, META = torch.device("cuda", 0), torch.device("meta")


class MixedDevices(Exception):
    """An operation has tensors, or a generator, of different devices."""


class Elsewhere(Tensor):
    """A tensor of the pretended GPU; ``numbers`` are its values, on the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> Elsewhere:
        found = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=META,
            requires_grad=numbers.requires_grad,
        )
        found.numbers = numbers.detach()
        return found

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), named=None):
        """Say of the device what a program of a GPU is told; leave the rest to the dispatch."""
        if function == Tensor.device.__get__:
            return CUDA
        if function == Tensor.is_cuda.__get__:
            return True
        if function == Tensor.is_meta.__get__:
            return False
        if function in (Tensor.tolist, Tensor.item):
            return function(arguments[0].numbers)
        if function is Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy; copy it first")
        with torch._C.DisableTorchFunctionSubclass():
            return function(*arguments, **(named or {}))

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), named=None):
        """Leave it to the mode, without which there is no pretended GPU."""
        raise RuntimeError(f"{operation} outside of pretended_gpu()")

    def __repr__(self, *, tensor_contents=None):
        return f"Elsewhere({self.numbers!r})"


class _Names(TorchFunctionMode):
    """Calls the pretended GPU ``meta`` wherever a program says ``cuda``."""

    def __torch_function__(self, function, types, arguments=(), named=None):
        def name(value):
            if isinstance(value, str | torch.device) and str(value).startswith("cuda"):
                return META
            return value

        named = {key: name(value) for key, value in (named or {}).items()}
        if function in (torch.tensor, torch.as_tensor) and named.get("device") == META:
            # torch fills them before any operation can be looked at.
            del named["device"]
            return function(*arguments, **named).to(META)
        return function(*map(name, arguments), **named)


class _Dispatch(TorchDispatchMode):
    """Carries operations out on the CPU, after a look at where their tensors are."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled: no look at that in each of the many thousand operations."""
        return False

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        named = dict(named or {})
        flat = list(_flat((*arguments, *named.values())))
        tensors = [value for value in flat if isinstance(value, Tensor)]
        there = [value for value in tensors if isinstance(value, Elsewhere)]
        here = [value for value in tensors if not isinstance(value, Elsewhere)]
        target = named.get("device")
        moves = operation.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        # Element by element a CPU's single number may be among the operands, but not be written to.
        numbers = torch.Tag.pointwise in operation.tags and not (
            operation._schema.is_mutable and tensors and not isinstance(tensors[0], Elsewhere)
        )
        if there and not moves and any(value.dim() > 0 or not numbers for value in here):
            raise MixedDevices(f"{operation}: {[value.device for value in tensors]}")
        on_gpu = bool(there) if target is None else torch.device(target).type in ("cuda", "meta")
        generator = named.get("generator")
        if generator is None:
            generator = next((v for v in flat if isinstance(v, torch.Generator)), None)
        if generator is not None and on_gpu:
            raise MixedDevices(f"{operation}: a tensor on cuda, a generator of {generator.device}")
        if operation.overloadpacket is torch.ops.aten.copy_:
            on_gpu = isinstance(arguments[0], Elsewhere)
        if target is not None:
            named["device"] = torch.device("cpu")
        numbers_of = {name: _changed(Elsewhere, _numbers, value) for name, value in named.items()}
        found = operation(*_changed(Elsewhere, _numbers, arguments), **numbers_of)
        # An operation in place, or into given tensors, returns those tensors.
        own = {id(value.numbers): value for value in there}

        def wrap(value: Tensor) -> Tensor:
            if id(value) in own:
                return own[id(value)]
            return Elsewhere(value) if on_gpu else value

        return _changed(Tensor, wrap, found)


# What operations take and return are values and lists of them; torch's own functions for trees take
# most of the time of a deep network's steps.
def _flat(values):
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _changed(kind, change, value):
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_changed(kind, change, part) for part in value])
    return value


def _numbers(value):
    return value.numbers


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Within this context ``cuda`` is the pretended GPU."""
    with _Dispatch(), _Names():
        yield
