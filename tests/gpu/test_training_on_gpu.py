"""On a GPU replicates are what they are on a CPU but for rounding; skipped where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from core_helpers import prepared, recipe

from recall_distortion import networks
from recall_distortion.training import Engine, Run, TrainingImages, fit_runs
from recall_distortion.training.fused import Fused
from recall_distortion.training.objective import cross_entropy
from recall_distortion.training.proof import LOWEST, Setting, examine, is_proved
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state, load_tensors

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

CASES = [
    ("mlp", 1, 8, []),
    ("cnn", 3, 12, ["flip", "crop"]),
    ("lenet5", 1, 28, []),
    ("resnet20", 3, 16, ["flip", "crop"]),
]


@pytest.fixture(autouse=True)
def single_precision():
    """Without TF32, whose 10 bits are no rounding to compare with a CPU's."""
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    yield
    torch.backends.cudnn.conv.fp32_precision = before


def fitted(folder, case, device, engine, rate=1e-3, epochs=2):
    name, channels, size, augmentation = case
    data = prepared(folder / "data.safetensors", channels=channels, size=size)
    images = TrainingImages.of(data, selection="holdout", device=device, augmentation=augmentation)
    network = networks.build(name, channels=channels, classes=4)
    runs = []
    for seed in range(3):
        networks.initialize(network, generator(seed, "initialization"))
        masks = {
            key: torch.rand(weight.shape, generator=generator(seed, "masks")) < 0.5
            for key, weight in networks.prunable_parameters(network).items()
        }
        runs.append(Run(seed, copy_state(network), masks if seed else None))
    network = network.to(device, memory_format=torch.channels_last)
    plan = recipe((epochs, rate), batch_size=24, augmentation=augmentation)
    return runs, list(fit_runs(network, images, plan, runs, engine=engine))


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_gpu_trains_as_a_cpu_does(tmp_path, case, at_once):
    """Each network in its own order and augmentation, with masks and batch norm."""
    _, there = fitted(tmp_path, case, DEVICE, Engine(at_once))
    _, here = fitted(tmp_path, case, "cpu", Engine())
    for left, right in zip(there, here, strict=True):
        assert all(value.device.type == DEVICE for value in left.state.values())
        for before, after in zip(left.history, right.history, strict=True):
            # Where rounding flips a rectifier before a batch norm, gradients move by 1 %; at this
            # rate the losses of about 1.5 then differ in the third digit at most.
            assert before["training_loss"] == pytest.approx(after["training_loss"], rel=5e-3)
            assert before["validation_loss"] == pytest.approx(after["validation_loss"], rel=5e-2)


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_pruned_weights_stay_zero_and_half_precision_learns(tmp_path, case):
    runs, found = fitted(tmp_path, case, DEVICE, Engine(3, "bfloat16"), rate=0.01)
    _, single = fitted(tmp_path, case, DEVICE, Engine(3), rate=0.01)
    for run, half, full in zip(runs, found, single, strict=True):
        assert all(value.dtype != torch.bfloat16 for value in half.state.values())
        for name, mask in (run.masks or {}).items():
            assert (half.state[name].cpu()[~mask] == 0).all()
        # bfloat16 has 8 bits of precision.
        first = full.history[0]["training_loss"]
        assert half.history[0]["training_loss"] == pytest.approx(first, rel=0.05)


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("at_once", [1, 3])
def test_without_the_switch_a_gpu_repeats_itself_but_for_rounding(tmp_path, case, at_once):
    """To what a GPU and a CPU differ by: another order of sums is as much as another device's."""
    first, second = (fitted(tmp_path, case, DEVICE, Engine(at_once))[1] for _ in range(2))
    for left, right in zip(first, second, strict=True):
        for before, after in zip(left.history, right.history, strict=True):
            assert before["training_loss"] == pytest.approx(after["training_loss"], rel=5e-3)
            assert before["validation_loss"] == pytest.approx(after["validation_loss"], rel=5e-2)


@pytest.fixture
def _proved():
    """Where there can be kernels, that they are not believed is a failure and no reason to skip."""
    if find_spec("triton") is None or torch.cuda.get_device_capability() < LOWEST:
        pytest.skip("there is no Triton, or this GPU is too old for the kernels")
    assert is_proved("resnet20", DEVICE), "the line above says why the kernels are not used"


FUSED = pytest.mark.usefixtures("_proved")


def test_fused_units_were_tried_and_agree():
    """By the proof's own limits; where it fails, this says by how much."""
    verdict = examine(DEVICE, Setting())
    assert verdict["reason"] == "", verdict


@FUSED
@pytest.mark.parametrize("classes", [10, 100])
def test_fused_gradients_are_the_plain_network_s(classes):
    """Held against double precision; rounding flips rectifiers, as ``training.proof`` says."""
    network = networks.build("resnet20", channels=3, classes=classes).to(DEVICE)
    states = []
    for seed in range(3):
        networks.initialize(network, generator(seed, "initialization"))
        states.append(copy_state(network))
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(3, 50, 3, 32, 32, generator=rng).to(DEVICE)
    labels = torch.randint(classes, (3, 50), generator=rng).to(DEVICE)
    stack = Fused(network, states)
    logits = stack.logits(images.flatten(0, 1), training=True)
    loss = cross_entropy(logits, labels).mean(1).sum()
    found = torch.autograd.grad(loss, stack.parameters)
    plain = networks.build("resnet20", channels=3, classes=classes).to(DEVICE).double()
    for k, state in enumerate(states):
        plain.load_state_dict(state)
        expected = plain(images[k].double())
        assert (logits[k] - expected).norm() < 1e-4 * expected.norm()
        loss = torch.nn.functional.cross_entropy(expected, labels[k])
        for ours, theirs in zip(
            found, torch.autograd.grad(loss, list(plain.parameters())), strict=True
        ):
            assert (ours[k] - theirs).norm() < 5e-2 * theirs.norm()


@FUSED
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fused_units_train_as_the_plain_networks_do(tmp_path, precision):
    """Orders, augmentation, masks, a short last batch, steps captured and replayed."""
    case = ("resnet20", 3, 16, ["flip", "crop"])
    runs, fused = fitted(tmp_path, case, DEVICE, Engine(3, precision, fused=True), epochs=4)
    _, plain = fitted(tmp_path, case, DEVICE, Engine(), epochs=4)
    for run, ours, theirs in zip(runs, fused, plain, strict=True):
        for name, mask in (run.masks or {}).items():
            assert (ours.state[name].cpu()[~mask] == 0).all()
        for before, after in zip(ours.history, theirs.history, strict=True):
            assert before["training_loss"] == pytest.approx(after["training_loss"], rel=5e-2)


@FUSED
def test_fewer_networks_are_fused_where_memory_does_not_hold_them(tmp_path):
    data = prepared(tmp_path / "data.safetensors", channels=3, size=32)
    images = TrainingImages.of(data, selection="holdout", device=DEVICE)
    network = networks.build("resnet20", channels=3, classes=4).to(DEVICE)
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(int(free - 3.2 * 2**30), dtype=torch.uint8, device=DEVICE)
    few = Engine(10**6, fused=True).fitting(network, images.fit, 128)
    del taken
    torch.cuda.empty_cache()
    many = Engine(10**6, fused=True).fitting(network, images.fit, 128)
    assert 1 <= few < many < 10**6
    assert Engine(2, fused=True).fitting(network, images.fit, 128) == 2


CHAIN = Path(__file__).with_name("chain.py")


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize(
    ("at_once", "precision"), [(1, "float32"), (3, "float32"), (3, "bfloat16")]
)
def test_deterministic_a_gpu_writes_the_same_bytes_each_time(tmp_path, case, at_once, precision):
    """Each time in a process of its own, as jobs are; the files say that it was so."""
    name, channels, size, _ = case
    arguments = [DEVICE, name, str(channels), str(size), str(at_once), precision]
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        command = [sys.executable, str(CHAIN), str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    first, second = folders
    for file in ("dense", "compressed", "predictions"):
        path = f"{file}.safetensors"
        assert (first / path).read_bytes() == (second / path).read_bytes(), file
        assert "deterministic" in json.dumps(load_tensors(first / path)[1]), file
