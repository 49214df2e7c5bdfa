"""R packages loaded when they are first used, not when pymer4 is imported.

pymer4 0.9.2 loads some ten R packages at its import. rpy2 translates every function of each, which
takes 8 s of the 13 s until a model can be fitted, and most are never used here. One of them,
``report``, is packaged neither by Debian nor by Ubuntu, and another, ``performance``, not by
Debian 13. So while pymer4 is imported it gets stand-ins, each of which loads its package at the
first use of a function.

This module can go when pymer4 loads R packages only where it uses them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from recall_distortion.system.errors import SetupError


class LazyPackage:
    """An R package that is loaded at the first use of one of its functions."""

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self._name = name
        self._load = load
        self._loaded: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._loaded is None:
            from rpy2.robjects import packages

            if packages.isinstalled(self._name):
                self._loaded = self._load()
            else:
                raise SetupError(
                    f"{self._name}::{name} was asked for, but the R package {self._name} is not "
                    f"installed; install it in R with install.packages({self._name!r})"
                )
        return getattr(self._loaded, name)


@contextlib.contextmanager
def lazy_r_packages() -> Iterator[None]:
    """Let ``importr`` return a ``LazyPackage`` for every R package inside the block."""
    from rpy2.robjects import packages

    real = packages.importr

    def importr(name: str, *arguments: Any, **options: Any) -> Any:
        return LazyPackage(name, lambda: real(name, *arguments, **options))

    packages.importr = importr
    try:
        yield
    finally:
        packages.importr = real
