"""Reading a study file, with messages that name the file, the key and what would be valid."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from recall_distortion.compression.facts import CHANNEL
from recall_distortion.compression.ratios import fraction_to_keep
from recall_distortion.compression.spans import check_steps
from recall_distortion.networks import plans, structure
from recall_distortion.networks.plans import ARCHITECTURES
from recall_distortion.networks.structure import Layer
from recall_distortion.study import transferring, units
from recall_distortion.study.examined import Found, ImageShape
from recall_distortion.study.models import Network, Study
from recall_distortion.study.own import MODULE
from recall_distortion.study.parts import KINDS, Method
from recall_distortion.study.strict import NAME
from recall_distortion.system.errors import NetworkError, StudyError
from recall_distortion.vocabulary import Panel

# Keys that the command line may override: plain values. What describes the study's structure
# belongs into a file, and two studies' keys are never merged.
OVERRIDES = (
    "seeds",
    "first_seed",
    "ratios",
    "count",
    "selection",
    "level",
    "crossfit_splits",
    "engine",
    "precision",
    "deterministic",
)

#: What text of a pattern is, in words.
_PATTERNS = {
    NAME: "a name of a to z, 0 to 9 and _ that begins with a letter",
    MODULE: "package.module:function, or file.py:function, of what makes the network",
}


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Return the study in a YAML file, with plain values overridden.

    Raises ``StudyError`` naming the file, the key and what would be valid.
    """
    path = Path(path)
    overrides = dict(overrides or {})
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem) or path.suffix != ".yaml":
        raise StudyError(
            f"{path}: a study's file is named by letters, digits, '_' and '-', and ends in .yaml"
        )
    values = _read(path)
    for key in overrides:
        if key not in OVERRIDES:
            what = (
                "describes a study's structure, so it belongs into a file under config/studies"
                if key in Study.model_fields
                else "is unknown"
            )
            raise StudyError(
                f"command line: the key {key!r} {what}; valid here: "
                f"study, data_root, gpus, {', '.join(OVERRIDES)}"
            )
    study = _validated(path, values, overrides)
    unchanged = _validated(path, values, {})
    study._name, study._beside = path.stem, str(path.parent)
    # An override that repeats the file's value, or its default, changes nothing, so it names no
    # folder.
    for key in overrides:
        if getattr(study, key) != getattr(unchanged, key):
            study._overrides[key] = getattr(study, key)
    return study


def _validated(path: Path, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> Study:
    try:
        return Study.model_validate({**values, **overrides})
    except ValidationError as error:
        raise StudyError(_explain(path, error, overrides)) from None


def check_feasible(
    study: Study,
    path: str | Path,
    shapes: Mapping[str, ImageShape],
    found: Mapping[tuple[str, str], Found] | None = None,
) -> None:
    """Raise ``StudyError`` where a network does not fit its images or cannot reach a ratio.

    ``shapes`` gives for each data set of the study the channels, size and classes of its images,
    ``found`` what its own networks are, by architecture and data set.
    """
    for network in study.networks():
        panel = network.panel
        shape = shapes[panel.dataset]
        _check_steps(study, network, path)
        if panel.architecture in study.architectures:
            own_network = (found or {})[panel.architecture, panel.dataset]
            counts, layers = own_network.counts, own_network.layers
            if study.dead_units and not own_network.rectifiers:
                raise StudyError(
                    f"{path}: dead_units: {panel.architecture} calls no rectifier (relu), whose "
                    "units could be dead; remove it, or train the network in a study of its own"
                )
            if own_network.tokens:
                _refuse_of_tokens(path, network, study)
            _check_regularizers(path, network, own_network.norms, own_network.hidden)
        else:
            _check_size(path, panel, shape)
            layers = tuple(
                plans.layers(
                    panel.architecture, shape.channels, shape.classes, (shape.image_size,) * 2
                )
            )
            counts = structure.counts(layers)
            norms = any(layer.kind == structure.BATCH_NORM for layer in layers)
            _check_regularizers(path, network, norms, hidden=True)
        where = f"{panel.architecture} on {panel.dataset}"
        if misfit := transferring.check_shapes(study, panel, shapes):
            raise StudyError(f"{path}: key 'methods': {misfit}")
        for method in network.methods:
            definition = study.pruning(method)
            taken = isinstance(definition, transferring.Transferred)
            if definition is None or taken or definition.profile:
                continue  # nothing is removed, or what every network has
            if definition.unit == CHANNEL.name:
                _check_scales(path, where, method, definition, layers)
            if definition.sparsities:
                continue
            own = definition.ratios is not None
            for ratio in study.ratios_of(method):
                try:
                    if definition.unit == CHANNEL.name:
                        units.reach(layers, definition, ratio, study.count, where)
                    else:
                        fraction_to_keep(counts, ratio, study.count, where)
                except NetworkError as error:
                    key = f"methods.{method}.ratios" if own else "ratios"
                    raise StudyError(f"{path}: key {key!r}: {error}") from None


def _check_regularizers(path: str | Path, network: Network, norms: bool, hidden: bool) -> None:
    """Raise ``StudyError`` for a regularizer that finds nothing in a network.

    ``norms`` and ``hidden`` say whether it has batch norm, and layers before its classifier.
    """
    recipes = network.recipe.training, network.recipe.finetuning
    for name, what, has in (
        ("batch_norm_l1", "batch norm", norms),
        ("jumpstart", "linear layer or convolution before its classifier", hidden),
    ):
        if not has and any(name in one.regularizers for one in recipes):
            raise StudyError(
                f"{path}: recipes.{network.panel.recipe}: regularizer {name} finds nothing in "
                f"{network.panel.architecture}, which has no {what}; train that network by another "
                "recipe"
            )


def _check_scales(
    path: str | Path, where: str, name: str, method: Method, layers: Sequence[Layer]
) -> None:
    try:
        units.check_scales(where, name, method, layers)
    except NetworkError as error:
        raise StudyError(f"{path}: key 'methods': {error}") from None


def _refuse_of_tokens(path: str | Path, network: Network, study: Study) -> None:
    """Raise ``StudyError`` for what counts units of layers, where a network's have tokens."""
    recipes = network.recipe.training, network.recipe.finetuning
    asked = ["regularizer jumpstart"] * any("jumpstart" in one.regularizers for one in recipes)
    asked += ["dead_units"] * bool(study.dead_units)
    if asked:
        raise StudyError(
            f"{path}: {asked[0]}: linear layers of {network.panel.architecture} get tokens, of "
            "which the units of a point are not defined; remove it, or train the network in a "
            "study of its own"
        )


def _check_size(path: str | Path, panel: Panel, shape: ImageShape) -> None:
    """Raise ``StudyError`` where images are too small for a network."""
    smallest = plans.architecture(panel.architecture).minimum_image_size
    if shape.image_size < smallest:
        raise StudyError(
            f"{path}: key 'panels': {panel.architecture} needs images of at least "
            f"{smallest} x {smallest} pixels and {panel.dataset} has {shape.image_size}; "
            f"valid here: "
            + ", ".join(
                name
                for name, facts in ARCHITECTURES.items()
                if facts.minimum_image_size <= shape.image_size
            )
        )


def _check_steps(study: Study, network: Network, path: str | Path) -> None:
    """Raise ``StudyError`` where what events take would not be back in time.

    Where the study does not say how many images there are, the job does.
    """
    fitted = study.datasets[network.panel.dataset].fitted(study.selection)
    for method in network.methods:
        definition = study.pruning(method)
        if fitted is None or definition is None or definition.events is None:
            continue
        own, batches = definition.events, -(-fitted // network.recipe.training.batch_size)
        where = f"{network.panel.architecture} on {network.panel.dataset}"
        try:
            check_steps(
                where, own.start, own.every or own.end + 1, own.end, own.steps or 0, batches
            )
        except NetworkError as error:
            raise StudyError(f"{path}: key 'methods.{method}.events.steps': {error}") from None


def schema() -> str:
    """Return the JSON schema of study files."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"


class _Loader(yaml.SafeLoader):
    """YAML without silently dropped keys, and with 5e-4 read as the number it is."""


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, str):
            raise yaml.MarkedYAMLError(
                None, None, f"the key {key!r} is not a text", key_node.start_mark
            )
        if key in seen:
            raise yaml.MarkedYAMLError(
                None,
                None,
                f"the key {key!r} stands twice; are two studies mixed in one file?",
                key_node.start_mark,
            )
        seen.add(key)
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
# YAML 1.1 reads 1:30 as ninety and 010 as eight, which nobody means: they stay texts, and a text is
# no number where one belongs.
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in zip(
    _NUMBERS,
    (
        r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)",
        r"[-+]?((\d[\d_]*\.\d*|\.\d+)([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.(inf|Inf|INF))"
        r"|\.(nan|NaN|NAN)",
    ),
    strict=True,
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^({_pattern})$"), list("-+0123456789."))

# Aliases let a short text mean a huge value; a study has a few hundred parts.
_MOST_PARTS = 100_000


def parse(text: str) -> Any:
    """Return what a YAML text says, as plain values.

    Raises ``yaml.YAMLError``, or ``ValueError`` for a value that cannot be, as the date 2026-13-01,
    or is too large.
    """
    try:
        # _Loader extends SafeLoader, which builds plain values only.
        value = yaml.load(text, Loader=_Loader)
        _count(value, 0)
    except RecursionError:
        raise ValueError("it is nested too deeply, or in itself") from None
    return value


def _count(value: Any, parts: int) -> int:
    """Return ``parts`` plus how many parts a value has; raises ``ValueError`` for too many."""
    parts += 1
    if parts > _MOST_PARTS:
        raise ValueError("its aliases (*) mean more values than a study can have")
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list, tuple, set)):
        for child in children:
            parts = _count(child, parts)
    return parts


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise StudyError(f"{path}: is no file; a study is a text file in YAML")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise StudyError(
            f"{path}: there is no such study; valid: {', '.join(known) or 'none here'}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        values = parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise StudyError(f"{path}{line}: {what}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise StudyError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise StudyError(f"{path}: a study is a mapping of keys; valid: {_fields(Study)}")
    return values


def _fields(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _explain(path: Path, error: ValidationError, overrides: Mapping[str, Any]) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=True):
        location = [str(part) for part in problem["loc"]]
        key = ".".join(part for i, part in enumerate(location) if not _is_kind(location, i))
        where = "command line" if location and location[0] in overrides else str(path)
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if problem["type"] == "extra_forbidden":
            parent = _model_at(location[:-1])
            message = "unknown key" + (f"; valid here: {_fields(parent)}" if parent else "")
        elif problem["type"] != "missing":
            if problem["type"] == "string_pattern_mismatch":
                message = f"should be {_PATTERNS[problem['ctx']['pattern']]}"
            given = repr(problem["input"])
            if problem["type"] != "value_error" or len(given) < 60:
                message += f", not {given[:80]}"
        lines.append(f"{where}: " + (f"key {key!r}: " if key else "") + message)
    return "\n".join(lines)


def _is_kind(location: list[str], place: int) -> bool:
    """Return whether a part of a location is no key: a method's kind, or that a key is wrong."""
    kind = place == 2 and location[0] == "methods" and location[2] in KINDS
    return kind or location[place] == "[key]"


def _given(annotation: Any) -> Any:
    """Return what stands where a key is given that may be left out, without its bounds."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [part for part in get_args(annotation) if part is not NoneType]
        annotation = kinds[0] if len(kinds) == 1 else annotation
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _model_at(location: list[str]) -> type[BaseModel] | None:
    """Return the model whose key a location names, by following the annotations."""
    current: Any = Study
    for place, part in enumerate(location):
        if _is_kind(location, place):
            current = KINDS[part]
        elif isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            current = _given(field.annotation) if field else None
        else:  # list[X] or dict[Name, X]
            arguments = getattr(current, "__args__", ())
            current = arguments[-1] if arguments else None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None
