"""Arrays as other people have them, for the tests of what reads them."""

from __future__ import annotations

import numpy as np

from recall_distortion import data

# --- values


def few(count):
    levels = np.linspace(0, 255, count).astype(np.uint8)
    return levels[np.random.default_rng(0).integers(0, count, (24, 6, 5))]


# --- remedies that are followed


def prepared(tmp_path, **arrays):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    output = tmp_path / "out.safetensors"
    settings = {"data_root": "", "holdout": 0.5, "test_fraction": None, "seed": 0}
    data.prepare("arrays", output, path=str(path), **settings)
    return data.load(output)


PIXELS = np.random.default_rng(3).integers(0, 256, (12, 7, 6)).astype(np.uint8)
PIXELS[0, 0, :2] = 0, 255
LABELS = np.arange(12) % 3
