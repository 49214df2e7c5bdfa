"""Random numbers of code that knows no generator but the global ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

#: NumPy's global generator, which is what a user's code draws from if it draws from NumPy's.
_NUMPY = np.random.mtrand


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[Callable[[], bool]]:
    """Within the context seed torch's, NumPy's and Python's global generators from ``generator``.

    Afterwards they are as they were. The context gives a function that says whether, on a CPU,
    something has been drawn from them within it.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    before = random.getstate(), _NUMPY.get_state()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        random.seed(seed)
        _NUMPY.seed(seed % 2**32)
        first = _states()
        try:
            yield lambda: _states() != first
        finally:
            random.setstate(before[0])
            _NUMPY.set_state(before[1])


def _states() -> tuple[object, ...]:
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(_NUMPY.get_state())
