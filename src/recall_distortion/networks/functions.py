"""What functions of torch do to the channels of tensors, by name; all others mix them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Functions of single elements: what goes in at a place comes out there, however many go in.
ELEMENTWISE = _words("""
    abs absolute add addcdiv addcmul alpha_dropout atan bitwise_and bitwise_not bitwise_or bool celu
    clamp clamp_max clamp_min clip clone contiguous cos cpu cuda detach div double dropout dropout1d
    dropout2d dropout3d elu eq erf exp expm1 feature_alpha_dropout feature_dropout float float_power
    floor floordiv ge gelu gt half hardshrink hardsigmoid hardswish hardtanh iadd idiv imul invert
    ipow isub itruediv le leaky_relu lerp log log1p logical_and logical_not logical_or logsigmoid lt
    masked_fill maximum minimum mish mul multiply nan_to_num ne neg negative positive pow prelu radd
    rdiv reciprocal relu relu6 rmul round rpow rrelu rsqrt rsub rtruediv selu sigmoid sign silu sin
    softplus softshrink softsign sqrt square sub subtract tan tanh tanhshrink threshold true_divide
    truediv where
""")
#: Of these the first tensor alone goes in.
OF_ONE = _words("to type type_as")
#: Functions that only move elements; those of the second set may give them another shape.
MOVES = _words("""
    T broadcast_to cat concat concatenate expand expand_as flip mT moveaxis movedim permute repeat
    squeeze stack swapaxes swapdims t transpose unsqueeze
""")
RESHAPES = _words("flatten ravel reshape reshape_as unflatten view view_as")
#: Functions that take some of the elements.
TAKES = _words("chunk getitem index_select narrow select split tensor_split unbind")
#: Functions whose first argument is several tensors.
JOINS_TENSORS = _words("cat concat concatenate stack")
#: Functions of the last dimensions, each channel by itself; names may end in how many these are.
POOLS = _words("""
    adaptive_avg_pool adaptive_max_pool avg_pool interpolate lp_pool max_pool upsample
""")
REDUCES = _words("amax amin logsumexp max mean min prod std sum var")
_FIRST = ("input", "tensors", "tensor")
#: What only asks for the form of a tensor.
ASKS = _words("""
    data_ptr dim element_size get_device hash is_complex is_contiguous is_floating_point is_tensor
    len ndimension nelement numel size storage_offset stride
""")
#: What turns numbers of a tensor into Python's, to decide by them.
DECIDES = _words("""
    allclose array bool complex contains equal float index int is_nonzero item numpy tolist
""")
_TORCH, _HERE = (f"{Path(one).parent}{os.sep}" for one in (torch.__file__, __file__))


def name_of(function: Any) -> str:
    """Return a function's name without what says how it is called, as ``add`` for ``__iadd__``."""
    own = str(getattr(function, "__name__", function))
    if own == "__get__":
        own = str(function.__self__.__name__)
    return own.strip("_")


def argument(args: Sequence[Any], kwargs: Mapping[str, Any], place: int, name: str) -> Any:
    """Return an argument that is given by its place or its name; None where it is not."""
    return args[place] if len(args) > place else kwargs.get(name)


def by_place(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Return arguments of which the first is given by its place, as in ``cat(tensors=[x, y])``."""
    given = dict(kwargs)
    first = next((name for name in _FIRST if not args and name in given), None)
    return (args, given) if first is None else ((given.pop(first),), given)


def fits(shape: Sequence[int], into: Sequence[int]) -> bool:
    """Return whether a tensor of a shape can be broadcast into another."""
    own = zip(reversed(shape), reversed(into), strict=False)
    return len(shape) <= len(into) and all(a in (1, b) for a, b in own)


@contextmanager
def running(network: nn.Module) -> Iterator[set[str]]:
    """Have a set hold the names of the modules whose forward runs, for as long as it does."""
    names: set[str] = set()
    handles = []
    for name, module in network.named_modules():
        begin = module.register_forward_pre_hook(lambda *_, name=name: names.add(name))
        end = module.register_forward_hook(
            lambda *_, name=name: names.discard(name), always_call=True
        )
        handles += [begin, end]
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()


def tensors(values: Any) -> Iterator[Tensor]:
    """Yield the tensors of arguments or results, however deep they lie."""
    return (one for one in tree_iter(values) if isinstance(one, Tensor))


def place_of(name: str) -> str:
    """Return a function's name with the line of the user's code that calls it, where one does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "trace":
        if not frame.f_code.co_filename.startswith((_TORCH, _HERE)):
            return f"{name} in {Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
        frame = frame.f_back
    return name
