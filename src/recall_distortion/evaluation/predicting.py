"""Anyone's torch model on anyone's loader: labels and scores, as an audit reads them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from recall_distortion.system.errors import AuditError

#: What a batch that is a dictionary may call its labels.
_LABELS = ("labels", "label", "targets", "target", "y")
_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
#: Of a sampler that is not torch's so many images show whether it shuffles.
_LOOKED_AT = 10_000


def predict(
    model: nn.Module, loader: Iterable[Any], *, device: str | torch.device | None = None
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the labels [N] of a loader's images and a model's scores [N, C] of them.

    A batch is (inputs, labels, ...), or a dictionary with its labels under ``labels``, ``label``,
    ``targets``, ``target`` or ``y``, whose one other tensor the model is called with; of several it
    gets those that it has names for, or the only one that is no index. Inputs get the model's
    precision. The model returns scores [B, C], or these as its first value or as ``logits``. It
    runs on ``device``, by default where it lies, without gradients and in evaluation mode (an
    exported program in that of its export); afterwards it is where and as it was. Raises
    ``AuditError``, also for a loader that shuffles or leaves images out: two calls would give other
    images, or in another order. An iterable data set is not looked into.
    """
    if not isinstance(model, nn.Module):
        raise AuditError(f"predict: the model is a torch.nn.Module, not {type(model).__name__}")
    _check_loader(loader)
    labels, scores = [], []
    with _evaluating(model, device) as place, torch.no_grad():
        for number, batch in enumerate(loader):
            where = f"predict: batch {number}"
            inputs, given = _parted(batch, model, where)
            found = _scores(_called(model, inputs, place), where)
            own = _labels(given, where)
            if own.ndim == 0 or len(own) != len(found):
                raise AuditError(
                    f"{where} has labels of shape {list(own.shape)} and scores of shape "
                    f"{list(found.shape)}: there is one row of scores for each label"
                )
            labels.append(own)
            scores.append(found)
    if not scores:
        raise AuditError("predict: the loader gives no batch")
    _check_alike(labels, scores)
    return np.concatenate(labels), np.concatenate(scores)


def _check_loader(loader: Any) -> None:
    """Raise ``AuditError`` for a loader that gives its images shuffled, or not all of them."""
    batches = getattr(loader, "batch_sampler", None)
    samplers = [getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)]
    if any(map(_shuffles, samplers)):
        raise AuditError(
            "predict: the loader shuffles, so that two models would see the images in two orders: "
            "build it with shuffle=False"
        )
    if any(getattr(sampler, "num_replicas", 1) > 1 for sampler in samplers):
        raise AuditError(
            "predict: the loader's sampler gives one process's part of the images: build it "
            "without a distributed sampler"
        )
    drops = getattr(loader, "drop_last", False) or getattr(batches, "drop_last", False)
    if drops and _left_over(loader, batches):
        raise AuditError(
            "predict: the loader drops its last batch, so that images are left out: build it with "
            "drop_last=False"
        )


def _shuffles(sampler: Any) -> bool:
    if isinstance(sampler, DistributedSampler):
        return bool(sampler.shuffle)
    if isinstance(sampler, _SHUFFLING):
        return True
    if not isinstance(sampler, Sampler) or type(sampler) in (SequentialSampler, BatchSampler):
        return False
    twice = islice(zip(iter(sampler), iter(sampler), strict=False), _LOOKED_AT)
    return any(one != other for one, other in twice)


def _left_over(loader: Any, batches: Any) -> bool:
    """Return whether a last batch would not be full; where that is not known, it may be."""
    size = getattr(batches, "batch_size", getattr(loader, "batch_size", None))
    try:
        return not size or len(getattr(batches, "sampler", loader.sampler)) % size != 0
    except (TypeError, AttributeError):
        return True


def _labels(given: Any, where: str) -> NDArray[Any]:
    if isinstance(given, Tensor):
        if given.dtype == torch.bfloat16:
            raise AuditError(
                f"{where} has labels of bfloat16, which holds no class above 256: give integers"
            )
        given = given.detach().cpu().numpy()
    try:
        return np.asarray(given)
    except ValueError:
        raise AuditError(f"{where} has labels of different lengths: give a class each") from None


def _check_alike(labels: list[NDArray[Any]], scores: list[NDArray[np.float32]]) -> None:
    """Raise ``AuditError`` where batches are of different kinds."""
    if len(widths := {tuple(part.shape[1:]) for part in scores}) > 1:
        raise AuditError(f"predict: the model gives rows of different lengths: {sorted(widths)}")
    if len(shapes := {tuple(part.shape[1:]) for part in labels}) > 1:
        raise AuditError(f"predict: the batches' labels have different shapes: {sorted(shapes)}")
    if len({part.dtype.kind.replace("u", "i") for part in labels}) > 1:
        named = sorted({str(part.dtype) for part in labels})
        raise AuditError(f"predict: the batches' labels are {' and '.join(named)}")


@contextmanager
def _evaluating(
    model: nn.Module, device: str | torch.device | None
) -> Iterator[torch.device | None]:
    """Put a model into evaluation mode on a device; yield that, and put all back afterwards."""
    modes = {part: part.training for part in model.modules()}
    weight = next(model.parameters(), next(model.buffers(), None))
    home = None if weight is None else weight.device
    place = home if device is None else _device(device)
    moved = home is not None and place != home
    try:
        _evaluate(model)
        if moved:
            _move(model, place)
        yield place
    finally:
        if moved:
            model.to(home)
        for part, mode in modes.items():
            part.training = mode  # of itself alone: a part may be frozen in a model that trains


def _evaluate(model: nn.Module) -> None:
    try:
        model.eval()
    except NotImplementedError:
        # An exported program has no modes: its graph is in that of its export.
        if not isinstance(model, torch.fx.GraphModule):
            raise


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise AuditError(f"predict: device {device!r}: {_line(error)}") from None


def _move(model: nn.Module, place: torch.device | None) -> None:
    try:
        model.to(place)
    # Torch's words for a device that is not there are of either kind.
    except (RuntimeError, AssertionError) as error:
        raise AuditError(f"predict: device {place}: {_line(error)}") from None


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _parted(batch: Any, model: nn.Module, where: str) -> tuple[Any, Any]:
    """Return a batch's inputs, a tensor or several by name, and its labels."""
    if isinstance(batch, Mapping):
        name = next((name for name in _LABELS if name in batch), None)
        if name is None:
            raise AuditError(
                f"{where} is a dictionary of {', '.join(map(str, batch))}: put its labels under "
                f"one of {', '.join(_LABELS)}"
            )
        inputs = {
            str(key): value
            for key, value in batch.items()
            if key != name and isinstance(value, Tensor)
        }
        if not inputs:
            raise AuditError(f"{where} has labels, and no tensor beside them")
        return (
            next(iter(inputs.values())) if len(inputs) == 1 else _chosen(inputs, model, where)
        ), batch[name]
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return batch[0], batch[1]
    raise AuditError(
        f"{where} is {type(batch).__name__}; give (inputs, labels), or a dictionary with both"
    )


def _chosen(tensors: Mapping[str, Tensor], model: nn.Module, where: str) -> Any:
    """Return those of several tensors that a model has names for, or the one that is no index."""
    try:
        known = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # compiled: whatever it takes
        return tensors
    if any(one.kind == one.VAR_KEYWORD for one in known):
        return tensors
    named = {one.name: tensors[one.name] for one in known if one.name in tensors}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    wanted = [one.name for one in known if one.default is one.empty and one.kind in kinds]
    if named and set(wanted) <= set(named):
        return named
    others = [one for one in tensors.values() if one.ndim > 1 or one.is_floating_point()]
    if len(others) == 1 and len(wanted) == 1:
        return others[0]
    raise AuditError(
        f"{where} has the tensors {', '.join(tensors)}, and the model takes {', '.join(wanted)}: "
        "give them the model's names"
    )


def _called(model: nn.Module, inputs: Any, place: torch.device | None) -> Any:
    precision = _precision(model)
    if isinstance(inputs, Mapping):
        return model(
            **{str(name): _moved(value, place, precision) for name, value in inputs.items()}
        )
    return model(_moved(inputs, place, precision))


def _precision(model: nn.Module) -> torch.dtype | None:
    """Return what numbers a model's weights are, None where they are of several kinds or none."""
    kinds = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    return kinds.pop() if len(kinds) == 1 else None


def _moved(value: Any, place: torch.device | None, precision: torch.dtype | None) -> Any:
    if not isinstance(value, Tensor) or place is None:
        return value
    is_cast = precision is not None and value.is_floating_point()
    return value.to(place, precision if is_cast else value.dtype)


def _scores(found: Any, where: str) -> NDArray[np.float32]:
    """Return what a model gave for a batch as scores [B, C], or [B] of one class."""
    if isinstance(found, Mapping):
        found = found.get("logits", found)
    elif not isinstance(found, Tensor) and hasattr(found, "logits"):
        found = found.logits
    elif isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise AuditError(f"{where}: the model gives {type(found).__name__}, not a tensor of scores")
    if found.ndim not in (1, 2):
        raise AuditError(
            f"{where}: the model gives shape {list(found.shape)}; an audit reads one row of scores "
            "for each image"
        )
    if found.is_complex():
        raise AuditError(f"{where}: the model gives complex numbers, which are no scores")
    scores: NDArray[np.float32] = found.to_dense().float().cpu().numpy()
    return scores
