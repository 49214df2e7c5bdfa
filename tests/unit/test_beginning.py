"""Pruned before the training is over: at initialization, or by the weights of an early epoch."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from compression_helpers import SEEDS, images_of, same, write_dense
from core_helpers import compression_plan, method, recipe
from test_gradual_studies import PANEL as STUDY_PANEL
from test_gradual_studies import RECIPE, study
from test_retraining import early as trained_early
from torch.func import functional_call
from unfinished_helpers import Killed, always_kept

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.facts import BUILT_IN
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell, CompressionPlan, RetrainingPlan
from recall_distortion.compression.pruning.selection import method_masks
from recall_distortion.compression.retraining import after
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.inference.estimates import answers
from recall_distortion.measures.networks import measure
from recall_distortion.report.definitions import definitions
from recall_distortion.study import Study
from recall_distortion.tables.predictions import read_all
from recall_distortion.training import Engine, Run, fit_runs
from recall_distortion.training.passes import Pass
from recall_distortion.training.plain import read
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state
from recall_distortion.vocabulary import RETRAINED, Panel

PANEL = Panel("small", "mlp", "usual")
TRAINING = recipe((3, 0.05))  # that of the dense networks of write_dense
FIRST = {"at": "initialization"}
METHODS = {
    "control_rewind": None,
    "control_reinit": None,
    "snip": method("gradient", retraining="rewind", **FIRST),
    "rewound": method("gradient", retraining="rewind"),
    "synflow": method("synflow", retraining="rewind", **FIRST),
    "sparse": method("random", scope="erk", retraining="rewind", **FIRST),
    "shuffled": method("gradient", retraining="shuffled", **FIRST),
    "fresh": method("gradient", retraining="reinit", **FIRST),
}
EARLY = {
    "control_rewind": None,
    "early": method("magnitude", at="early", retraining="rewind"),
    "early_shuffled": method("magnitude", at="early", retraining="shuffled"),
}
KINDS = ("rewind", "reinit", "shuffled")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"), noise=160.0)


def compress(folder, output, methods=METHODS, epochs=0, unfinished=None):
    output.mkdir(exist_ok=True)
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    plan = compression_plan(
        methods,
        recipe((2, 0.03)),
        retrainings={n: RetrainingPlan(TRAINING, 0 if n == "reinit" else epochs) for n in KINDS},
        engine={"engine": "sequential"},
    )
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        plan,
        panel=PANEL,
        ratios={name: ["1"] if own is None else ["2", "10"] for name, own in methods.items()},
        unfinished=unfinished,
    )
    return {part.cell: part for part in load_compressed(files[0])}


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("made")
    return compress(folder, output), output


@pytest.fixture(scope="module")
def made_early(folder, tmp_path_factory):
    return compress(folder, tmp_path_factory.mktemp("early"), EARLY, epochs=2)


def initial(seed):
    network = networks.build("mlp", channels=1, classes=4)
    networks.initialize(network, generator(seed, "initialization"))
    return network


def masks_of(part, seed):
    return {name: mask[SEEDS.index(seed)] for name, mask in part.masks.items()}


def snip(network, images, seed, keep):
    """Return what SNIP keeps: the largest derivatives by a factor of each weight, at 1."""
    index = torch.randperm(len(images), generator=generator(seed, "criterion batch"))[:32]
    state = {name: value.detach() for name, value in network.named_parameters()}
    factors = {
        name: torch.ones_like(state[name], requires_grad=True)
        for name in ("fc1.weight", "fc2.weight")
    }
    gated = state | {name: state[name] * factor for name, factor in factors.items()}
    logits = functional_call(network, gated, (images.batch(index),))
    loss = F.nll_loss(logits.log_softmax(1), images.labels[index])
    found = torch.autograd.grad(loss, list(factors.values()))
    flat = torch.cat([value.abs().flatten() for value in found])
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[flat.topk(keep).indices] = True
    parts = kept.split([value.numel() for value in found])
    return {n: part.view_as(f) for (n, f), part in zip(factors.items(), parts, strict=True)}


@pytest.mark.parametrize(("ratio", "keep"), [("2", 1536), ("10", 307)])
def test_by_gradients_at_initialization_it_is_snip(folder, made, ratio, keep):
    images = images_of(folder).fit
    for seed in SEEDS:
        expected = snip(initial(seed), images, seed, keep)
        assert same(masks_of(made[0][Cell("snip", ratio)], seed), expected)
        assert not same(masks_of(made[0][Cell("rewound", ratio)], seed), expected)


@pytest.mark.parametrize("name", [name for name, own in METHODS.items() if own])
@pytest.mark.parametrize("ratio", ["2", "10"])
def test_networks_are_those_of_single_trainings_under_masks_of_initial_weights(
    folder, made, name, ratio
):
    images, definition = images_of(folder), METHODS[name]
    part = made[0][Cell(name, ratio)]
    assert part.control == ("control_reinit" if name == "fresh" else "control_rewind")
    assert not part.of_dense
    assert not part.compressed
    for place, seed in enumerate(SEEDS):
        network, masks = initial(seed), masks_of(part, seed)
        if name in ("synflow", "sparse"):
            (own,) = method_masks(
                network, definition, [1 / float(ratio)], None, seed=seed, images=images.fit
            )
            assert same(masks, own)
        if name == "shuffled":
            own = masks_of(made[0][Cell("snip", ratio)], seed)
            assert {k: int(m.sum()) for k, m in masks.items()} == {
                k: int(m.sum()) for k, m in own.items()
            }
            assert not same(masks, own)
        if name == "fresh":
            assert same(masks, masks_of(made[0][Cell("snip", ratio)], seed))
            networks.initialize(network, generator(seed, "reinit initialization"))
        run = Run(seed, copy_state(network), masks)
        stage = "reinit" if name == "fresh" else "rewind"
        (alone,) = fit_runs(network, images, TRAINING, [run], stage=stage, engine=Engine())
        for key, value in alone.state.items():
            torch.testing.assert_close(part.retrained[key][place], value, rtol=1e-3, atol=1e-5)


def test_densities_of_random_masks_are_those_of_erk(made):
    for ratio, keep in (("2", 1536), ("10", 307)):
        part = made[0][Cell("sparse", ratio)]
        counts = [int(mask[0].sum()) for mask in part.masks.values()]
        assert sum(counts) == keep
        # Sides of 96 over 2,048 weights and of 64 over 1,024: 3 to 4 in density.
        assert counts[0] / 2048 == pytest.approx(0.75 * counts[1] / 1024, abs=1 / 1024)


def test_the_control_is_the_training_of_the_same_weights_with_nothing_removed(folder, made):
    images = images_of(folder)
    part = made[0][Cell("control_rewind", "1")]
    for place, seed in enumerate(SEEDS):
        run = Run(seed, copy_state(initial(seed)))
        (alone,) = fit_runs(initial(seed), images, TRAINING, [run], stage="rewind", engine=Engine())
        for key, value in alone.state.items():
            torch.testing.assert_close(part.retrained[key][place], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("ratio", ["2", "10"])
def test_early_weights_are_scored_where_the_retraining_begins(folder, made_early, ratio):
    images = images_of(folder)
    for place, seed in enumerate(SEEDS):
        start = trained_early(images, seed, 2)
        network = initial(seed)
        network.load_state_dict(start)
        (own,) = method_masks(network, method("magnitude"), [1 / float(ratio)], None, seed=seed)
        part = made_early[Cell("early", ratio)]
        assert same(masks_of(part, seed), own)
        run = Run(seed, start, own)
        left = after(TRAINING, 2)
        (alone,) = fit_runs(network, images, left, [run], stage="rewind", engine=Engine())
        for key, value in alone.state.items():
            torch.testing.assert_close(part.retrained[key][place], value, rtol=1e-3, atol=1e-5)
        shuffled = masks_of(made_early[Cell("early_shuffled", ratio)], seed)
        assert [int(m.sum()) for m in shuffled.values()] == [int(m.sum()) for m in own.values()]


def test_a_job_of_its_own_makes_what_a_job_of_all_makes(folder, made, tmp_path):
    for name, arm in (("synflow", "control_rewind"), ("snip", "rewound"), ("fresh", "synflow")):
        names = (arm, name)
        for cell, part in compress(folder, tmp_path / name, {n: METHODS[n] for n in names}).items():
            assert same(part.retrained, made[0][cell].retrained)
            assert same(part.masks, made[0][cell].masks)


@pytest.fixture
def _kept(monkeypatch):
    yield from always_kept(monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("passes", [0, 7, 22])
def test_a_killed_job_goes_on_to_the_same_bits(folder, tmp_path, monkeypatch, passes):
    count, run = iter(range(passes)), Pass.run

    def killed(self, *inputs):
        if next(count, None) is None:
            raise Killed
        return run(self, *inputs)

    methods = {name: METHODS[name] for name in ("synflow", "snip")}
    with monkeypatch.context() as patched:
        patched.setattr(Pass, "run", killed)
        with pytest.raises(Killed):
            compress(folder, tmp_path / "again", methods, unfinished=tmp_path / "unfinished")
    done = []
    monkeypatch.setattr(Pass, "run", lambda self, *inputs: done.append(1) or run(self, *inputs))
    compress(folder, tmp_path / "again", methods, unfinished=tmp_path / "unfinished")
    assert len(done) == 3 * 12 - passes  # epochs of three seeds, two methods, two ratios
    compress(folder, tmp_path / "whole", methods)
    for name in ("w.safetensors", "sparsity.csv", "history.csv"):
        again, whole = (tmp_path / part / name for part in ("again", "whole"))
        assert again.read_bytes() == whole.read_bytes()


def test_tables_read_it_against_the_rewound_control_and_have_no_alpha_before(
    folder, made, tmp_path
):
    inputs = folder / "data.safetensors", folder / "dense.safetensors"
    paths = [tmp_path / "dense.predictions", tmp_path / "all.predictions"]
    evaluate_block(*inputs, [], paths[0], panel=PANEL)
    evaluate_block(*inputs, [made[1] / "w.safetensors"], paths[1], panel=PANEL)
    parts, failures = read_all(paths)
    own = {name for name, definition in METHODS.items() if definition}
    assert {part.state for part in parts if part.method in own} == {RETRAINED}
    recall, table = measure(parts, pd.read_csv(made[1] / "sparsity.csv"), failures)
    effects = answers(recall, table)["effects"].set_index(["method", "ratio"])
    alphas = table[table["state"] == RETRAINED].pivot(
        index="seed", columns=["method", "ratio"], values="alpha"
    )
    for name in own:
        arm = "control_reinit" if name == "fresh" else "control_rewind"
        expected = (alphas[name, 10] - alphas[arm, 1]).mean()
        assert effects.loc[(name, 10), "difference"] == pytest.approx(expected)


# Studies


def of_study(listed=("control_rewind", "snip", "synflow", "slow"), **slow):
    own = {"criterion": "random", "scope": "erk", **FIRST} | slow
    return study(listed, slow=own) | {"ratios": [2, 10]}


def test_a_study_names_the_two_that_are_built_in():
    found = Study.model_validate(of_study())
    assert found.controls() == dict.fromkeys(("slow", "snip", "synflow"), "control_rewind")
    told = found.compression_parameters(STUDY_PANEL, "synflow")
    plan = read(CompressionPlan, told, "compression")
    assert (plan.at("synflow"), plan.retraining("synflow")) == ("initialization", "rewind")
    assert plan.retrainings["rewind"].epochs == 0
    assert told["retrainings"]["rewind"]["recipe"]["phases"] == RECIPE["training"]["phases"]
    modules = found.modules(STUDY_PANEL, "synflow")
    assert "recall_distortion.compression.pruning.scores.synflow" in modules
    assert (
        "at"
        not in Study.model_validate(of_study(("control", "magnitude"))).compression_parameters(
            STUDY_PANEL, "magnitude"
        )["methods"]["magnitude"]
    )
    assert BUILT_IN["snip"].criterion == "gradient"


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({"schedule": "iterative"}, "at: initialization prunes once, .* schedule iterative"),
        ({"schedule": "gradual"}, "retraining: nothing follows|at: initialization prunes once"),
        ({"retraining": "finetune"}, "is one of rewind, reinit, shuffled, not finetune"),
        ({"retraining": "rewind_rate"}, "is one of rewind, reinit, shuffled, not rewind_rate"),
        ({"rewind_epochs": 2}, "use at: early to score those of epoch 2"),
        ({"at": "early"}, "rewind_epochs: at: early scores the weights of this epoch"),
        (
            {"at": "early", "rewind_epochs": 2, "retraining": "reinit"},
            "is one of rewind, shuffled, not reinit",
        ),
        ({"at": "early", "rewind_epochs": 3}, "one control_rewind for both"),
        ({"at": "late"}, "Input should be 'trained', 'early' or 'initialization'"),
    ],
)
def test_what_cannot_be_is_said(own, wanted):
    with pytest.raises(ValueError, match=wanted):
        Study.model_validate(of_study(**own))


def test_a_control_without_what_it_is_the_control_of_says_what_would_do():
    with pytest.raises(ValueError, match=r"with .*, or at: initialization, or remove"):
        Study.model_validate(of_study(("control_rewind", "magnitude")))


def sentences(listed=("control_rewind", "snip", "synflow", "slow"), **slow):
    facts = Study.model_validate(of_study(listed, **slow)).facts()
    return {one.method: one.sentence for one in definitions(facts, [])}


def test_the_page_says_what_was_scored_when():
    found = sentences()
    for name in ("snip", "synflow", "slow"):
        assert (
            "runed once at initialization: its initial weights are scored; from these it is "
            "trained under the mask as a dense network is, in another order; read against "
            "control_rewind" in found[name]
        )
        assert "fine-tuned" not in found[name]
    assert "g over 128 training images" in found["snip"]
    assert "g over" not in found["synflow"]
    found = sentences(("slow",), at="early", rewind_epochs=3, retraining="shuffled")
    assert "its weights after epoch 3 of the training are scored; from these" in found["slow"]
    assert "permuted at random within each layer; read against control_rewind" in found["slow"]
    found = sentences(("slow",), retraining="reinit")
    assert "fresh initial weights" in found["slow"]
    assert "read against control_reinit" in found["slow"]


def test_the_page_says_it_of_built_in_ones_without_a_study():
    found = {one.method: one for one in definitions({}, ["snip", "synflow"])}
    assert "at initialization: its initial weights are scored" in found["snip"].sentence
    assert "read against control_rewind" in found["synflow"].sentence
    assert found["synflow"].formula == "|θ ∂R/∂θ|"
