"""Training in fused units is the training of the plain networks: batches, steps, whole passes.

Run by tests/unit/test_fast_gpu.py, as units.py is.
"""

from __future__ import annotations

import pytest
import torch
from core_helpers import prepared, recipe
from fused_helpers import off, states_of

from recall_distortion import networks
from recall_distortion.fast.gpu import batches, resnet
from recall_distortion.networks.resnet import ResNet
from recall_distortion.training import Engine, Run, TrainingImages, Unfinished, fit_runs, unfinished
from recall_distortion.training.augmentation import PADDING
from recall_distortion.training.proof import Setting, examine
from recall_distortion.training.randomness import generator


def images_of(folder, augmentation, size=8, **options):
    data = prepared(folder / "data.safetensors", channels=3, size=size, **options)
    return TrainingImages.of(data, selection="holdout", device="cpu", augmentation=augmentation)


@pytest.mark.parametrize("names", [(), ("flip",), ("crop",), ("flip", "crop"), ("crop", "flip")])
@pytest.mark.parametrize("place", [0, 5])
def test_a_batch_is_that_of_the_device_s_images(tmp_path, names, place):
    images = images_of(tmp_path, names, size=9).fit
    orders = torch.stack([torch.randperm(len(images), generator=generator(k, "o")) for k in (0, 1)])
    drawn = images.draw([generator(k, "augmentation") for k in (0, 1)])
    part = slice(place, place + 6)
    chosen = [choice[:, part].flatten(0, 1) for choice in drawn]
    expected = images.batch(orders[:, part].flatten(), chosen)
    rows, normalization = images.stored()
    assert batches.known(names)
    found = batches.batch(
        rows,
        normalization,
        orders,
        torch.tensor(place),
        6,
        dict(zip(names, drawn, strict=True)),
        padding=PADDING,
        dtype=torch.float32,
    )
    assert torch.equal(found.flatten(0, 1).permute(0, 3, 1, 2), expected)


def test_the_kernel_knows_what_it_does():
    assert not batches.known(("flip", "flip"))
    assert not batches.known(("flip", "rotation"))


def setting(folder, count):
    """Return a small network, ``count`` images to fit to, and runs, the second one's with masks.

    Interpreted, each tile of pixels takes long; what more than one needs, units.py and resnets.py
    hold. Here a batch of three has one.
    """
    images = images_of(folder, ("flip", "crop"), size=6, train=count + 3, holdout=3, test=3)
    assert len(images.fit) == count
    network = ResNet(3, 4, blocks=1)
    runs = []
    for seed, state in enumerate(states_of(network)):
        rng = torch.Generator().manual_seed(seed)
        masks = {
            name: torch.rand(value.shape, generator=rng) < 0.6
            for name, value in network.named_parameters()
        }
        runs.append(Run(seed, state, masks if seed else None))
    return network, images, runs


def test_runs_are_fitted_as_by_the_plain_networks(tmp_path):
    network, images, runs = setting(tmp_path, 5)
    plan = recipe((1, 0.02), (1, 0.01), batch_size=3, augmentation=["flip", "crop"])
    expected = list(fit_runs(network, images, plan, runs))
    found = list(fit_runs(network, images, plan, runs, engine=Engine(2, fused=True)))
    for run, ours, theirs in zip(runs, found, expected, strict=True):
        assert list(ours.state) == list(theirs.state)
        for name, value in theirs.state.items():
            assert off(ours.state[name], value) < 1e-5, name
        for name, mask in (run.masks or {}).items():
            assert (ours.state[name][~mask] == 0).all()
        for before, after in zip(ours.history, theirs.history, strict=True):
            assert before["selected"] == after["selected"]
            for column in ("training_loss", "validation_loss", "validation_accuracy"):
                assert before[column] == pytest.approx(after[column], rel=1e-5)


def test_a_killed_job_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    network, images, runs = setting(tmp_path, 3)
    plan = recipe((2, 0.02), batch_size=3, augmentation=["flip", "crop"])
    engine = Engine(2, fused=True)
    expected = list(fit_runs(network, images, plan, runs, engine=engine))
    monkeypatch.setattr(unfinished, "INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "LARGEST_SHARE", 1e9)

    class Killed(Exception):
        pass

    def kill(rows, _):
        if rows[0]["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        list(
            fit_runs(
                network,
                images,
                plan,
                runs,
                engine=engine,
                report=kill,
                unfinished=Unfinished(tmp_path / "kept"),
            )
        )
    seen = []
    found = list(
        fit_runs(
            network,
            images,
            plan,
            runs,
            engine=engine,
            report=lambda rows, _: seen.append(rows[0]["epoch"]),
            unfinished=Unfinished(tmp_path / "kept"),
        )
    )
    assert seen == [2]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.history == theirs.history
        for name, value in theirs.state.items():
            assert torch.equal(ours.state[name], value)


#: The interpreter's bfloat16 is no number; float16 stands in.
SMALL = Setting(size=6, batch=3, images=5, half=torch.float16, passes=1)


@pytest.fixture
def _small_network(monkeypatch):
    def build(_, *, channels, classes):
        return ResNet(channels, classes, blocks=1)

    monkeypatch.setattr(networks, "build", build, raising=False)


@pytest.mark.usefixtures("_small_network")
def test_the_proof_is_given():
    verdict = examine("cpu", SMALL)
    assert verdict["reason"] == "", verdict
    assert verdict["half of the gradients"] < 1e-5


@pytest.mark.usefixtures("_small_network")
@pytest.mark.parametrize("fault", ["a shortcut is left out", "a batch is mirrored", "no memory"])
def test_the_proof_finds_what_is_wrong(monkeypatch, fault):
    if fault == "a shortcut is left out":
        backward = resnet.units.backward

        def without(unit, passed, dout, block=None, **named):
            return backward(unit, passed, dout, None, **named)

        monkeypatch.setattr(resnet.units, "backward", without)
        said = "Disagreement: the worst gradient"
    elif fault == "a batch is mirrored":

        def mirrored(*values, **named):
            return batches.batch(*values, **named).flip(3)

        monkeypatch.setattr(resnet.FusedResNets, "batch", staticmethod(mirrored))
        said = "Disagreement: the batch"
    else:
        monkeypatch.setattr(resnet.units, "train", lambda *_: torch.empty(2**62))
        said = "Error"
    assert said in examine("cpu", SMALL)["reason"]
