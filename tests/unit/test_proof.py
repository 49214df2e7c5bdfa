"""Fused residual units are used where they proved themselves, and nowhere else."""

from __future__ import annotations

import json
import subprocess

import pytest
import torch

from recall_distortion.training import choose, proof
from recall_distortion.training.engines import choose_for_evaluation


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A pretended GPU with Triton, whose verdicts are counted and lie in a folder of the test."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Pretended")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(proof, "find_spec", lambda name: name)
    monkeypatch.setattr(proof.gpu, "cache", lambda: tmp_path / "triton")
    monkeypatch.setattr(proof.gpu, "version", lambda: "3.6.0")
    proof._reason.cache_clear()
    yield tmp_path / "triton"
    proof._reason.cache_clear()


@pytest.fixture
def trial(monkeypatch, gpu):
    """Return the list of trials, whose verdict is its ``reason``."""

    class Trials(list):
        reason = ""

    trials = Trials()

    def examined():
        trials.append(1)
        return {"reason": trials.reason, "the batch": 0.0}

    monkeypatch.setattr(proof, "_examined", examined)
    return trials


def test_a_proof_is_given_once_and_kept(trial, gpu, capsys):
    assert choose("resnet20", 32, "cuda").fused
    assert choose("resnet56", 32, "cuda").fused
    assert choose_for_evaluation("resnet20", "cuda").fused
    assert len(trial) == 1
    (kept,) = gpu.iterdir()
    found = json.loads(kept.read_text())
    assert (found["device"], found["reason"]) == ("Pretended", "")
    proof._reason.cache_clear()  # another job
    capsys.readouterr()
    assert choose("resnet20", 32, "cuda").fused
    assert len(trial) == 1
    assert capsys.readouterr().out == ""


def test_where_it_fails_the_plain_way_is_taken_and_a_line_says_so(trial, capsys):
    trial.reason = "Disagreement: the worst gradient is off by 1"
    assert not choose("resnet20", 32, "cuda").fused
    assert capsys.readouterr().out.splitlines()[-1] == (
        "fused residual units are not used on this GPU: " + trial.reason
    )
    proof._reason.cache_clear()
    assert not choose("resnet20", 32, "cuda").fused
    assert len(trial) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"reason": 1}', "\x00"])
def test_a_damaged_verdict_is_made_again(trial, gpu, text):
    choose("resnet20", 32, "cuda")
    (kept,) = gpu.iterdir()
    kept.write_text(text)
    proof._reason.cache_clear()
    assert choose("resnet20", 32, "cuda").fused
    assert len(trial) == 2


def test_a_verdict_is_about_one_device_and_version(trial, gpu, monkeypatch):
    choose("resnet20", 32, "cuda")
    for place, name, value in (
        (torch.cuda, "get_device_name", lambda: "Another"),
        (proof.gpu, "version", lambda: "3.7.0"),
        (torch, "__version__", "3.0"),
    ):
        monkeypatch.setattr(place, name, value)
        proof._reason.cache_clear()
        choose("resnet20", 32, "cuda")
    assert len(trial) == len(list(gpu.iterdir())) == 4


def test_a_folder_that_cannot_be_written_costs_no_study(trial, gpu, capsys):
    gpu.write_text("no folder")
    assert choose("resnet20", 32, "cuda").fused
    assert "warning" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("architecture", "device", "capability"),
    [("resnet20", "cpu", (9, 0)), ("lenet5", "cuda", (9, 0)), ("resnet20", "cuda", (7, 5))],
)
def test_what_no_kernel_is_for_is_not_tried(
    trial, monkeypatch, architecture, device, capability, capsys
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert not choose(architecture, 32, device).fused
    assert not trial
    assert capsys.readouterr().out == ""


def test_one_after_another_is_the_plain_way(trial):
    assert not choose("resnet20", 32, "cuda", engine="sequential").fused
    assert not trial


def test_a_trial_that_crashes_or_hangs_is_no_proof(monkeypatch):
    def crash(command, **_):
        return subprocess.CompletedProcess(command, -11, "", "Segmentation fault")

    monkeypatch.setattr(subprocess, "run", crash)
    assert "status -11: Segmentation fault" in proof._examined()["reason"]

    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "no verdict within 900 seconds" in proof._examined()["reason"]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_trial_itself_says_what_is_missing():
    assert proof._examined()["reason"]
