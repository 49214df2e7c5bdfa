"""How loops are compiled by Numba, and kept on disk for later processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from numba import njit

from recall_distortion.system.errors import NetworkError


def compiled(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that has Numba compile a function, with more ``options`` of its own."""

    def decorate(function: Callable[..., None]) -> Any:
        try:
            return njit(function, cache=True, nogil=True, error_model="numpy", **options)
        except RuntimeError:  # neither the package's folder nor the user's can hold a cache
            return njit(function, nogil=True, error_model="numpy", **options)

    return decorate


def called(function: Any) -> Callable[..., None]:
    """Return a compiled function as Python calls it.

    It raises ``NetworkError`` where what is kept on disk is damaged.
    """

    @wraps(function.py_func)
    def call(*arguments: Any) -> None:
        try:
            function(*arguments)
        except (UnpicklingError, EOFError) as error:
            files = Path(function.py_func.__code__.co_filename).stem
            raise NetworkError(
                f"{function.stats.cache_path}: what Numba compiled and kept there is damaged "
                f"({error}); delete its files {files}*.nbi and {files}*.nbc and run again"
            ) from None

    return call
