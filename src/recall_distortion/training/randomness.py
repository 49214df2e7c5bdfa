"""Random numbers by purpose.

Each random choice of a replicate draws from a generator of its own, derived from the seed and the
choice's purpose, so that a replicate's result depends neither on the replicates that share its job
nor on what was drawn before.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for one purpose of one replicate.

    The purposes' streams are independent: the generator's seed is a hash of both. Draws are made
    on the CPU whatever the device, so that a GPU sees the same initial weights and data order.
    """
    digest = hashlib.sha256(f"{purpose}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
