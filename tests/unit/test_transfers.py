"""Tickets of one data set trained on another: their masks, their weights, their own control."""

from __future__ import annotations

import copy

import pytest
import torch
from compression_helpers import SEEDS, images_of, same, write_dense
from core_helpers import compression_plan, method, recipe
from study_helpers import RECIPE, message, write
from test_retraining import early
from unfinished_helpers import Killed, always_kept

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell, RetrainingPlan
from recall_distortion.compression.retraining import after
from recall_distortion.data import Shape
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.report.definitions import definitions
from recall_distortion.run import planned
from recall_distortion.study import Study, check_feasible, load
from recall_distortion.system.errors import StudyError
from recall_distortion.tables.predictions import read_all
from recall_distortion.training import Run, fit_runs
from recall_distortion.training.passes import Pass
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state, load_block
from recall_distortion.vocabulary import RETRAINED, Panel

PANEL = Panel("there", "mlp", "usual")
TRAINING = recipe((3, 0.05))  # that of the dense networks of write_dense
OWN = recipe((4, 0.03))  # that of the data set on which tickets are trained
EPOCHS = 1
TICKET = {"ticket": "ticket"}
METHODS = {
    "control_transfer": None,
    "moved": method("magnitude", retraining="transfer", at="early", **TICKET),
    "shuffled": method("magnitude", retraining="transfer_shuffled", at="early", **TICKET),
    "control_reinit": None,
    "fresh": method("magnitude", retraining="reinit", **TICKET),
}
RATIOS = ["2", "10"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return where a data set of four classes lies, with its dense networks and tickets."""
    folder = write_dense(tmp_path_factory.mktemp("source"), noise=160.0)
    files = [folder / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        compression_plan(
            {"ticket": method("magnitude", retraining="rewind")},
            recipe((2, 0.03)),
            retrainings={"rewind": RetrainingPlan(TRAINING, EPOCHS)},
            engine={"engine": "sequential"},
        ),
        panel=PANEL._replace(dataset="here"),
        ratios={"ticket": RATIOS},
    )
    return folder


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """Return where another data set lies, of three classes, with its dense networks."""
    return write_dense(tmp_path_factory.mktemp("target"), noise=160.0, classes=3, seed=9)


def compress(target, source, output, engine="sequential", unfinished=None, tickets=None):
    output.mkdir(exist_ok=True)
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    plan = compression_plan(
        METHODS,
        recipe((2, 0.03)),
        retrainings={
            name: RetrainingPlan(OWN, 0 if name == "reinit" else EPOCHS)
            for name in ("transfer", "transfer_shuffled", "reinit")
        },
        engine={"engine": engine},
    )
    compress_block(
        Paths(
            target / "data.safetensors",
            target / "dense.safetensors",
            *files,
            source=source / "data.safetensors",
            tickets=[tickets or source / "w.safetensors"],
        ),
        # Frozen, so that what a job is told cannot change.
        type(plan)(**(vars(plan) | {"source": RetrainingPlan(TRAINING, EPOCHS)})),
        panel=PANEL,
        ratios={name: ["1"] if own is None else RATIOS for name, own in METHODS.items()},
        unfinished=unfinished,
    )
    return {part.cell: part for part in load_compressed(files[0])}


@pytest.fixture(scope="module")
def made(target, source, tmp_path_factory):
    output = tmp_path_factory.mktemp("made")
    return compress(target, source, output), output


def beginning(source, seed):
    """Return the source's early weights but an output layer for three classes, by plain code."""
    found = early(images_of(source), seed, EPOCHS)
    network = networks.build("mlp", channels=1, classes=3)
    networks.initialize(network, generator(seed, "transferred classifier"))
    return found | {n: v for n, v in copy_state(network).items() if n.startswith("classifier.")}


@pytest.mark.parametrize("name", list(METHODS))
def test_networks_are_those_of_single_trainings(source, target, made, name):
    network = networks.build("mlp", channels=1, classes=3)
    tickets = {p.cell.ratio: p for p in load_compressed(source / "w.safetensors")}
    fresh = METHODS[name] is not None and METHODS[name].retraining == "reinit"
    fresh |= name == "control_reinit"
    left = OWN if fresh else after(OWN, EPOCHS)
    for ratio in ["1"] if METHODS[name] is None else RATIOS:
        part = made[0][Cell(name, ratio)]
        assert (part.of_dense, part.failures) == (False, [])
        assert part.control == ("control_reinit" if fresh else "control_transfer")
        for place, seed in enumerate(SEEDS):
            own = {key: mask[place] for key, mask in part.masks.items()} or None
            if own is not None:
                theirs = {key: mask[place] for key, mask in tickets[ratio].masks.items()}
                sizes = [{key: int(m.sum()) for key, m in them.items()} for them in (own, theirs)]
                assert sizes[0] == sizes[1]
                assert same(own, theirs) == (name != "shuffled")
            start = beginning(source, seed)
            if fresh:
                networks.initialize(network, generator(seed, "reinit initialization"))
                start = copy_state(network)
            stage = "reinit" if fresh else "rewind"
            run = Run(seed, start, own)
            (alone,) = fit_runs(network, images_of(target), left, [run], stage=stage)
            for key, value in alone.state.items():
                torch.testing.assert_close(part.retrained[key][place], value, rtol=1e-3, atol=1e-5)


def test_vectorized_it_is_the_same(source, target, made, tmp_path):
    for cell, part in compress(target, source, tmp_path / "w", "vectorized").items():
        assert same(part.masks, made[0][cell].masks)
        for key, value in part.retrained.items():
            torch.testing.assert_close(value, made[0][cell].retrained[key], rtol=1e-3, atol=1e-4)


def test_a_killed_job_goes_on(source, target, made, tmp_path, monkeypatch):
    kept = always_kept(monkeypatch)
    next(kept)
    run, done = Pass.run, []

    def killed(self, *inputs):
        done.append(1)
        if len(done) == 14:
            raise Killed
        return run(self, *inputs)

    monkeypatch.setattr(Pass, "run", killed)
    with pytest.raises(Killed):
        compress(target, source, tmp_path / "w", unfinished=tmp_path / "unfinished")
    found = compress(target, source, tmp_path / "w", unfinished=tmp_path / "unfinished")
    # Twice 3 epochs to begin with; 3 for each of 5 rewound networks and 4 for each of 3 fresh ones.
    assert len(done) == 1 + 6 + 3 * (5 * 3 + 3 * 4)
    for cell, part in found.items():
        assert same(part.retrained, made[0][cell].retrained)
    assert not (tmp_path / "unfinished").exists()
    next(kept, None)


def test_what_has_no_ticket_is_a_failure_and_nothing_has_been_dense(
    source, target, made, tmp_path, monkeypatch
):
    from recall_distortion.compression import transfers

    read = transfers.read_tickets

    def without(*inputs):
        return {
            cell: {seed: masks for seed, masks in own.items() if (cell.ratio, seed) != ("10", 4)}
            for cell, own in read(*inputs).items()
        }

    monkeypatch.setattr(transfers, "read_tickets", without)
    found = compress(target, source, tmp_path / "w")
    part = found[Cell("moved", "10")]
    assert part.seeds == part.mask_seeds == [3, 5]
    (failure,) = part.failures
    assert (failure.seed, failure.reason) == (4, "there is no ticket of this seed and ratio")
    assert found[Cell("moved", "2")].seeds == found[Cell("control_transfer", "1")].seeds == SEEDS
    evaluate_block(
        target / "data.safetensors", target / "dense.safetensors", [tmp_path / "w/w.safetensors"],
        tmp_path / "p.safetensors", panel=PANEL,
    )  # fmt: skip
    parts, failures = read_all([tmp_path / "p.safetensors"])
    assert {part.state for part in parts} == {RETRAINED}
    assert len(failures) == 3


def test_with_as_many_classes_it_begins_with_all_of_the_source_s_weights(source):
    from recall_distortion.compression.transfers import fitting

    network = networks.build("mlp", channels=1, classes=4)
    state = load_block(source / "dense.safetensors").state(3)
    assert same(fitting(network, state, 3), state)


VALUES = {
    "description": "Tickets of digits, trained on their other half.",
    "seeds": 3,
    "datasets": {"there": {"source": "digits", "test_fraction": 0.5}, "here": {"source": "digits"}},
    "recipes": {"tiny": RECIPE},
    "methods": {
        "ticket": {
            "criterion": "magnitude",
            "retraining": "rewind",
            "schedule": "iterative",
            "rewind_epochs": 1,
        },
        "moved": {"ticket_from": "here", "of": "ticket"},
    },
    "panels": [
        {
            "dataset": "there",
            "architectures": ["mlp"],
            "methods": ["control_rewind", "ticket", "control_transfer", "moved"],
        },
        {"dataset": "here", "architectures": ["mlp"], "methods": ["control_rewind", "ticket"]},
    ],
    "ratios": [2, 10],
    "count": "prunable",
}


def test_jobs_follow_those_whose_tickets_they_train():
    study = Study.model_validate(VALUES)
    assert study.controls()["moved"] == "control_transfer"
    jobs = planned.plan(study).jobs
    made = set()
    for job in jobs:
        assert all(p in made for p in job.input_paths())
        made |= set(job.outputs.values())
    moved = [job for job in jobs if job.rule == "compress" and "/moved/" in str(job)]
    tickets = [f"compressed/here/mlp/tiny/ticket/2-10/seeds-000-002.{'safetensors'}"]
    for job in moved:
        assert [path.removeprefix("results//") for path in job.inputs["tickets"]] == tickets
        assert job.inputs["source"] == "results//data/here.safetensors"
        told = job.parameters["compression"]
        assert told["source"]["epochs"] == told["retrainings"]["transfer"]["epochs"] == 1
    assert [job.parameters["ratios"] for job in moved] == [{"moved": ["2"]}, {"moved": ["10"]}]
    others = [job for job in jobs if "moved" not in str(job) and "transfer" not in str(job)]
    assert not any({"source", "tickets"} & job.inputs.keys() - {"source"} for job in others)
    panel = Panel("there", "mlp", "tiny")
    module = "recall_distortion.compression.transfers"
    of = {name: module in study.modules(panel, name) for name in study.bundles(panel)}
    assert of == {"control_rewind": False, "ticket": False, "control_transfer": True, "moved": True}
    said = definitions(study.facts(), ["moved"])[0].sentence
    for word in ("here", "ticket", "control_transfer", "rewound"):
        assert word in said


def with_values(*changes):
    values = copy.deepcopy(VALUES)
    for key, value in changes:
        *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
        place = values
        for part in parents:
            place = place[part]
        if isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return values


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("methods.moved.of", "magnitude")], "methods.moved.of: magnitude is no method"),
        ([("methods.moved.of", "nothing")], "methods.moved.of: nothing is no method"),
        ([("methods.moved.ticket_from", "where")], "no panel has ticket of mlp on where (tiny)"),
        ([("methods.moved.recipe", "other")], "no panel has ticket of mlp on here (other)"),
        ([("methods.moved.criterion", "magnitude")], "unknown key"),
        ([("panels.1.methods", ["ticket", "moved"])], "whose own tickets ticket trains"),
        (
            [("jobs", {"bundles": {"both": ["moved", "ticket"]}})],
            "jobs.bundles.both: moved trains what other jobs leave",
        ),
        (
            [
                ("datasets.third", {"source": "digits", "test_fraction": 0.3}),
                ("methods.again", {"ticket_from": "third", "of": "ticket"}),
                ("panels.0.methods", ["moved", "again"]),
                ("panels.1.methods", ["ticket"]),
                (
                    "panels.2",
                    {"dataset": "third", "architectures": ["mlp"], "methods": ["ticket"]},
                ),
            ],
            "moved and again bring tickets of several data sets to mlp on there (tiny)",
        ),
        (
            [("methods.moved.retraining", "reinit")],
            "control_transfer and nothing that begins with another data set's weights",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changes, said):
    assert said in message(write(tmp_path, with_values(*changes)))


def test_images_of_another_shape_are_refused_before_any_job(tmp_path):
    path = write(tmp_path, VALUES)
    shapes = {"there": Shape(1, 8, 10), "here": Shape(3, 8, 10)}
    with pytest.raises(StudyError) as caught:
        check_feasible(load(path), path, shapes)
    told = str(caught.value)
    for word in (str(path), "'methods'", "tickets of here", "3 x 8 x 8", "fc1 has other weights"):
        assert word in told
    check_feasible(load(path), path, {"there": Shape(1, 8, 3), "here": Shape(1, 8, 10)})
