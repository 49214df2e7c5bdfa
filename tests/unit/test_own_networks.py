"""Networks of one's own: what is found in them, how they are trained, what is refused."""

from __future__ import annotations

import copy
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import own_models
import pandas as pd
import pytest
import torch
from core_helpers import prepared, recipe, write_prepared
from own_helpers import IMAGE, MODELS, built, definition
from safetensors.torch import save_file
from study_helpers import changed, write
from training_helpers import images_of
from unfinished_helpers import Killed, always_kept, assert_same, killing_after

from recall_distortion import networks
from recall_distortion.compression.pruning.selection import loss_gradient
from recall_distortion.evaluation.curvature import Loss
from recall_distortion.inference import one_dense
from recall_distortion.study import check_feasible, examine, examined, load, own
from recall_distortion.system.errors import NetworkError, StudyError
from recall_distortion.training import (
    Engine,
    Run,
    TrainingPlan,
    Unfinished,
    fit_runs,
    read,
    train_block,
)
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import Block, copy_state, load_block, save_block
from recall_distortion.training.vectorizable import able
from recall_distortion.vocabulary import ONE_BROUGHT, PANEL


def runs_of(network: torch.nn.Module, count: int = 2) -> list[Run]:
    """Return runs, the second under a mask that removes half of each prunable weight."""
    runs = []
    for seed in range(count):
        networks.initialize(network, generator(seed, "initialization"))
        own = torch.Generator().manual_seed(seed)
        masks = {
            name: torch.rand(weight.shape, generator=own) < 0.5
            for name, weight in networks.prunable_parameters(network).items()
        }
        runs.append(Run(seed, copy_state(network), masks if seed else None))
    return runs


def test_what_a_network_is_made_of_is_found():
    network = built("Tokens")
    assert networks.classifier(network) is network.head
    assert list(networks.prunable_parameters(network)) == [
        "patches.weight", "attention.in_proj_weight", "attention.out_proj.weight", "mlp.weight",
    ]  # fmt: skip
    counts = networks.counts(network)
    assert counts.total == sum(value.numel() for value in network.parameters())
    assert counts.prunable_weights == 8 * 16 + 24 * 8 + 8 * 8 + 8 * 8
    # With the biases beside these weights, in projections and convolutions alike.
    assert counts.prunable_modules == counts.prunable_weights + 8 + 24 + 8 + 8
    positions = networks.output_positions(network, torch.rand(3, 1, 8, 8))
    # Four tokens, and the head reads their mean.
    assert positions == {name: 1 if name == "head.weight" else 4 for name in positions}
    assert set(positions) == {*networks.prunable_parameters(network), "head.weight"}


def test_what_is_named_takes_the_place_of_what_is_found():
    network = built("Tokens", classifier="mlp", prunable=["attention.*_weight", "places"])
    assert list(networks.prunable_parameters(network)) == ["places", "attention.in_proj_weight"]
    with pytest.raises(NetworkError, match=r"prunable: mlp.w matches no parameter .* it has atten"):
        built("Tokens", prunable=["mlp.w"])
    with pytest.raises(NetworkError, match="classifier: top is no module of it; its layers are p"):
        built("Tokens", classifier="top")


def test_a_seed_decides_the_weights_and_nothing_outside():
    network = built("Tokens")
    before = torch.get_rng_state()
    states = []
    for seed in (3, 4, 3):
        networks.initialize(network, generator(seed, "initialization"))
        states.append(copy_state(network))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in states[0].items():
        assert torch.equal(value, states[2][name])
    assert not torch.equal(states[0]["places"], states[1]["places"])


@pytest.mark.parametrize("function", ["Tokens", "mobile"])
def test_vectorized_and_alone_agree(function, tmp_path):
    """Beyond rounding; masks hold."""
    images = images_of(prepared(tmp_path / "data.safetensors"))
    network = built(function)
    runs = runs_of(network)
    found = []
    for engine in (Engine(), able(Engine(at_once=2), network, IMAGE)):
        found.append(list(fit_runs(network, images, recipe((2, 0.05)), runs, engine=engine)))
    assert able(Engine(at_once=2), network, IMAGE).vectorized
    for alone, together, run in zip(*found, runs, strict=True):
        for name, value in alone.state.items():
            torch.testing.assert_close(value, together.state[name], rtol=1e-3, atol=1e-4)
        for name, mask in (run.masks or {}).items():
            assert not alone.state[name][~mask].any()


def test_what_cannot_be_vectorized_is_trained_alone_and_one_line_says_why(capsys):
    assert not able(Engine(at_once=2), built("Deciding"), IMAGE).vectorized
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("one after another, float32: Deciding cannot be vectorized: torch.vmap:")
    assert able(Engine(at_once=2), networks.build("mlp", channels=1, classes=4), IMAGE).vectorized


def test_dropout_of_a_module_draws_from_the_replicate_and_goes_on_after_a_kill(
    tmp_path, monkeypatch, capsys
):
    """Alone or behind another, undisturbed or killed; the criterion's gradient alike."""
    images = images_of(prepared(tmp_path / "data.safetensors"))
    network = built("mobile", options={"dropout": 0.5})
    assert not able(Engine(at_once=2), network, IMAGE).vectorized
    assert "its training draws random numbers" in capsys.readouterr().out
    keeping = always_kept(monkeypatch)
    next(keeping)
    runs, plan = runs_of(network), recipe((2, 0.05), (1, 0.05))
    whole = list(fit_runs(network, images, plan, runs))
    second = list(fit_runs(network, images, plan, runs[1:]))
    assert_same(second, whole[1:])
    folder = tmp_path / "unfinished"
    with pytest.raises(Killed):
        list(fit_runs(network, images, plan, runs, report=killing_after(2),
                      unfinished=Unfinished(folder, {})))  # fmt: skip
    assert_same(list(fit_runs(network, images, plan, runs, unfinished=Unfinished(folder, {}))),
                whole)  # fmt: skip
    next(keeping, None)
    gradients = [loss_gradient(network, images.fit, 16, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(gradients[0]["0.weight"], gradients[1]["0.weight"])
    without = list(fit_runs(built("mobile"), images, plan, runs))
    assert not torch.equal(without[0].state["0.weight"], whole[0].state["0.weight"])


def test_what_is_frozen_stays_as_it_is_however_it_is_computed(tmp_path):
    images = images_of(prepared(tmp_path / "data.safetensors"))
    network = built("Tokens")
    network.mlp.requires_grad_(False)
    runs = [replace(run, masks=None) for run in runs_of(network)]
    for engine in (Engine(), Engine(at_once=2)):
        for run, found in zip(
            runs, fit_runs(network, images, recipe((1, 0.05)), runs, engine=engine), strict=True
        ):
            assert torch.equal(found.state["mlp.weight"], run.state["mlp.weight"])
            assert not torch.equal(found.state["head.weight"], run.state["head.weight"])


def test_a_block_says_how_its_networks_are_made(tmp_path):
    said = definition("mobile", options={"dropout": 0.25})
    block = Block("mine", 1, 4, [0], {"a": torch.zeros(1, 2)}, network=said)
    save_block(tmp_path / "block.safetensors", block)
    found = load_block(tmp_path / "block.safetensors")
    assert found.network == said
    assert found.module(IMAGE)[8].p == 0.25


MISTAKES = {
    "raises": [
        "Wrong(channels=1, classes=4, mistake='raises') raised KeyError: 'width' (",
        "own_m",
    ],
    "shape": ["no linear layer or convolution", "each of the 4 classes", "inner, head"],
    "tuple": ["it gives tuple", "a tensor of logits [4, 4], a row an image"],
    "view": ["on images [2, 1, 8, 8] it raised RuntimeError", "invalid for input of size"],
    "tied": ["inner.weight and other.weight are one tensor", "weights of its own"],
    "unused": ["do not depend on spare.weight", "requires_grad_(False)"],
    "half": ["inner.weight is torch.float16; parameters are torch.float32"],
    "lazy": ["inner.weight has no size before the first call"],
    "nobody": ["scale holds numbers that are not finite", "initialize it"],
    "unseeded": ["inner.weight differs between two modules", "global generator"],
    "hidden": ["differ in more than their parameters", "persistent=True"],
    "replaces": ["replaces buffer seen", "copy_()"],
}


@pytest.mark.slow
def test_each_mistake_has_one_message_before_any_job_starts():
    """All in one process, as a study's networks are."""
    asked = [("Wrong", {"mistake": mistake}, None) for mistake in MISTAKES]
    asked += [("no_module", {}, None), ("features", {}, None), ("nothing", {}, None),
              ("Tokens", {"depth": 3}, None), ("features", {}, "1")]  # fmt: skip
    answers = examined._ask(
        [
            {
                "name": "mine",
                "definition": asdict(definition(f, options=options, classifier=classifier)),
                "channels": 1,
                "classes": 4,
                "image": [8, 8],
                "files": [],
                "groups": False,
                "curvature": False,
            }
            for f, options, classifier in asked
        ]
    )
    wanted = [*MISTAKES.values(), ["no_module returns dict; return a torch.nn.Module"],
              ["name it by classifier: NAME. Its layers are 1"],
              ["own_models has no function or class nothing; it has ", "mobile"],
              ["Tokens(channels=1, classes=4, depth=3) raised TypeError", "depth"],
              ["but for its classifier, 1, it has no weights", "prunable: [NAME"]]  # fmt: skip
    for what, answer, words in zip(asked, answers, wanted, strict=True):
        assert set(answer) == {"error"}, what
        assert answer["error"].startswith("architecture mine: "), what
        assert "\n" not in answer["error"]
        for word in words:
            assert word in answer["error"], (what, answer["error"])


@pytest.mark.slow
def test_a_study_names_its_own_networks_and_looks_at_them_once(tmp_path, monkeypatch):
    """Again when the code changes, and not for a comment."""
    shutil.copy(MODELS, tmp_path / "models.py")
    values = changed("panels.0.architectures", ["mine", "mlp"])
    values["architectures"] = {"mine": {"module": "models.py:Tokens", "options": {"width": 4}}}
    path = write(tmp_path, values)
    shapes = {"digits": SimpleNamespace(channels=1, image_size=8, classes=10)}
    monkeypatch.chdir(tmp_path)
    asked = []
    ask = examined._ask
    monkeypatch.setattr(examined, "_ask", lambda given: asked.append(given) or ask(given))

    def look() -> dict[tuple[str, str], examined.Found]:
        study = load(path)
        found = examine(study, path, shapes)
        check_feasible(study, path, shapes, found)
        return found

    found = look()
    assert found["mine", "digits"].counts.prunable_weights == 4 * 16 + 12 * 4 + 2 * 4 * 4
    assert found["mine", "digits"].tokens
    assert look() == found
    assert len(asked) == 1
    text = (tmp_path / "models.py").read_text()
    (tmp_path / "models.py").write_text(f"{text}\n# seen\n")
    assert look() == found
    assert len(asked) == 1
    (tmp_path / "models.py").write_text(f"{text}\nFURTHER = 1\n")
    look()
    assert len(asked) == 2
    write(tmp_path, values | {"count": "total", "ratios": [100]})
    with pytest.raises(StudyError, match=r"key 'ratios': mine on digits cannot reach ratio"):
        look()
    parameters = load(path).training_parameters(load(path).networks()[0].panel)
    assert list(parameters["network"]["code"]) == ["models.py"]
    assert "network" not in load(path).training_parameters(load(path).networks()[1].panel)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (
            {"module": "models.py"},
            ["mine.module': should be package.module:function, or", "not 'models.py'"],
        ),
        ({"module": "models.py:f", "classes": 3}, ["unknown key", "options, classifier"]),
    ],
)
def test_what_is_no_network_is_said_by_its_key(own, words, tmp_path):
    values = changed("panels.0.architectures", ["mine"]) | {"architectures": {"mine": own}}
    with pytest.raises(StudyError) as caught:
        load(write(tmp_path, values))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        ("absent.py:f", None, ["there is no file ", "absent.py"]),
        ("absent.inner:f", None, ["there is no module absent.inner in ", "with its .py"]),
        ("broken.py:f", "def f(:\n", ["broken.py, line 1: is no Python: invalid syntax"]),
        ("so-so.py:f", "", ["so-so.py: a file is imported by its name"]),
    ],
)
def test_code_that_is_not_there_is_said_with_its_place(module, text, words, tmp_path):
    if text is not None:
        (tmp_path / module.partition(":")[0]).write_text(text)
    values = changed("panels.0.architectures", ["mine"])
    path = write(tmp_path, values | {"architectures": {"mine": {"module": module}}})
    with pytest.raises(StudyError) as caught:
        examine(load(path), path, {"digits": None})
    assert str(caught.value).startswith(f"{path}: key 'architectures.mine.module': {module}: ")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_package_counts_with_all_of_its_modules_and_an_installed_one_by_its_version(tmp_path):
    package = tmp_path / "nets"
    package.mkdir()
    for name, text in {"__init__": "", "build": "from . import parts\nimport beside\n",
                       "parts": "from nets.deep import x\n", "deep": "x = 1\n",
                       "other": "y = 2\n"}.items():  # fmt: skip
        (package / f"{name}.py").write_text(text)
    (tmp_path / "beside.py").write_text("import torch\n")

    def files(module: str) -> list[str]:
        said = own.OwnNetwork(module=module)
        return [Path(path).name for path in own.definition("a", said, str(tmp_path)).code]

    assert sorted(files("nets.build:f")) == [
        "__init__.py", "beside.py", "build.py", "deep.py", "parts.py",
    ]  # fmt: skip
    assert files("torch.nn:Linear") == ["version of torch"]


def test_code_that_changed_since_the_study_was_read_is_not_run(tmp_path):
    path = tmp_path / "models.py"
    path.write_text("def f():\n    pass\n")
    said = own.definition("a", own.OwnNetwork(module="models.py:f"), str(tmp_path))
    path.write_text("def f():\n    return 1\n")
    with pytest.raises(NetworkError, match=r"models.py is not what it was when the study was read"):
        networks.build("a", channels=1, classes=2, own=said, image=IMAGE)


def with_weights(tmp_path: Path, weights: str, **values: object) -> Path:
    """Return a study of a network whose dense ones are brought."""
    shutil.copy(MODELS, tmp_path / "models.py")
    mine = {"module": "models.py:mobile", "weights": weights}
    study = changed("panels.0.architectures", ["mine"]) | {"architectures": {"mine": mine}}
    return write(tmp_path, study | values)


def save(path: Path, seed: int, **changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state = own_models.mobile(1, 10).state_dict() | changes
    save_file({name: value for name, value in state.items() if value is not None}, path)
    return state


@pytest.mark.parametrize(("weights", "files"), [("w.safetensors", 1), ("w-{seed}.safetensors", 3)])
def test_dense_networks_that_are_brought_are_read_and_not_trained(weights, files, tmp_path):
    study = load(with_weights(tmp_path, weights))
    (panel,) = [network.panel for network in study.networks()]
    wanted = examined.brought(study, panel, study.replicate_seeds())
    assert len(wanted) == files
    states = [save(Path(path), seed) for seed, path in enumerate(wanted)]
    plan = read(TrainingPlan, study.training_parameters(panel), "training")
    paths = [tmp_path / name for name in ("data.safetensors", "dense.safetensors", "history.csv")]
    write_prepared(paths[0], classes=10)
    train_block(*paths, plan, architecture="mine", seeds=study.replicate_seeds())
    block = load_block(paths[1])
    assert block.seeds == [0, 1, 2]
    for seed in block.seeds:
        for name, value in block.state(seed).items():
            assert torch.equal(value, states[seed % files][name])
    one = "brought: one network for all seeds"
    assert block.facts["engine"] == (one if files == 1 else "brought: a network for each seed")
    assert len(paths[2].read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (None, "there is no such file"),
        ({"6.bias": None}, "it has no 6.bias"),
        ({"6.bia": torch.zeros(1)}, "it has 6.bia, which the module has not; the module has 0.w"),
        ({"6.bias": torch.zeros(3)}, "6.bias is [3] there and [8] in the module"),
        ({"6.bias": torch.full((8,), torch.nan)}, "6.bias holds numbers that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_said(changes, words, tmp_path):
    path = tmp_path / "w.safetensors"
    if changes is not None:
        save(path, 0, **changes)
    network = built("mobile", classes=10)
    with pytest.raises(NetworkError) as caught:
        networks.known(network).read_state(network, str(path))
    assert str(caught.value).startswith(f"architecture mobile: weights {path}: {words}")


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"mine": {"criterion": "magnitude", "retraining": "rewind"}}, "goes back into a training"),
        (
            {
                "mine": {
                    "criterion": "l1_norm",
                    "unit": "channel",
                    "removed": {"a": 0.5},
                    "ratios": [2.0],
                }
            },
            "methods.mine.removed: shares of layers are of the networks of this package",
        ),
        (
            {"mine": {"weights": "int8"}},
            "mine of mine on digits (tiny) quantizes, and networks of one's own",
        ),
    ],
)
def test_what_cannot_be_done_with_ones_own_is_refused_by_the_study(methods, words, tmp_path):
    with pytest.raises(StudyError) as caught:
        load(with_weights(tmp_path, "w.safetensors", methods=methods))
    assert words in str(caught.value)


def test_one_dense_network_has_no_interval_and_no_reseed():
    keys = dict.fromkeys(PANEL, "a")
    made = pd.DataFrame([keys | {"method": "dense", "engine": ONE_BROUGHT}] * 3)
    rows = [
        keys | {"method": method, "n": 3.0, "low": 0.1, "high": 0.3, "note": note}
        for method, note in (("dense", ""), ("reseed", ""), ("magnitude", "before"))
    ]
    empty = dict.fromkeys(["std_error", "df", "p", "p_adjusted"], math.nan)
    table = pd.DataFrame([row | empty for row in rows])
    found = one_dense.without_replicates(table, made)
    assert found["method"].tolist() == ["dense", "magnitude"]
    assert found["n"].tolist() == [1, 3]
    assert found["low"].isna().tolist() == [True, False]
    assert found["note"][1] == (
        "before; one dense network for all seeds: the interval is of retraining alone"
    )
    each = made.assign(engine="brought: a network for each seed")
    pd.testing.assert_frame_equal(one_dense.without_replicates(table, each), table)


def slope(network, images, labels, moved):
    """Return the gradient in double precision where the trained parameters are moved."""
    network = copy.deepcopy(network).double()
    trained = [value for value in network.parameters() if value.requires_grad]
    with torch.no_grad():
        for value, own in zip(
            trained, moved.double().split([value.numel() for value in trained]), strict=True
        ):
            value += own.view_as(value)
    loss = torch.nn.functional.cross_entropy(network(images.double()), labels)
    return torch.cat([one.flatten() for one in torch.autograd.grad(loss, trained)])


def test_curvature_is_found_of_attention_of_what_decides_and_beside_what_is_frozen(capsys):
    """Against the whole Hessian; single gradients where torch.vmap fails."""
    for function, frozen in (("Tokens", "mlp"), ("Deciding", "")):
        network = built(function)
        if frozen:
            network.get_submodule(frozen).requires_grad_(False)
        trained = [value for value in network.parameters() if value.requires_grad]
        drawn = torch.Generator().manual_seed(0)
        images, labels = torch.rand(3, 1, *IMAGE, generator=drawn), torch.tensor([0, 1, 2])
        loss = Loss(network.eval(), images, labels)
        assert len(loss) == sum(value.numel() for value in trained)
        vector = torch.rand(len(loss), generator=drawn)

        ahead, behind = (slope(network, images, labels, step * vector) for step in (1e-6, -1e-6))
        expected = (ahead - behind) / 2e-6
        torch.testing.assert_close(loss.product(vector).double(), expected, rtol=1e-3, atol=1e-4)
        moment, covariance = loss.gradient_traces()
        single = []
        for image, label in zip(images, labels, strict=True):
            own = torch.nn.functional.cross_entropy(network(image[None]), label[None])
            single.append(torch.cat([one.flatten() for one in torch.autograd.grad(own, trained)]))
        rows = torch.stack(single).double()
        assert moment == pytest.approx(float(rows.square().sum(1).mean()), rel=1e-4)
        less = float(rows.mean(0).square().sum())
        assert covariance == pytest.approx(moment - less, rel=1e-3)
        said = "gradients of images one after another: torch.vmap: " in capsys.readouterr().out
        assert said == (function == "Deciding")


@pytest.mark.slow
def test_what_is_asked_of_a_network_that_has_none_of_it_is_said_before_any_job(tmp_path):
    """Second derivatives, rectifiers, batch norm."""
    asked = {"definition": asdict(definition("Once")), "name": "mine", "channels": 1,
             "classes": 4, "image": [8, 8], "files": [], "groups": False}  # fmt: skip
    known, none = examined._ask([asked | {"curvature": own} for own in (False, True)])
    assert not known["found"]["rectifiers"]
    assert known["found"]["hidden"]
    assert none["error"].startswith("architecture mine: curvature is of second derivatives, which")
    values = changed("panels.0.architectures", ["mine"]) | {"dead_units": True}
    values["architectures"] = {"mine": {"module": "models.py:Once"}}
    shutil.copy(MODELS, tmp_path / "models.py")
    path = write(tmp_path, values)
    found = {("mine", "digits"): examined._found(known["found"])}
    with pytest.raises(StudyError, match="dead_units: mine calls no rectifier"):
        check_feasible(load(path), path, {"digits": None}, found)
    values["dead_units"] = False
    values["recipes"]["tiny"]["training"]["regularizers"] = {"batch_norm_l1": {"weight": 0.1}}
    path = write(tmp_path, values)
    with pytest.raises(
        StudyError, match=r"recipes\.tiny: .*batch_norm_l1 finds nothing in mine, wh"
    ):
        check_feasible(load(path), path, {"digits": None}, found)
