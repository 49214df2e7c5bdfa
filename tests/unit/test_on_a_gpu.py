"""What of a GPU's work a machine without one can check: that nothing of it is left on the CPU."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from compression_helpers import with_schedule, with_unit, write_dense
from core_helpers import (
    compression_plan,
    method,
    ratios_of,
    recipe,
    training_plan,
    write_prepared,
)
from elsewhere import Elsewhere, MixedDevices, pretended_gpu
from torch._subclasses.fake_tensor import FakeTensorMode

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.facts import CRITERIA
from recall_distortion.compression.pruning.scores import synflow
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.training import DeviceImages, Run, TrainingImages, train_block, unfinished
from recall_distortion.training.batch_norm import ElementaryBatchNorm
from recall_distortion.training.descent import descent
from recall_distortion.training.engines import Engine
from recall_distortion.training.masks import factors
from recall_distortion.training.objective import step
from recall_distortion.training.passes import Pass
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import load_tensors
from recall_distortion.vocabulary import Panel

CASES = [
    ("mlp", 1, 8, []),
    ("cnn", 3, 12, ["flip", "crop"]),
    pytest.param(("lenet5", 1, 28, []), marks=pytest.mark.slow),
    pytest.param(("resnet20", 3, 8, ["flip", "crop"]), marks=pytest.mark.slow),
]
NAMES = ["mlp", "cnn", "lenet5", "resnet20"]


@pytest.fixture(autouse=True)
def _one_thread():
    """As a job computes, so that sums are taken in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_pretended_gpu_refuses_what_a_gpu_refuses():
    with pretended_gpu():
        here = torch.arange(3.0)
        there = here.to("cuda")
        assert there.device.type == "cuda"
        assert (there * 2 + torch.tensor(1.0)).tolist() == [1.0, 3.0, 5.0]  # a single number may
        assert torch.tensor([1.0], device="cuda").device.type == "cuda"
        assert there.cpu().device.type == "cpu"
        assert torch.equal(torch.zeros(3).copy_(there), here)
        for mix in (
            lambda: there + here,
            lambda: there.index_select(0, torch.tensor([1])),
            lambda: there.add_(here),
            lambda: torch.stack([there, here]),
            lambda: torch.nn.functional.linear(there, here[None]),
            lambda: torch.vmap(torch.add)(there[None], here[None]),
            # A single number may not, where it is written to or is no operand of each element.
            lambda: torch.zeros(()).add_(there.sum()),
            lambda: torch.stack([there[0], torch.tensor(1.0)]),
            lambda: there.index_select(0, torch.tensor(1)),
            lambda: torch.nn.functional.cross_entropy(there, torch.tensor(1)),
        ):
            with pytest.raises(MixedDevices):
                mix()
        cpu = torch.Generator().manual_seed(0)
        for draw in (
            lambda: torch.rand(3, device="cuda", generator=cpu),
            lambda: there.uniform_(generator=cpu),
            lambda: torch.nn.init.kaiming_normal_(there.reshape(1, 3), generator=cpu),
            lambda: torch.randperm(3, device="cuda", generator=cpu),
        ):
            with pytest.raises(MixedDevices, match="generator"):
                draw()
        with pytest.raises(TypeError, match="cuda"):
            there.numpy()


@pytest.fixture
def _few_rounds(monkeypatch):
    """Rounds of pruning after the second do what it does."""
    monkeypatch.setattr(synflow, "ROUNDS", 3)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_drawn_on_the_cpu_wherever_the_network_lies(name):
    network = networks.build(name, channels=3, classes=4)
    networks.initialize(network, generator(7, "initialization"))
    expected = {key: value.clone() for key, value in network.state_dict().items()}
    last = networks.build(name, channels=3, classes=4).to(memory_format=torch.channels_last)
    networks.initialize(last, generator(7, "initialization"))
    with pretended_gpu():
        moved = networks.build(name, channels=3, classes=4).to("cuda")
        networks.initialize(moved, generator(7, "initialization"))
        there = moved.state_dict()
        assert all(isinstance(value, Elsewhere) for value in there.values())
        for key, value in expected.items():
            assert torch.equal(there[key].cpu(), value)
            assert torch.equal(last.state_dict()[key], value)


def chain(folder, device, case, at_once, scope="global"):
    """Train, prune by every criterion, fine-tune and predict as the workflow's jobs do."""
    name, channels, size, augmentation = case
    folder.mkdir()
    data = write_prepared(
        folder / "data.safetensors", channels=channels, size=size, train=48, holdout=12, test=20
    )
    engine = {"engine": "vectorized" if at_once > 1 else "sequential", "at_once": at_once}
    common = {"device": device, "unfinished": folder / "unfinished"}
    plan = recipe((2, 0.05), augmentation=augmentation)
    train_block(
        data,
        folder / "dense.safetensors",
        folder / "dense.csv",
        training_plan(plan, engine=engine),
        architecture=name,
        seeds=[0, 1],
        **common,
    )
    methods = {"control": None} | {name: method(name, scope=scope) for name in CRITERIA}
    files = ("dense.safetensors", "compressed.safetensors", "sparsity.csv", "compressed.csv")
    compress_block(
        Paths(data, *(folder / file for file in files)),
        compression_plan(methods, recipe((1, 0.05), augmentation=augmentation), engine=engine),
        panel=Panel("small", case[0], "usual"),
        ratios=ratios_of(methods, ["1", "2"]),
        **common,
    )
    for kind, compressed in (("dense", []), ("all", [folder / "compressed.safetensors"])):
        evaluate_block(
            data,
            folder / "dense.safetensors",
            compressed,
            folder / f"predicted-{kind}.safetensors",
            panel=Panel("small", name, "usual"),
            device=device,
        )


FILES = ("dense", "compressed", "predicted-dense", "predicted-all")


@pytest.mark.slow
@pytest.mark.usefixtures("_few_rounds")
@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize(("at_once", "scope"), [(1, "global"), (4, "layer")])
def test_the_whole_chain_leaves_nothing_on_the_cpu(tmp_path, monkeypatch, case, at_once, scope):
    """And gives a CPU's numbers, which the pretended GPU has: those of the plain networks."""
    monkeypatch.setattr("recall_distortion.training.engines.faster", lambda network: None)
    monkeypatch.setattr("recall_distortion.training.stacks.nullcontext", ElementaryBatchNorm)
    chain(tmp_path / "here", "cpu", case, at_once, scope)
    with pretended_gpu():
        chain(tmp_path / "there", "cuda", case, at_once, scope)
    for file in FILES:
        here, there = (
            load_tensors(tmp_path / place / f"{file}.safetensors") for place in ("here", "there")
        )
        assert set(here[0]) == set(there[0])
        for name, value in here[0].items():
            assert torch.equal(value, there[0][name]), f"{file}: {name}"
        assert '"device": "cuda"' in json.dumps(there[1])
    for table in ("dense.csv", "compressed.csv", "sparsity.csv"):
        assert (tmp_path / "here" / table).read_text() == (tmp_path / "there" / table).read_text()


@pytest.mark.parametrize("unit", ["weight", "neuron"])
def test_rounds_leave_nothing_on_the_cpu(tmp_path, monkeypatch, unit):
    """Masks within masks, of biases too, and networks as they were before the last round."""
    monkeypatch.setattr("recall_distortion.training.engines.faster", lambda network: None)
    monkeypatch.setattr("recall_distortion.training.stacks.nullcontext", ElementaryBatchNorm)
    with_schedule(monkeypatch)
    with_unit(monkeypatch)
    folder = write_dense(tmp_path)
    methods = {
        name: method(name, schedule="stepwise", unit=unit) for name in ("random", "undecayed")
    }
    plan = compression_plan(methods, recipe((1, 0.05)), engine={"engine": "vectorized"})

    def rounds(place, device):
        (tmp_path / place).mkdir()
        outputs = [tmp_path / place / name for name in ("w.safetensors", "s.csv", "h.csv")]
        compress_block(
            Paths(folder / "data.safetensors", folder / "dense.safetensors", *outputs),
            plan,
            panel=Panel("small", "mlp", "usual"),
            ratios={name: ["2", "10"] for name in methods},
            device=device,
            unfinished=tmp_path / "unfinished",
        )
        return load_tensors(outputs[0])[0], [path.read_text() for path in outputs[1:]]

    here, tables = rounds("here", "cpu")
    with pretended_gpu():
        there, others = rounds("there", "cuda")
    assert tables == others
    assert set(here) == set(there)
    assert any(name.startswith("compressed/random/10/") for name in here)
    for name, value in here.items():
        assert torch.equal(value, there[name]), name


@pytest.mark.usefixtures("_few_rounds")
def test_what_is_deterministic_leaves_nothing_on_the_cpu(tmp_path):
    """The CNN on 12 x 12 pools windows that overlap, which is done otherwise there."""
    torch.use_deterministic_algorithms(True)
    try:
        with pretended_gpu():
            chain(tmp_path / "there", "cuda", ("cnn", 3, 12, []), 2)
    finally:
        torch.use_deterministic_algorithms(False)
    facts = load_tensors(tmp_path / "there" / "dense.safetensors")[1]["facts"]
    assert "deterministic" in facts["engine"]


class Killed(BaseException):
    """Stands for the signal: nothing catches it."""


@pytest.mark.parametrize("case", [CASES[1], CASES[3]], ids=[NAMES[1], NAMES[3]])
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_killed_job_goes_on_on_a_gpu(tmp_path, monkeypatch, case, at_once):
    monkeypatch.setattr(unfinished, "INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "LARGEST_SHARE", 1e9)
    name, channels, size, augmentation = case
    data = write_prepared(tmp_path / "data.safetensors", channels=channels, size=size, train=48)
    plan = recipe((2, 0.05), (2, 0.01), augmentation=augmentation)
    engine = {"engine": "vectorized" if at_once > 1 else "sequential", "at_once": at_once}

    def train(file, folder):
        train_block(
            data,
            tmp_path / file,
            tmp_path / "history.csv",
            training_plan(plan, engine=engine),
            architecture=name,
            seeds=[0, 1],
            device="cuda",
            unfinished=folder,
        )
        return load_tensors(tmp_path / file)[0]

    epochs = iter(range(3))
    of_epoch = Pass.run

    def killed(*arguments):
        if next(epochs, None) is None:
            raise Killed
        return of_epoch(*arguments)

    with pretended_gpu():
        expected = train("whole.safetensors", None)
        monkeypatch.setattr(Pass, "run", killed)
        with pytest.raises(Killed):
            train("killed.safetensors", tmp_path / "unfinished")
        assert list((tmp_path / "unfinished").iterdir())
        monkeypatch.setattr(Pass, "run", of_epoch)
        found = train("killed.safetensors", tmp_path / "unfinished")
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key


@pytest.fixture
def fake_gpu(monkeypatch):
    """torch's fake-tensor mode, in which ``cuda`` exists without a GPU, and autocast for it.

    Where there is no GPU, gradients do not go through such tensors, and the fused optimizer has no
    form for them, so gradients of the right shapes stand for those, and the plain step for this.
    """
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr(
        torch.autograd, "grad", lambda _, parameters: [torch.empty_like(p) for p in parameters]
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_under_fake_tensors_is_on_the_gpu_alone(case, at_once, precision):
    name, channels, size, augmentation = case
    with torch.device("cuda"):
        network = networks.build(name, channels=channels, classes=4)
    networks.initialize(network, generator(0, "initialization"))
    stack = Engine(at_once, precision).open(network, [network.state_dict()] * at_once)
    images = fake_images(channels, size, augmentation)
    index = torch.empty(at_once * 5, dtype=torch.int64, device="cuda")
    choices = [
        choice[:, :5].flatten(0, 1) for choice in images.fit.draw([generator(0, "")] * at_once)
    ]
    batch = images.fit.batch(index, choices)
    labels = images.fit.labels.index_select(0, index).view(at_once, 5)
    optimizer = descent(stack.parameters, recipe((1, 0.1), weight_decay=1e-3))
    optimizer.rate, optimizer.fused = 0.1, False
    seen = []
    network.register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    masks = {name: p > 0 for name, p in network.named_parameters()}
    runs = [Run(0, network.state_dict(), masks if k == 0 else None) for k in range(at_once)]
    masked = factors(stack, runs)
    assert len(masked) == len(stack.parameters)
    losses = step(stack, optimizer, batch, labels, masked)
    assert (losses.device.type, losses.shape) == ("cuda", (at_once,))
    if at_once == 1:  # what torch.vmap wraps does not pass on that it is a GPU's, to fake tensors
        assert seen == [getattr(torch, precision)]
    logits = stack.logits(images.validation.batch(slice(0, 7)))
    assert (logits.device.type, logits.shape) == ("cuda", (at_once, 7, 4))


def fake_images(channels, size, augmentation):
    """Return the images of a prepared data set on the GPU of the fake-tensor mode."""
    pixels, labels = np.zeros((12, channels, size, size), np.uint8), np.zeros(12, np.int64)
    half = np.full(channels, 0.5, np.float32)
    common = {"device": "cuda"}
    return TrainingImages(
        DeviceImages(pixels, labels, half, half, augmentation=augmentation, **common),
        DeviceImages(pixels, labels, half, half, **common),
    )


@pytest.mark.usefixtures("fake_gpu")
def test_fake_tensors_refuse_devices_that_mix():
    with pytest.raises(RuntimeError, match="device"):
        torch.empty(3, device="cuda") + torch.empty(3)
