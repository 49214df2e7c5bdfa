"""Anyone's torch model on anyone's loader: labels and scores, as an audit reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from recall_distortion.system.errors import AuditError

#: What a batch that is a dictionary may call its labels.
_LABELS = ("labels", "label", "targets", "target", "y")
_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def predict(
    model: nn.Module, loader: Iterable[Any], *, device: str | torch.device | None = None
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the labels [N] of a loader's images and a model's scores [N, C] of them.

    A batch is (inputs, labels, ...), or a dictionary with its labels under ``labels``, ``label``,
    ``targets``, ``target`` or ``y``, whose one other tensor the model is called with; of several it
    gets each by its name. The model returns scores [B, C], or these as its first value or as
    ``logits``. It runs on ``device``, by default where it lies, without gradients and in evaluation
    mode; afterwards it is where and as it was. Raises ``AuditError``, also for a loader that
    shuffles: two calls would give the images in two orders.
    """
    if not isinstance(model, nn.Module):
        raise AuditError(f"predict: the model is a torch.nn.Module, not {type(model).__name__}")
    if isinstance(getattr(loader, "sampler", None), _SHUFFLING):
        raise AuditError(
            "predict: the loader shuffles, so that two models would see the images in two orders: "
            "build it with shuffle=False"
        )
    labels, scores = [], []
    with _evaluating(model, device) as place, torch.no_grad():
        for number, batch in enumerate(loader):
            where = f"predict: batch {number}"
            inputs, given = _parted(batch, where)
            found = _scores(_called(model, inputs, place), where)
            own = given.cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
            if own.ndim == 0 or len(own) != len(found):
                raise AuditError(
                    f"{where} has labels of shape {list(own.shape)} and scores of shape "
                    f"{list(found.shape)}: there is one row of scores for each label"
                )
            labels.append(own)
            scores.append(found)
    if not scores:
        raise AuditError("predict: the loader gives no batch")
    if len(widths := {tuple(part.shape[1:]) for part in scores}) > 1:
        raise AuditError(f"predict: the model gives rows of different lengths: {sorted(widths)}")
    return np.concatenate(labels), np.concatenate(scores)


@contextmanager
def _evaluating(
    model: nn.Module, device: str | torch.device | None
) -> Iterator[torch.device | None]:
    """Put a model into evaluation mode on a device; yield that, and put all back afterwards."""
    modes = {part: part.training for part in model.modules()}
    weight = next(model.parameters(), next(model.buffers(), None))
    home = None if weight is None else weight.device
    place = home if device is None else torch.device(device)
    moved = home is not None and place != home
    try:
        model.eval()
        if moved:
            model.to(place)
        yield place
    finally:
        if moved:
            model.to(home)
        for part, mode in modes.items():
            part.training = mode  # of itself alone: a part may be frozen in a model that trains


def _parted(batch: Any, where: str) -> tuple[Any, Any]:
    """Return a batch's inputs, a tensor or several by name, and its labels."""
    if isinstance(batch, Mapping):
        name = next((name for name in _LABELS if name in batch), None)
        if name is None:
            raise AuditError(
                f"{where} is a dictionary of {', '.join(map(str, batch))}: put its labels under "
                f"one of {', '.join(_LABELS)}"
            )
        inputs = {
            key: value for key, value in batch.items() if key != name and isinstance(value, Tensor)
        }
        if not inputs:
            raise AuditError(f"{where} has labels, and no tensor beside them")
        return (next(iter(inputs.values())) if len(inputs) == 1 else inputs), batch[name]
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return batch[0], batch[1]
    raise AuditError(
        f"{where} is {type(batch).__name__}; give (inputs, labels), or a dictionary with both"
    )


def _called(model: nn.Module, inputs: Any, place: torch.device | None) -> Any:
    if isinstance(inputs, Mapping):
        return model(**{str(name): _moved(value, place) for name, value in inputs.items()})
    return model(_moved(inputs, place))


def _moved(value: Any, place: torch.device | None) -> Any:
    return value.to(place) if isinstance(value, Tensor) and place is not None else value


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
    scores: NDArray[np.float32] = found.float().cpu().numpy()
    return scores
