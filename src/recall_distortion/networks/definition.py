"""What says how a network of a user's own is made; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: What stands in a path for the seed.
SEED = "{seed}"


@dataclass(frozen=True)
class Definition:
    """A network that a function of a user's makes, as a study names it.

    ``module`` is ``package.module:function`` or ``file.py:function``, seen from ``folder``;
    ``options`` are further arguments; ``code`` has a word for each file that it is made of
    (``system.own_code``), which a job compares with what it finds. ``classifier`` names the module
    that is never pruned and ``prunable`` patterns of the parameters that are, where they are not
    found; so do ``channels``, by group, the layers that make (``made_by``) and read (``read_by``)
    channels that go together. ``weights`` is the file that the dense network is read from, one a
    seed where its name has ``{seed}``; without it networks are trained.
    """

    module: str
    folder: str
    code: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    classifier: str = ""
    prunable: tuple[str, ...] = ()
    weights: str = ""
    channels: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    @property
    def is_one(self) -> bool:
        """Whether all seeds begin with one dense network that was brought."""
        return bool(self.weights) and SEED not in self.weights

    def files(self, seeds: Sequence[int]) -> list[str]:
        """Return the files of the dense networks of ``seeds``; none where they are trained."""
        if not self.weights:
            return []
        paths = (self.weights.replace(SEED, str(seed)) for seed in seeds)
        return list(dict.fromkeys(paths))
