"""A call of a network followed function by function: which channels each layer reads and makes.

Each tensor of the call has the numbers of the channels that its elements belong to, of its own
shape. Functions that only move elements are applied to the numbers, too; element by element
functions join the channels that meet in them; layers read and make some; whatever else is called
has the channels that it gets stay, so that what cannot be followed removes nothing.

A call is followed, and not ``torch.fx``'s graph, since that ends at ``len(x)`` and at all else
that asks for a size. Torch-Pruning (Fang et al., CVPR 2023, arXiv 2301.12900; MIT, 1.6.1) follows a
call as well, but prunes through layer norm and takes what it does not know for a function of single
elements, a shortcut padded with zeros among them, where here a smaller network must compute what
the masked one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from recall_distortion.networks import functions
from recall_distortion.networks.functions import argument, fits, name_of, place_of, tensors
from recall_distortion.networks.identities import FREE, STAYS, Identities
from recall_distortion.networks.structure import BATCH_NORM, CONVOLUTION, DEPTHWISE, LINEAR
from recall_distortion.system.errors import NetworkError


class Decided(NetworkError):
    """A forward decides by the values of a tensor, so that one call does not say what others do.

    The message is the function and its place.
    """


@dataclass
class Seen:
    """A layer that was called: its kind, and the channels that it reads and makes, by number.

    A linear layer reads features, each with the number of its channel.
    """

    kind: str
    inputs: Tensor
    outputs: Tensor
    bias: bool


@dataclass
class Trace:
    """What a call was seen to do: layers by name in the order of their first calls.

    ``others`` are convolutions that are not followed, with why.
    """

    channels: Identities = field(default_factory=Identities)
    layers: dict[str, Seen] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


@torch.no_grad()
def trace(network: nn.Module, images: Tensor, *, prunable: Sequence[str]) -> Trace:
    """Return what a network was seen to do when it was called on images [N, C, H, W].

    The outputs of layers whose weight is none of ``prunable`` stay, and all of what is frozen.
    Raises ``Decided`` where it decides by the values of a tensor.
    """
    follower = _Follower(network, frozenset(prunable))
    follower.mark(images, _none(images))
    training = network.training
    try:
        network.eval()
        with functions.running(network) as follower.running, follower:
            found = network(images)
    finally:
        network.train(training)
    follower.stay([found], "its logits")
    return follower.seen


def _none(tensor: Tensor) -> Tensor:
    return torch.full((), STAYS, dtype=torch.int64).expand(tensor.shape)


def _distinct(numbers: Tensor) -> Tensor:
    """Return numbers once along each dimension in which memory holds them once."""
    return numbers[tuple(slice(0, 1) if step == 0 else slice(None) for step in numbers.stride())]


def _varies(numbers: Tensor, dimension: int) -> bool:
    own = _distinct(numbers)
    return bool((own != own.narrow(dimension, 0, 1)).any())


class _Follower(TorchFunctionMode):
    """Sees each function of torch that a call makes, and does to the numbers what it does."""

    def __init__(self, network: nn.Module, prunable: frozenset[str]) -> None:
        super().__init__()
        self.seen = Trace()
        self._channels = self.seen.channels
        tensors = [*network.named_parameters(), *network.named_buffers()]
        self._names = {id(tensor): name for name, tensor in tensors}
        self._frozen = {name for name, value in network.named_parameters()
                        if not value.requires_grad}  # fmt: skip
        self._prunable = prunable
        self._place = ""
        self.running: set[str] = set()
        self._of = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        followed = [one for one in tensors((args, kwargs)) if self._numbers(one) is not None]
        result = func(*args, **kwargs)
        if followed and name in functions.DECIDES and not isinstance(result, Tensor):
            raise Decided(place_of(name))
        if followed or any(id(one) in self._names for one in tensors((args, kwargs))):
            self._follow(func, name, args, kwargs, result)
        return result

    def _follow(
        self, func: Callable[..., Any], name: str, args: Any, kwargs: Any, result: Any
    ) -> None:
        made = [*tensors(result)]
        args, kwargs = functions.by_place(args, kwargs)
        self._place = place_of(name)
        is_attribute = getattr(func, "__name__", "") == "__get__"
        if not made and (is_attribute or name in functions.ASKS):
            return
        rule: Callable[[Any, Any, Any], Any] | None = None
        kind = name.rstrip("123d") if name[-2:] in ("1d", "2d", "3d") else name
        if kind == "conv":
            rule = self._convolution
        elif name in ("linear", "batch_norm"):
            rule = self._linear if name == "linear" else self._batch_norm
        elif name == "pad":
            rule = self._pad
        elif name in functions.OF_ONE:
            args, kwargs, rule = args[:1], {}, self._elementwise
        elif name == "prelu" and argument(args, kwargs, 1, "weight").numel() > 1:
            rule = None  # a parameter of each channel
        elif name in functions.ELEMENTWISE and len(made) == 1:
            rule = self._elementwise
        elif kind in functions.POOLS:
            rule = self._pool
        elif name in functions.REDUCES:
            rule = self._reduce
        numbers = None
        if rule is not None:
            numbers = rule(args, kwargs, result)
        elif name in functions.MOVES | functions.RESHAPES | functions.TAKES:
            numbers = self._move(func, name, args, kwargs)
        if numbers is None:
            self.stay([args, kwargs], self._place)
            changed = [args[0]] if name == "setitem" else []
            for one in [*made, *changed]:
                self.mark(one, _none(one))
            return
        for one, own in zip(made, numbers if isinstance(numbers, list) else [numbers], strict=True):
            self.mark(one, own)

    def mark(self, tensor: Tensor, numbers: Tensor) -> None:
        """Say which channels a tensor's elements belong to."""
        self._of[tensor] = numbers

    def stay(self, values: Any, why: str) -> None:
        """Have the channels of tensors stay."""
        for one in tensors(values):
            if (numbers := self._numbers(one)) is not None:
                self._channels.keep(_distinct(numbers), why)

    def _numbers(self, tensor: Tensor) -> Tensor | None:
        found: Tensor | None = self._of.get(tensor)
        if found is not None and found.shape != tensor.shape:
            self._channels.keep(found, "they are given another shape in place")
            found = _none(tensor)
        return found

    def _given(self, tensor: Tensor) -> Tensor:
        found = self._numbers(tensor)
        return _none(tensor) if found is None else found

    def _along(self, numbers: Tensor, dimension: int, why: str) -> Tensor:
        """Return the channels along a dimension; where others meet in it they stay."""
        own = _distinct(numbers).movedim(dimension, 0)
        own = own.reshape(len(own), -1)
        if bool((own != own[:, :1]).any()):
            own = self._channels.same(own)
            if bool((own != own[:, :1]).any()):
                self._channels.keep(own, why)
                own = torch.zeros_like(own)
        return own[:, 0].expand(numbers.shape[dimension])

    def _layer(self, weight: Any, bias: Any) -> str | None:
        """Return the name of the module that runs and has this weight and bias; None of others."""
        name = self._names.get(id(weight), "")
        layer, _, own = name.rpartition(".")
        if layer not in self.running or not layer or own != "weight":
            return None
        if bias is not None and self._names.get(id(bias)) != f"{layer}.bias":
            return None
        return layer

    def _see(self, layer: str, kind: str, inputs: Tensor, outputs: Tensor, bias: bool) -> Tensor:
        """Note a call of a layer, and return the channels that it makes; all calls are one."""
        own = self.seen.layers.setdefault(layer, Seen(kind, inputs, outputs, bias))
        pairs = [(inputs, own.inputs)]
        if kind in (DEPTHWISE, BATCH_NORM):
            pairs = [(outputs, own.outputs)]
        for these, those in pairs:
            for one, other in zip(these.tolist(), those.tolist(), strict=True):
                self._channels.join(one, other, f"{layer} is called for several")
        frozen = {f"{layer}.weight", f"{layer}.bias"} & self._frozen
        if frozen:
            self._channels.keep(own.inputs, f"{layer} is frozen")
            self._channels.keep(own.outputs, f"{layer} is frozen")
        if kind != BATCH_NORM and f"{layer}.weight" not in self._prunable:
            self._channels.keep(own.outputs, f"{layer} is not pruned")
        return own.outputs

    def _convolution(self, args: Any, kwargs: Any, result: Tensor) -> Tensor | None:
        given, weight, bias = (argument(args, kwargs, i, n) for i, n in enumerate(_READ))
        groups = argument(args, kwargs, 6, "groups") or 1
        layer = self._layer(weight, bias)
        if layer is None:
            return None
        dimension = given.dim() - weight.dim() + 1
        width, read = len(weight), given.shape[dimension]
        if groups != 1 and not groups == width == read:
            self.seen.others[layer] = f"a convolution of {groups} groups"
            return None
        inputs = self._along(self._given(given), dimension, f"{layer} reads them mixed")
        if groups == 1:
            # A layer that was called before makes the same channels again.
            known = self.seen.layers.get(layer)
            outputs = self._channels.new(width) if known is None else known.outputs
            made = self._see(layer, CONVOLUTION, inputs, outputs, bias is not None)
        else:
            made = self._see(layer, DEPTHWISE, inputs[:0], inputs, bias is not None)
        return made.view(-1, *[1] * (weight.dim() - 2)).expand(result.shape)

    def _linear(self, args: Any, kwargs: Any, result: Tensor) -> Tensor | None:
        given, weight, bias = (argument(args, kwargs, i, n) for i, n in enumerate(_READ))
        layer = self._layer(weight, bias)
        if layer is None:
            return None
        inputs = self._along(self._given(given), given.dim() - 1, f"{layer} reads them mixed")
        known = self.seen.layers.get(layer)
        outputs = self._channels.new(len(weight)) if known is None else known.outputs
        return self._see(layer, LINEAR, inputs, outputs, bias is not None).expand(result.shape)

    def _batch_norm(self, args: Any, kwargs: Any, result: Tensor) -> Tensor | None:
        names = ("input", "running_mean", "running_var", "weight", "bias")
        given, mean, variance, weight, bias = (
            argument(args, kwargs, i, name) for i, name in enumerate(names)
        )
        layer = self._layer(weight, bias)
        if layer is None or bias is None or given.dim() < 2:
            return None
        for tensor, statistic in ((mean, "running_mean"), (variance, "running_var")):
            if self._names.get(id(tensor)) != f"{layer}.{statistic}":
                return None
        own = self._along(self._given(given), 1, f"{layer} reads them mixed")
        made = self._see(layer, BATCH_NORM, own, own, True)
        return made.view(-1, *[1] * (given.dim() - 2)).expand(result.shape)

    def _pad(self, args: Any, kwargs: Any, result: Tensor) -> Tensor | None:
        """Follow padding, which repeats channels beside themselves, or puts zeros beside them."""
        given = argument(args, kwargs, 0, "input")
        by = argument(args, kwargs, 1, "pad")
        if isinstance(by, Tensor):
            return None
        numbers = self._given(given)
        for place in range(len(by) // 2):
            dimension = given.dim() - 1 - place
            before, after = by[2 * place : 2 * place + 2]
            if not before and not after:
                continue
            if not _varies(numbers, dimension):
                shape = [*numbers.shape]
                shape[dimension] += before + after
                numbers = numbers.narrow(dimension, 0, 1).expand(shape)
            elif (argument(args, kwargs, 2, "mode") or "constant") == "constant":
                numbers = nn.functional.pad(numbers, [0, 0] * place + [before, after], value=FREE)
            else:
                return None
        return numbers

    def _elementwise(self, args: Any, kwargs: Any, result: Tensor) -> Tensor | None:
        given = [*tensors((args, kwargs))]
        if not all(fits(one.shape, result.shape) for one in given):
            return None
        found = self._given(given[0])
        for one in given[1:]:
            found = self._meet(found, self._given(one), result.shape)
        return found.expand(result.shape)

    def _meet(self, one: Tensor, other: Tensor, shape: torch.Size) -> Tensor:
        """Join the channels that meet; one that meets many others, as a map of weights, stays."""
        pair = [one.reshape([1] * (len(shape) - one.dim()) + [*one.shape]),
                other.reshape([1] * (len(shape) - other.dim()) + [*other.shape])]  # fmt: skip
        meets_many = [
            any(
                own.shape[i] == 1 and its.shape[i] > 1 and _varies(its, i)
                for i in range(len(shape))
            )
            for own, its in (pair, pair[::-1])
        ]
        for own, many in zip(pair, meets_many, strict=True):
            if many:
                self._channels.keep(_distinct(own), self._place)
        whole = torch.broadcast_tensors(*pair)
        if any(meets_many):
            return torch.zeros_like(whole[0]) if all(meets_many) else whole[meets_many[0]]
        # Once where memory holds both once.
        once = tuple(
            slice(0, 1) if a == b == 0 else slice(None)
            for a, b in zip(*(own.stride() for own in whole), strict=True)
        )
        small = [own[once] for own in whole]
        pairs = torch.stack([own.flatten() for own in small]).unique(dim=1)
        for a, b in pairs.T.tolist():
            self._channels.join(a, b, self._place)
        met = torch.where(small[0] == FREE, small[1], small[0])
        return met.expand(whole[0].shape)

    def _pool(self, args: Any, kwargs: Any, result: Any) -> Tensor | list[Tensor] | None:
        given = argument(args, kwargs, 0, "input")
        numbers = self._given(given)
        made = [*tensors(result)]
        first = made[0]
        if first.dim() != given.dim():
            return None
        for dimension in range(given.dim()):
            if first.shape[dimension] == given.shape[dimension] and dimension < 2:
                continue
            if _varies(numbers, dimension):
                return None
            numbers = numbers.narrow(dimension, 0, 1)
        return [numbers.expand(first.shape) for _ in made]

    def _reduce(self, args: Any, kwargs: Any, result: Any) -> Tensor | list[Tensor] | None:
        given = argument(args, kwargs, 0, "input")
        dimensions = argument(args, kwargs, 1, "dim")
        if dimensions is None:
            dimensions = kwargs.get("axis")
        if isinstance(dimensions, Tensor):  # the larger of two tensors, element by element
            return self._elementwise(args, kwargs, result)
        keepdim = bool(argument(args, kwargs, 2, "keepdim") or kwargs.get("keepdims"))
        if isinstance(dimensions, int) and not isinstance(dimensions, bool):
            dimensions = (dimensions,)
        if not isinstance(dimensions, tuple | list) or not isinstance(given, Tensor):
            return None
        if not dimensions:  # which is all of them
            return None
        numbers = self._given(given)
        for one in dimensions:
            if _varies(numbers, one % given.dim()):
                return None
        small = numbers.amax(list(dimensions), keepdim=keepdim)
        made = [*tensors(result)]
        return [small] * len(made) if all(one.shape == small.shape for one in made) else None

    def _move(
        self, func: Callable[..., Any], name: str, args: Any, kwargs: Any
    ) -> Tensor | list[Tensor] | None:
        first, *others = args
        if any(isinstance(one, torch.dtype) for one in others) or (name == "view" and kwargs):
            return None
        if name in functions.JOINS_TENSORS:
            first = [self._given(one) for one in tensors(first)]
        elif not name.endswith("_as") and any(
            self._numbers(one) is not None for one in tensors((others, kwargs))
        ):
            return None
        if isinstance(first, Tensor):
            first = self._given(first)
        if name in ("view", "view_as"):
            # Numbers that memory holds once are no view.
            func = Tensor.reshape if name == "view" else Tensor.reshape_as
        made = func(first, *others, **kwargs)
        found = [*tensors(made)]
        if name in functions.RESHAPES and any(
            sum(_varies(one, i) for i in range(one.dim())) > 1 for one in found
        ):
            return None
        if name in functions.TAKES:
            every = set(_distinct(first).unique().tolist())
            if any(set(_distinct(one).unique().tolist()) != every for one in found):
                return None
        return found


_READ = ("input", "weight", "bias")
