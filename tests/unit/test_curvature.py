"""Hessians and gradients against full matrices, finite differences and loops; by jobs, killed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from core_helpers import compression_plan, method, ratios_of, recipe, training_plan, write_prepared
from torch import nn
from torch.func import functional_call
from unfinished_helpers import Killed, always_kept

from recall_distortion import data, networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.evaluation import curvature, curvature_blocks
from recall_distortion.evaluation.curvature import Loss, measure
from recall_distortion.evaluation.curvature_blocks import COLUMNS, CurvaturePlan, measure_curvature
from recall_distortion.fast import faster
from recall_distortion.system.errors import NetworkError
from recall_distortion.tables.files import read_table
from recall_distortion.tables.schema import CURVATURE
from recall_distortion.training import train_block
from recall_distortion.training.replicates import load_block
from recall_distortion.vocabulary import COMPRESSED, NETWORK, RETRAINED, Panel

PANEL = Panel("small", "mlp", "usual")
PLAN = CurvaturePlan(images=40, eigenvalues=4, seed=0, selection="holdout")
METHODS = {"control": None, "magnitude": method("magnitude")}


class Small(nn.Module):
    """A convolution, batch norm, pooling and a linear layer: 48 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.classifier = nn.Linear(8, 3, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = F.max_pool2d(F.softplus(self.norm(self.conv(images))), 2)
        return self.classifier(found.flatten(1))


@pytest.fixture
def small():
    """A network in double precision whose batch norm has seen images, and images for it."""
    torch.manual_seed(3)
    network = Small().double()
    images, labels = torch.randn(30, 1, 4, 4).double(), torch.arange(30) % 3
    for _ in range(20):
        network(images)
    return network.eval(), images, labels


def loss_at(network, vector, images, labels):
    """Return the mean loss at a vector of all parameters, with no code of the package."""
    names = [name for name, _ in network.named_parameters()]
    sizes = [value.numel() for value in network.parameters()]
    shapes = [value.shape for value in network.parameters()]
    parts = [part.view(shape) for part, shape in zip(vector.split(sizes), shapes, strict=True)]
    logits = functional_call(network, dict(zip(names, parts, strict=True)), (images,))
    return F.cross_entropy(logits, labels)


def weights(network):
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def full_hessian(network, images, labels):
    return torch.autograd.functional.hessian(
        lambda vector: loss_at(network, vector, images, labels), weights(network)
    )


def thirds(network):
    """Return masks of every parameter but the classifier's, biases and batch norm's among them."""
    rng = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(value.shape, generator=rng) < 2 / 3
        for name, value in network.named_parameters()
        if "classifier" not in name
    }


def kept_by(network, masks):
    return torch.cat(
        [masks.get(n, torch.ones_like(v) > 0).flatten() for n, v in network.named_parameters()]
    )


def columns(loss):
    return torch.stack([loss.product(row) for row in torch.eye(len(loss)).double()])


def test_products_are_those_of_the_whole_hessian(small):
    network, images, labels = small
    found = columns(Loss(network, images, labels))
    torch.testing.assert_close(found, full_hessian(network, images, labels), rtol=1e-9, atol=1e-12)


def test_products_are_finite_differences_of_the_loss(small):
    """Second differences of the loss itself, along random directions; no automatic derivative."""
    network, images, labels = small
    at, step = weights(network), 1e-4
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        vector = torch.randn(len(at), generator=rng).double()
        vector /= vector.norm()
        ends = [
            float(loss_at(network, at + sign * vector, images, labels)) for sign in (-step, 0, step)
        ]
        expected = (ends[0] - 2 * ends[1] + ends[2]) / step**2
        found = float(vector @ Loss(network, images, labels).product(vector))
        # Rounding of the loss leaves 1e-16 / step², truncation about step².
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_removed_coordinates_are_none(small):
    network, images, labels = small
    masks = thirds(network)
    kept = kept_by(network, masks)
    loss = Loss(network, images, labels, masks)
    whole = full_hessian(network, images, labels)
    assert 0 < len(loss) == int(kept.sum()) < len(kept)
    torch.testing.assert_close(columns(loss), whole[kept][:, kept], rtol=1e-9, atol=1e-12)


def test_images_are_summed_over_batches(small, monkeypatch):
    network, images, labels = small
    vector = torch.ones(48).double()
    whole = Loss(network, images, labels)
    wanted = whole.product(vector), whole.gradient_traces(), whole.value()
    monkeypatch.setattr(curvature, "AT_ONCE", 7)
    monkeypatch.setattr(curvature, "SINGLE", 4)
    torch.testing.assert_close(whole.product(vector), wanted[0], rtol=1e-12, atol=1e-14)
    assert whole.gradient_traces() == pytest.approx(wanted[1], rel=1e-12)
    assert whole.value() == pytest.approx(wanted[2], rel=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_traces_are_those_of_a_loop_over_images(small, masked):
    network, images, labels = small
    masks = thirds(network) if masked else {}
    kept = kept_by(network, masks)
    rows = []
    for place in range(len(labels)):
        network.zero_grad()
        F.cross_entropy(network(images[[place]]), labels[[place]]).backward()
        rows.append(torch.cat([value.grad.flatten() for value in network.parameters()])[kept])
    rows = torch.stack(rows).numpy()
    moment, covariance = Loss(network, images, labels, masks).gradient_traces()
    assert moment == pytest.approx((rows**2).sum() / len(rows), rel=1e-10)
    assert covariance == pytest.approx(np.trace(np.cov(rows.T, bias=True)), rel=1e-10)


@pytest.mark.parametrize("masked", [False, True])
def test_what_is_measured_of_a_network(small, masked):
    network, images, labels = small
    masks = thirds(network) if masked else {}
    kept = kept_by(network, masks)
    every = np.linalg.eigvalsh(full_hessian(network, images, labels)[kept][:, kept].numpy())
    leading = every[np.argsort(-np.abs(every))][:3]
    found = measure(
        Loss(network, images, labels, masks), images[:9], labels[:9], eigenvalues=3, seed=0
    )
    # A residual relative to the largest bounds the error of each, and is itself at most 1e-3.
    assert found.hessian_residual <= 1e-3
    assert found.hessian_products <= 12
    values = np.array(found.hessian_eigenvalues.split(), float)
    np.testing.assert_allclose(values, leading, atol=1e-3 * abs(leading[0]))
    assert found.hessian_sum == pytest.approx(leading.sum(), rel=3e-3)
    assert found.hessian_largest == pytest.approx(leading.max(), rel=1e-3)
    assert found.weight_norm == pytest.approx(float(weights(network)[kept].norm()), rel=1e-12)
    at = weights(network)
    assert found.train_loss == pytest.approx(float(loss_at(network, at, images, labels)))
    assert found.test_loss == pytest.approx(float(loss_at(network, at, images[:9], labels[:9])))
    assert (found.curvature_images, found.surviving) == (30, int(kept.sum()))


def test_a_network_in_training_mode_is_refused(small):
    network, images, labels = small
    with pytest.raises(ValueError, match="evaluation mode"):
        Loss(network.train(), images, labels)


def test_a_fast_form_is_refused():
    """It would give products that are wrong in every parameter."""
    network = networks.build("cnn", channels=1, classes=4).eval()
    images, labels = torch.randn(6, 1, 8, 8), torch.arange(6) % 4
    form = faster(network)
    assert form is not None
    vector = torch.ones(sum(value.numel() for value in network.parameters()))
    with pytest.raises(NetworkError, match="first derivatives alone"):
        Loss(form.eval(), images, labels).product(vector)
    assert Loss(network, images, labels).product(vector).isfinite().all()


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet20"])
def test_networks_that_ship_have_it(name):
    """A product is symmetric, and along a direction what the losses beside a network say."""
    network = networks.build(name, channels=1, classes=4)
    networks.initialize(network, torch.Generator().manual_seed(0))
    network = network.double().eval()
    images, labels = torch.rand(8, 1, 16, 16).double(), torch.arange(8) % 4
    loss = Loss(network, images, labels)
    rng = torch.Generator().manual_seed(0)
    one, two = (torch.randn(len(loss), generator=rng).double() for _ in range(2))
    left, right = float(one @ loss.product(two)), float(two @ loss.product(one))
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9)
    moment, covariance = loss.gradient_traces()
    assert 0 < covariance < moment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, dense and compressed networks of two seeds, and their curvature."""
    folder = tmp_path_factory.mktemp("study")
    write_prepared(folder / "data.safetensors", noise=90)
    train_block(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        folder / "history.csv",
        training_plan(recipe((3, 0.05))),
        architecture="mlp",
        seeds=[1, 2],
    )
    compress_block(
        Paths(*(folder / name for name in (
            "data.safetensors", "dense.safetensors", "compressed.safetensors", "s.csv", "h.csv",
        ))),
        compression_plan(METHODS, recipe((1, 0.05))),
        panel=PANEL,
        ratios=ratios_of(METHODS, ["1", "10"]),
    )  # fmt: skip
    for name in ("dense", "bundle"):
        measured(folder, name, folder / f"{name}.csv")
    return folder


def measured(folder, name, path, plan=PLAN, unfinished=None):
    measure_curvature(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        [] if name == "dense" else [folder / "compressed.safetensors"],
        path,
        plan,
        panel=PANEL,
        unfinished=unfinished,
    )
    return path


def test_a_job_writes_what_the_schema_says(folder):
    assert list(COLUMNS) == [*NETWORK, *(column.name for column in CURVATURE)]
    dense, bundle = (read_table(folder / f"{n}.csv", "curvature") for n in ("dense", "bundle"))
    assert dense[NETWORK].to_numpy().tolist() == [
        [*PANEL, "dense", 1.0, "dense", seed] for seed in (1, 2)
    ]
    assert bundle[["method", "ratio", "state", "seed"]].to_numpy().tolist() == [
        ["control", 1.0, RETRAINED, 1],
        ["control", 1.0, RETRAINED, 2],
        ["magnitude", 10.0, COMPRESSED, 1],
        ["magnitude", 10.0, COMPRESSED, 2],
        ["magnitude", 10.0, RETRAINED, 1],
        ["magnitude", 10.0, RETRAINED, 2],
    ]
    for table in (dense, bundle):
        assert (table["hessian_eigenvalues"].str.split().str.len() == 4).all()
        assert (table["hessian_products"] <= 16).all()
        assert (table["curvature_images"] == 40).all()


def test_a_job_measures_the_networks_in_the_files(folder):
    """Each is computed anew from the files, on images that are drawn anew."""
    prepared = data.load(folder / "data.safetensors")
    mean, std = (v[:, None, None] for v in (prepared.mean, prepared.std))

    def normal(images):
        return torch.from_numpy(((images / 255 - mean) / std).astype(np.float32))

    test = normal(prepared.test_images), torch.from_numpy(prepared.test_labels)
    dense = load_block(folder / "dense.safetensors")
    control, pruned = load_compressed(folder / "compressed.safetensors")
    states = {("dense", "dense", seed): (dense.state(seed), {}) for seed in (1, 2)}
    for row, seed in enumerate((1, 2)):
        masks = {name: mask[row] for name, mask in pruned.masks.items()}
        after = [{n: v[row] for n, v in part.retrained.items()} for part in (control, pruned)]
        states["control", RETRAINED, seed] = after[0], {}
        states["magnitude", RETRAINED, seed] = after[1], masks
        before = {n: torch.where(masks.get(n, torch.tensor(True)), v, 0.0)
                  for n, v in dense.state(seed).items()}  # fmt: skip
        states["magnitude", COMPRESSED, seed] = before, masks
    tables = [read_table(folder / f"{name}.csv", "curvature") for name in ("dense", "bundle")]
    found = pd.concat(tables).set_index(["method", "state", "seed"]).sort_index()
    assert set(found.index) == set(states)
    network = networks.build("mlp", channels=1, classes=4).eval()
    for key, (state, masks) in states.items():
        network.load_state_dict(state)
        row = found.loc[key]
        norm = np.sqrt(sum(float(v.double().square().sum()) for v in state.values()))
        assert row["weight_norm"] == pytest.approx(norm, rel=1e-6)
        with torch.no_grad():
            wanted = float(F.cross_entropy(network(test[0]), test[1]))
        assert row["test_loss"] == pytest.approx(wanted, rel=1e-5)
        left = sum(int(masks[n].sum()) if n in masks else v.numel() for n, v in state.items())
        assert row["surviving"] == left
    # Retraining and pruning moved what is measured, and masks left a tenth of the weights.
    assert found["gradient_second_moment"].nunique() == len(found)
    assert found.loc["magnitude", "surviving"].max() < found.loc["dense", "surviving"].min() / 5


def test_images_are_those_that_weights_are_fitted_to_and_the_same_for_all(folder, monkeypatch):
    seen = []

    def noted(loss, *others, **options):
        seen.append((loss.images.clone(), loss.labels.clone()))
        return measure(loss, *others, **options)

    monkeypatch.setattr(curvature_blocks, "measure", noted)
    measured(folder, "bundle", folder / "noted.csv")
    measured(folder, "dense", folder / "noted.csv", replace(PLAN, seed=1))
    measured(folder, "dense", folder / "noted.csv", replace(PLAN, images=10_000))
    first = seen[0]
    assert all(torch.equal(first[0], images) for images, _ in seen[:6])
    assert not torch.equal(first[0], seen[6][0])
    prepared = data.load(folder / "data.safetensors")
    every = seen[-1][1]
    fit = prepared.train_labels[prepared.fit_index]
    np.testing.assert_array_equal(every.numpy(), fit)  # all, in their order
    assert len(pd.read_csv(folder / "noted.csv")) == 2
    assert (pd.read_csv(folder / "noted.csv")["curvature_images"] == len(fit)).all()


@pytest.fixture
def kept(monkeypatch):
    yield from always_kept(monkeypatch)


def test_a_killed_job_goes_on_with_the_networks_that_are_left(folder, tmp_path, monkeypatch, kept):
    def counting(most):
        left = [most]

        def one(*arguments, **options):
            if not left[0]:
                raise Killed
            left[0] -= 1
            return measure(*arguments, **options)

        monkeypatch.setattr(curvature_blocks, "measure", one)
        return left

    half = tmp_path / "unfinished" / "job"
    counting(4)
    with pytest.raises(Killed):
        measured(folder, "bundle", tmp_path / "c.csv", unfinished=half)
    assert not (tmp_path / "c.csv").exists()
    left = counting(2)  # of six
    measured(folder, "bundle", tmp_path / "c.csv", unfinished=half)
    assert left == [0]
    assert (tmp_path / "c.csv").read_bytes() == (folder / "bundle.csv").read_bytes()
    assert not half.exists()


def test_what_another_job_left_is_not_taken(folder, tmp_path, monkeypatch, kept, capsys):
    calls = []

    def one(*arguments, **options):
        if len(calls) == 1:
            raise Killed
        calls.append(options["eigenvalues"])
        return measure(*arguments, **options)

    half = tmp_path / "unfinished" / "job"
    monkeypatch.setattr(curvature_blocks, "measure", one)
    with pytest.raises(Killed):
        measured(folder, "dense", tmp_path / "c.csv", unfinished=half)
    monkeypatch.setattr(curvature_blocks, "measure", measure)
    measured(folder, "dense", tmp_path / "c.csv", replace(PLAN, eigenvalues=2), half)
    assert "by other code, data or recipe" in capsys.readouterr().out
    eigenvalues = pd.read_csv(tmp_path / "c.csv", dtype=str)["hessian_eigenvalues"]
    assert (eigenvalues.str.split().str.len() == 2).all()
