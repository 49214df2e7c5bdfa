"""Pruned in rounds: how many, how much in each, and the controls of as many."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from compression_helpers import SEEDS, images_of, same, write_dense
from core_helpers import compression_plan, method, recipe
from hypothesis import given
from hypothesis import strategies as st
from test_gradual_studies import PANEL as STUDY_PANEL
from test_gradual_studies import study

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell, RetrainingPlan
from recall_distortion.compression.pruning.selection import method_masks
from recall_distortion.compression.retraining import after
from recall_distortion.compression.schedules.iterative import RATE, chains
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.inference.estimates import answers
from recall_distortion.inference.questions.contrasts import tests as contrasts
from recall_distortion.measures.networks import measure
from recall_distortion.study import Study
from recall_distortion.tables.predictions import read_all
from recall_distortion.training import Engine, Run, fit_runs
from recall_distortion.training.replicates import load_block
from recall_distortion.vocabulary import RETRAINED, Panel

PANEL = Panel("small", "mlp", "usual")
TRAINING = recipe((3, 0.05))
FINETUNING = recipe((2, 0.03))
RATIOS = ["2", "4"]
METHODS = {
    "control_iterative": None,
    "control_iterative_rate": None,
    "control_rewind": None,
    "rounds": method("magnitude", schedule="iterative"),
    "rate": method("magnitude", schedule="iterative", retraining="rewind_rate"),
    "ticket": method("magnitude", schedule="iterative", retraining="rewind"),
}


def test_the_ratios_of_the_published_study_take_seventeen_rounds():
    """Rounds of 20.5 to 20.6 % between 2, 4, 10, 20 and 50, three or four each."""
    (chain,) = chains({str(ratio): 1 / ratio for ratio in (2, 4, 10, 20, 50)})
    assert len(chain) == 17
    assert [i for i, one in enumerate(chain, 1) if one.asked] == [3, 6, 10, 13, 17]
    left = np.array([1.0, *(one.fraction for one in chain)])
    removed = 1 - left[1:] / left[:-1]
    assert removed.min() > 0.2047
    assert removed.max() < 0.2064


@given(st.lists(st.integers(2, 500), min_size=1, max_size=6, unique=True).map(sorted))
def test_every_ratio_is_a_round_and_every_round_near_a_fifth(ratios):
    (chain,) = chains({str(ratio): 1 / ratio for ratio in ratios})
    assert [(one.ratio, one.fraction) for one in chain if one.asked] == [
        (str(ratio), 1 / ratio) for ratio in ratios
    ]
    assert chain[-1].asked
    left = np.array([1.0, *(one.fraction for one in chain)])
    removed = 1 - left[1:] / left[:-1]
    assert (removed > 0).all()
    # Rounds to the nearest whole one, so that n and n + 1/2 rounds of a fifth bound what n remove.
    assert (removed <= 1 - (1 - RATE) ** 1.5 + 1e-12).all()
    places = [i for i, one in enumerate(chain) if one.asked]
    for first, last in zip([-1, *places], places, strict=False):
        same_part = removed[first + 1 : last + 1]
        assert np.allclose(same_part, same_part[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"), noise=160.0)


def compress(folder, output, names=tuple(METHODS)):
    output.mkdir(exist_ok=True)
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        compression_plan(
            {name: METHODS[name] for name in names},
            FINETUNING,
            retrainings={name: RetrainingPlan(TRAINING, 1) for name in ("rewind", "rewind_rate")},
            engine={"engine": "sequential"},
        ),
        panel=PANEL,
        ratios={name: ["1"] if name == "control_rewind" else RATIOS for name in names},
    )
    return {part.cell: part for part in load_compressed(files[0])}


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("made")
    return compress(folder, output), output


def own_chain(folder, name, seed):
    """Return by ratio the masks and weights of a method, by rounds written out."""
    images = images_of(folder)
    network = networks.build("mlp", channels=1, classes=4)
    state = load_block(folder / "dense.safetensors").state(seed)
    removes, masks, found = not name.startswith("control"), None, {}
    kind = {"rounds": "finetune", "control_iterative": "finetune", "ticket": "rewind"}
    kind = kind.get(name, "rewind_rate")
    plan = FINETUNING if kind == "finetune" else after(TRAINING, 1)
    stage = {"finetune": "finetuning"}.get(kind, kind)
    early = None
    if kind == "rewind":
        from test_retraining import early as trained_early

        early = trained_early(images, seed, 1)
    (chain,) = chains({"2": 0.5, "4": 0.25})
    for number, one in enumerate(chain):
        if removes:
            network.load_state_dict(state)
            (masks,) = method_masks(
                network, METHODS[name], [one.fraction], None, seed=seed, within=masks
            )
        own = f"{stage} {number + 1}" if number and kind != "rewind" else stage
        run = Run(seed, early or state, masks)
        (fitted,) = fit_runs(network, images, plan, [run], stage=own, engine=Engine())
        state = fitted.state
        if one.asked:
            found[one.ratio] = masks, state
    return found


@pytest.mark.parametrize(
    "name", ["rounds", "rate", "ticket", "control_iterative", "control_iterative_rate"]
)
def test_a_chain_is_its_rounds_one_after_another(folder, made, name):
    for place, seed in enumerate(SEEDS[:2]):
        for ratio, (masks, state) in own_chain(folder, name, seed).items():
            part = made[0][Cell(name, ratio)]
            if masks is None:
                assert part.masks == {}
            else:
                assert same({k: m[place] for k, m in part.masks.items()}, masks)
                size = sum(mask.numel() for mask in masks.values())
                kept = sum(int(mask.sum()) for mask in masks.values())
                assert kept == round(size / float(ratio))
            tolerance = {"rtol": 1e-3, "atol": 1e-5} if name == "ticket" else {"rtol": 0, "atol": 0}
            for key, value in state.items():
                np.testing.assert_allclose(part.retrained[key][place], value, **tolerance)


def test_states_and_controls(folder, made, tmp_path):
    parts = made[0]
    assert {cell.method: part.control for cell, part in parts.items()} == {
        "control_iterative": "control_iterative",
        "control_iterative_rate": "control_iterative_rate",
        "control_rewind": "control_rewind",
        "rounds": "control_iterative",
        "rate": "control_iterative_rate",
        "ticket": "control_rewind",
    }
    inputs = folder / "data.safetensors", folder / "dense.safetensors"
    paths = [tmp_path / "dense.predictions", tmp_path / "all.predictions"]
    evaluate_block(*inputs, [], paths[0], panel=PANEL)
    evaluate_block(*inputs, [made[1] / "w.safetensors"], paths[1], panel=PANEL)
    predictions, failures = read_all(paths)
    states = {}
    for part in predictions:
        states.setdefault(part.method, set()).add(part.state)
    assert states["ticket"] == states["control_iterative"] == {RETRAINED}
    assert states["rounds"] == states["rate"] == {"compressed", RETRAINED}
    recall, table = measure(predictions, pd.read_csv(made[1] / "sparsity.csv"), failures)
    found = answers(recall, table)
    effects = found["effects"].set_index(["method", "ratio"])
    alphas = table[table["state"] == RETRAINED].pivot(
        index="seed", columns=["method", "ratio"], values="alpha"
    )
    against = {
        "rounds": "control_iterative",
        "rate": "control_iterative_rate",
        "ticket": "control_rewind",
    }
    compared = contrasts(table, {})
    compared = compared[compared["question"] == "control"].set_index(["left", "ratio"])
    needed = found["seeds_needed"].set_index(["method", "ratio", "question"])
    for name, arm in against.items():
        for ratio in (2.0, 4.0):
            at = 1.0 if arm == "control_rewind" else ratio
            expected = (alphas[name, ratio] - alphas[arm, at]).mean()
            assert np.isfinite(expected)
            assert effects.loc[(name, ratio), "difference"] == pytest.approx(expected)
            assert compared.loc[(name, ratio), "right"] == arm
            assert compared.loc[(name, ratio), "estimate"] == pytest.approx(expected)
            assert (needed.loc[(name, ratio, "control"), "n"] == len(SEEDS)).all()


ROUNDS = {"criterion": "magnitude", "schedule": "iterative"}


def test_all_ratios_of_a_chain_are_one_job_s():
    own = study(("control", "magnitude", "control_iterative", "slow"), slow=ROUNDS)
    found = Study.model_validate(own | {"jobs": {"ratios": 1}})
    assert list(found.ratio_groups(STUDY_PANEL, "slow")) == ["2-10"]
    assert list(found.ratio_groups(STUDY_PANEL, "control_iterative")) == ["2-10"]
    assert list(found.ratio_groups(STUDY_PANEL, "magnitude")) == ["2", "10"]
    assert found.ratios_of("control_iterative") == [2.0, 10.0]
    assert found.controls() == {"slow": "control_iterative"}
    module = "recall_distortion.compression.schedules.iterative"
    assert module in found.modules(STUDY_PANEL, "slow")
    assert module in found.modules(STUDY_PANEL, "control_iterative")
    assert module not in found.modules(STUDY_PANEL, "magnitude")


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (ROUNDS | {"retraining": "reinit"}, "iterative takes finetune, rewind, rewind_rate, not"),
        (ROUNDS | {"ratios": [2]}, "runs at the study's ratios, as its control does"),
    ],
)
def test_what_rounds_cannot_be_is_said(own, wanted):
    with pytest.raises(ValueError, match=wanted):
        Study.model_validate(study(("control", "magnitude", "slow"), slow=own))


def test_the_rate_is_rewound_to_one_epoch():
    rate = ROUNDS | {"retraining": "rewind_rate"}
    once = {"criterion": "magnitude", "retraining": "rewind_rate", "rewind_epochs": 2}
    with pytest.raises(ValueError, match="slow_once and slow rewind the rate of"):
        Study.model_validate(study(("magnitude", "slow", "slow_once"), slow=rate, slow_once=once))
