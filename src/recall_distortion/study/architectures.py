"""How a study names the networks that it trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import WithJsonSchema

from recall_distortion.networks import plans, sizes
from recall_distortion.study.strict import Name
from recall_distortion.system.errors import NetworkError

_PATTERNS = [sizes.PATTERN, "^[a-z][a-z0-9_]*$"]  # the last of one's own

#: A network of the package, of some with depth and width as thin_mlp_30x8, or one of one's own.
ArchitectureName = Annotated[
    Name,
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [{"enum": [*plans.ARCHITECTURES]}, *({"pattern": p} for p in _PATTERNS)],
        }
    ),
]


def is_built_in(name: str) -> bool:
    """Return whether a network is one of the package."""
    try:
        plans.architecture(name)
    except NetworkError:
        return False
    return True


def check(architectures: Iterable[str], listed: Sequence[tuple[str, str]]) -> None:
    """Check that one's own networks have names of their own and are used, and panels' are known.

    ``listed`` are networks of panels, each behind the panel's key.
    """
    own = [*architectures]
    for name in own:
        if is_built_in(name):
            raise ValueError(f"architectures: {name!r} is built in; give yours another name")
        if name not in [network for _, network in listed]:
            raise ValueError(
                f"architectures.{name}: no panel uses it; remove it or list it in a panel"
            )
    for where, name in listed:
        if name not in own and not is_built_in(name):
            raise ValueError(
                f"{where}.architectures: unknown network {name!r}; valid: "
                f"{', '.join([*plans.KNOWN, *own])}, or one of your own under architectures"
            )
