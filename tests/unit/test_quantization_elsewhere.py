"""Quantizing and its evaluation leave nothing on the CPU where a GPU computes, a pretended one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from elsewhere import pretended_gpu
from quantization_helpers import PANEL, Trained, quantizer, trained

from recall_distortion.compression.quantization.blocks import Paths, quantize_block
from recall_distortion.compression.quantization.plan import QuantizationPlan, Quantizer
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.training.replicates import load_tensors

WAYS = {
    "static": quantizer(range="percentile"),
    "dynamic": quantizer("int6", "dynamic"),
    "weights": quantizer("int4", "float"),
    "half": quantizer("bfloat16", "float"),
}


def chain(dense: Trained, folder: Path, device: str, ways: dict[str, Quantizer]) -> None:
    """Quantize and predict as the workflow's jobs do."""
    folder.mkdir()
    weights = folder / "weights.safetensors"
    quantize_block(
        Paths(dense.data, dense.dense, [], weights, folder / "sizes.csv"),
        QuantizationPlan(ways, "holdout"),
        panel=PANEL,
        cells={name: {"4": "1"} for name in ways},
        device=device,
    )
    evaluate_block(
        dense.data,
        dense.dense,
        [],
        folder / "predicted.safetensors",
        panel=PANEL,
        quantized_paths=[weights],
        device=device,
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["mlp", "lenet5", "resnet20"])
def test_jobs_that_quantize_leave_nothing_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    monkeypatch.setattr("recall_distortion.training.engines.faster", lambda network: None)
    # A deep network's layers are those of others, many times: few images and two ways suffice.
    deep = architecture == "resnet20"
    ways = {name: WAYS[name] for name in ("static", "half")} if deep else WAYS
    dense = trained(tmp_path, architecture, test=12 if deep else 40)
    chain(dense, tmp_path / "here", "cpu", ways)
    with pretended_gpu():
        chain(dense, tmp_path / "there", "cuda", ways)
    for file in ("weights", "predicted"):
        here, there = (
            load_tensors(tmp_path / place / f"{file}.safetensors") for place in ("here", "there")
        )
        assert set(here[0]) == set(there[0])
        for name, value in here[0].items():
            assert torch.equal(value, there[0][name]), f"{file}: {name}"
    assert there[1]["made"]["static/4"]["evaluated"]["device"] == "cuda"
    for place in ("here", "there"):
        assert (tmp_path / place / "sizes.csv").read_text().count("\n") == 1 + 2 * len(ways)
