"""Fixtures of all tests."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

DATA_VARIABLE = "RECALL_DISTORTION_DATA"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, or one process of tests would end with one of them.

    Whole studies come first, then files with tests that are marked slow.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: ("workflow" not in item.path.parts, item.path not in slow))


def pytest_collection_finish() -> None:
    """Collect garbage seldom, and never look for it among what is imported so far.

    Python would do so after every 700 objects, which took a twentieth of the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST and Fashion-MNIST as torchvision lays them out, or a skip.

    It is named by RECALL_DISTORTION_DATA; without that it is ``shared/data`` beside the checkout.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip(f"no real data in {folder}; set {DATA_VARIABLE} to a torchvision data root")
    return folder
