"""Networks of a user's own: any plain torch module that a function of theirs makes.

What the other rooms ask of a network is found in it by a call on two images: which layer gives the
logits, what may be pruned, whether its training draws random numbers. It is loaded by name, so that
jobs of the networks here do not depend on it.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recall_distortion.networks import registry
from recall_distortion.networks.definition import Definition
from recall_distortion.networks.seeded import seeded
from recall_distortion.system import own_code
from recall_distortion.system.errors import NetworkError

#: Images that a network is called with to see what is what.
SEEN = 2


@dataclass(frozen=True)
class Own:
    """What is known of a network that a user's function makes.

    ``make`` makes another one, for images of ``channels`` and a height and width, ``image``.
    ``classifier`` names the module that gives the logits, ``prunable`` the parameters that may be
    pruned, in order; ``draws`` says whether the module draws random numbers while it is trained, as
    dropout does.
    """

    definition: Definition
    channels: int
    image: tuple[int, int]
    make: Callable[[], nn.Module]
    classifier: str
    prunable: tuple[str, ...]
    draws: bool

    def initialize(self, network: nn.Module, generator: torch.Generator) -> None:
        """Make a network anew with the global generators seeded from ``generator``."""
        with seeded(generator):
            state = self.make().state_dict()
        network.load_state_dict(state)

    def read_state(self, network: nn.Module, path: str) -> dict[str, Tensor]:
        """Return the state that a safetensors file has for a network (``read_state``)."""
        return read_state(str(network.architecture), network, path)


def build(
    name: str, definition: Definition, *, channels: int, classes: int, image: tuple[int, int]
) -> nn.Module:
    """Return the network that a definition says, for images of ``channels`` and a height and width.

    Its forward gives logits [N, ``classes``]. Raises ``NetworkError`` where the user's code is not
    what it was when the study was read, makes no such module, or what is sought in it is not found.
    """
    function = load(name, definition)
    make = maker(name, definition, function, channels, classes)
    with seeded(torch.Generator().manual_seed(0)):
        network = make()
    _check_parameters(name, network)
    shown = torch.rand(SEEN, channels, *image, generator=torch.Generator().manual_seed(0))
    network.register_forward_pre_hook(_contiguous)
    classifier = _classifier(name, network, definition, shown, classes)
    prunable = _prunable(name, network, definition, classifier)
    draws = _draws(name, network, shown)
    own = Own(definition, channels, image, make, classifier, prunable, draws)
    setattr(network, registry.OWN, own)
    network.architecture = name  # type: ignore[assignment]  # torch declares tensors and modules
    return network


def load(name: str, definition: Definition) -> Callable[..., Any]:
    """Return the function that a definition names, from the files that it was written with."""
    target, _, function = definition.module.rpartition(":")
    where = f"architecture {name}: module {definition.module}"
    try:
        place = own_code.locate(target, definition.folder)
        now = own_code.words(place)
    except NetworkError as error:
        raise NetworkError(f"{where}: {error}") from None
    if changed := [path for path, word in {**now, **definition.code}.items()
                   if definition.code.get(path) != word or now.get(path) != word]:  # fmt: skip
        raise NetworkError(
            f"{where}: {', '.join(sorted(changed))} is not what it was when the study was read: "
            "start the study again, or bring the files that the plan was written with"
        )
    module = _import(where, place)
    found: Callable[..., Any] | None = getattr(module, function, None)
    if not callable(found):
        callables = [
            own
            for own, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise NetworkError(
            f"{where}: {place.name} has no function or class {function}; it has "
            f"{', '.join(callables) or 'none'}"
        )
    return found


def _import(where: str, place: own_code.Place) -> ModuleType:
    # As for a script that is run: what lies beside the module is imported by its name.
    folders = [str(Path(folder).resolve()) for folder in place.folders]
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    try:
        if place.folders and (file := Path(place.folders[0], f"{place.name}.py")).is_file():
            # By its path: a file's name may be another module's, too.
            spec = util.spec_from_file_location(place.name, file.resolve())
            assert spec is not None
            assert spec.loader is not None
            module = util.module_from_spec(spec)
            sys.modules[place.name] = module
            spec.loader.exec_module(module)
            return module
        return import_module(place.name)
    except Exception as error:
        raise NetworkError(f"{where}: importing it raised {raised(error)}") from None


def raised(error: Exception) -> str:
    """Return an error of a user's code in a line: its kind, what it says, and where it arose."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {said} ({last.filename}, line {last.lineno})"


def maker(
    name: str, definition: Definition, function: Callable[..., Any], channels: int, classes: int
) -> Callable[[], nn.Module]:
    """Return what calls the user's function and checks that it makes a plain module.

    It is called with the options and, where its signature names them, ``channels`` and ``classes``.
    """
    where = f"architecture {name}: {definition.module}"
    given: dict[str, Any] = {"channels": channels, "classes": classes}
    known: Mapping[str, inspect.Parameter]
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        known = {}
    arguments = {key: value for key, value in given.items() if key in known}
    arguments |= definition.options

    def make() -> nn.Module:
        try:
            network = function(**arguments)
        except Exception as error:
            called = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            raise NetworkError(f"{where}({called}) raised {raised(error)}") from None
        if not isinstance(network, nn.Module) or isinstance(network, torch.jit.ScriptModule):
            raise NetworkError(
                f"{where} returns {type(network).__name__}; return a torch.nn.Module that is "
                "neither scripted nor compiled"
            )
        return network

    return make


def _contiguous(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Have images lie as torch's own loaders give them, so that ``view`` works on features."""
    return (given[0].contiguous(), *given[1:])


def _check_parameters(name: str, network: nn.Module) -> None:
    """Raise ``NetworkError`` for parameters and buffers that no job can train, prune or keep."""
    where = f"architecture {name}"
    of_tensor: dict[int, str] = {}
    for own, value in network.named_parameters(remove_duplicate=False):
        if isinstance(value, nn.parameter.UninitializedParameter):
            raise NetworkError(
                f"{where}: {own} has no size before the first call; use a layer that is not lazy"
            )
        if value.dtype != torch.float32:
            raise NetworkError(f"{where}: {own} is {value.dtype}; parameters are torch.float32")
        if value.device.type != "cpu":
            raise NetworkError(
                f"{where}: {own} lies on {value.device}; make the module on the CPU, jobs move it"
            )
        if id(value) in of_tensor:
            raise NetworkError(
                f"{where}: {of_tensor[id(value)]} and {own} are one tensor, and masks are of "
                "single ones; give each layer weights of its own"
            )
        of_tensor[id(value)] = own
        if not torch.isfinite(value).all():
            raise NetworkError(
                f"{where}: {own} holds numbers that are not finite, so that nobody seems to "
                "initialize it; do it in the function that makes the module"
            )
    for own, buffer in network.named_buffers():
        if buffer.dtype.is_complex or buffer.dtype in (torch.bfloat16, torch.float8_e4m3fn):
            raise NetworkError(f"{where}: buffer {own} is {buffer.dtype}; use torch.float32")


@torch.no_grad()
def _classifier(
    name: str, network: nn.Module, definition: Definition, shown: Tensor, classes: int
) -> str:
    """Return the module that is never pruned: as named, or the last layer that gives the logits.

    That is the last linear layer or convolution, in the order in which they are called, with as
    many outputs as there are classes.
    """
    modules = dict(network.named_modules())
    if definition.classifier:
        if definition.classifier not in modules:
            raise NetworkError(
                f"architecture {name}: classifier: {definition.classifier} is no module of it; its "
                f"layers are {_layers(network)}"
            )
        return definition.classifier
    called: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, own=own: called.append(own))
        for own, module in modules.items()
        if isinstance(module, registry.WEIGHTED) and len(module.weight) == classes
    ]
    try:
        network.eval()(shown)
    except Exception as error:
        raise NetworkError(
            f"architecture {name}: on images {[*shown.shape]} it raised {raised(error)}"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    if not called:
        raise NetworkError(
            f"architecture {name}: no linear layer or convolution of it has an output for each of "
            f"the {classes} classes, so that nobody knows what is the classifier, which is never "
            f"pruned; name it by classifier: NAME. Its layers are {_layers(network)}"
        )
    return called[-1]


def _layers(network: nn.Module) -> str:
    found = [n for n, module in network.named_modules() if isinstance(module, registry.WEIGHTED)]
    return ", ".join(found) or "none"


def _prunable(
    name: str, network: nn.Module, definition: Definition, classifier: str
) -> tuple[str, ...]:
    """Return the parameters that may be pruned: as named, or the weights of layers.

    These are those of linear layers, convolutions and attention. What is frozen and what belongs to
    the classifier is never among them.
    """
    free = {own for own, value in network.named_parameters() if value.requires_grad}
    if definition.prunable:
        for pattern in definition.prunable:
            if not any(fnmatchcase(own, pattern) for own in free):
                raise NetworkError(
                    f"architecture {name}: prunable: {pattern} matches no parameter that is "
                    f"trained; it has {', '.join(sorted(free))}"
                )
        chosen = {own for own in free if any(fnmatchcase(own, p) for p in definition.prunable)}
    else:
        chosen = {own for own in free if _is_weight(network, own)}
    # A network that is its own classifier has nothing else.
    found = tuple(
        own
        for own, _ in network.named_parameters()
        if own in chosen and classifier and not own.startswith(f"{classifier}.")
    )
    if not found:
        raise NetworkError(
            f"architecture {name}: but for its classifier, {classifier or 'which is all of it'}, "
            "it has no weights of linear layers, convolutions or attention to prune; name "
            "parameters by prunable: [NAME, ...]"
        )
    return found


def _is_weight(network: nn.Module, parameter: str) -> bool:
    layer, _, own = parameter.rpartition(".")
    module = network.get_submodule(layer)
    if isinstance(module, nn.MultiheadAttention):
        return own.endswith("proj_weight")
    return own == "weight" and isinstance(module, registry.WEIGHTED)


def read_state(name: str, network: nn.Module, path: str) -> dict[str, Tensor]:
    """Return the state that a safetensors file has for a network, in the network's types.

    Raises ``NetworkError`` for a file that is missing or no safetensors, and for tensors that are
    missing, unknown, of another shape or not finite.
    """
    where = f"architecture {name}: weights {path}"
    try:
        found = load_file(path)
    except FileNotFoundError:
        raise NetworkError(f"{where}: there is no such file") from None
    except (OSError, SafetensorError) as error:
        raise NetworkError(
            f"{where}: cannot be read as safetensors ({error}); write it by "
            "safetensors.torch.save_file(module.state_dict(), path)"
        ) from None
    wanted = network.state_dict()
    if missing := [own for own in wanted if own not in found]:
        raise NetworkError(f"{where}: it has no {', '.join(missing)}")
    if unknown := [own for own in found if own not in wanted]:
        raise NetworkError(
            f"{where}: it has {', '.join(unknown)}, which the module has not; the module has "
            f"{', '.join(wanted)}"
        )
    for own, value in wanted.items():
        if found[own].shape != value.shape:
            raise NetworkError(
                f"{where}: {own} is {[*found[own].shape]} there and {[*value.shape]} in the module"
            )
        if not torch.isfinite(found[own]).all():
            raise NetworkError(f"{where}: {own} holds numbers that are not finite")
    return {own: found[own].to(value.dtype) for own, value in wanted.items()}


@torch.no_grad()
def _draws(name: str, network: nn.Module, shown: Tensor) -> bool:
    """Return whether a call in training mode draws from the global generators."""
    buffers = {own: value.clone() for own, value in network.named_buffers()}
    with seeded(torch.Generator().manual_seed(0)) as drawn:
        try:
            network.train()(shown)
        except Exception as error:
            raise NetworkError(
                f"architecture {name}: in training, on images {[*shown.shape]}, it raised "
                f"{raised(error)}"
            ) from None
        found = drawn()
    restore(network, buffers)
    return found


@torch.no_grad()
def restore(network: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Set a network's buffers to what they were."""
    for own, value in network.named_buffers():
        value.copy_(buffers[own])
