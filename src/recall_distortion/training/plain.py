"""From the plain values that a job is given to frozen objects, once, at the job's door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from recall_distortion.system.errors import TrainingError


class Dataclass(Protocol):
    """An object of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Dataclass)


def read(kind: type[T], values: Any, where: str) -> T:
    """Return the object of a dataclass that plain values describe, its parts among them.

    ``values`` are as JSON has them: mappings by field, lists, texts, numbers. ``where`` begins
    messages. Raises ``TrainingError`` for a key that is unknown or missing, or a value of another
    type, naming it and what is valid.
    """
    if not isinstance(values, Mapping):
        raise TrainingError(f"{where}: a mapping of keys, not {values!r}; valid: {_names(kind)}")
    hints = get_type_hints(kind)
    if unknown := [key for key in values if key not in hints]:
        raise TrainingError(f"{where}: unknown key {unknown[0]!r}; valid: {_names(kind)}")
    found = {}
    for field in fields(kind):
        if field.name in values:
            found[field.name] = _value(
                hints[field.name], values[field.name], f"{where}.{field.name}"
            )
        elif field.default is MISSING and field.default_factory is MISSING:
            raise TrainingError(f"{where}: there is no key {field.name!r}; valid: {_names(kind)}")
    return kind(**found)


def plain(value: Dataclass) -> dict[str, Any]:
    """Return what a dataclass's object says as plain values, but for what is as by default.

    So a field that is added with a default changes no file that was written without it.
    """
    defaults = {field.name: field.default for field in fields(value)}
    return {key: part for key, part in asdict(value).items() if part != defaults[key]}


def _names(kind: Any) -> str:
    return ", ".join(field.name for field in fields(kind))


def _value(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        (hint,) = (part for part in inner if part is not NoneType)
        return _value(hint, value, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return value if isinstance(value, hint) else read(hint, value, where)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TrainingError(f"{where}: a list, not {value!r}")
        return tuple(_value(inner[0], part, f"{where}.{i}") for i, part in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise TrainingError(f"{where}: a mapping, not {value!r}")
        return {key: _value(inner[1], part, f"{where}.{key}") for key, part in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise TrainingError(f"{where}: a value of type {hint.__name__}, not {value!r}")
    return value
