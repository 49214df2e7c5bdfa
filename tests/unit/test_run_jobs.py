"""Plans of jobs: what is done again and what is not, wrong files and words, how long it takes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from core_helpers import REPOSITORY, write_prepared

from recall_distortion import command
from recall_distortion.run import duration
from recall_distortion.run.jobs import Job, Plan, read_plan, with_words
from recall_distortion.run.made import Made
from recall_distortion.run.work import work
from recall_distortion.system.errors import PlanError
from recall_distortion.system.files import sha256
from recall_distortion.training import TrainingPlan, read

RESULTS = "results/small"
COMPUTING = {"engine": "sequential", "at_once": None, "precision": "float32"}


def recipe(epochs: int) -> dict[str, object]:
    return {
        "phases": [{"epochs": epochs, "learning_rate": 0.05}],
        "batch_size": 16,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "augmentation": [],
    }


def small(epochs: int = 1, seeds: tuple[int, ...] = (0, 1)) -> Plan:
    """Return a plan without its data: dense networks, the control, their predictions."""
    data, dense = f"{RESULTS}/data/d.safetensors", f"{RESULTS}/dense/d"
    control = f"{RESULTS}/compressed/d/control/1"
    panel = ["d", "mlp", "r"]

    def made(stem: str, *kinds: str) -> dict[str, str]:
        return {"weights": f"{stem}.safetensors"} | {kind: f"{stem}.{kind}.csv" for kind in kinds}

    inputs = {"data": data, "dense": f"{dense}.safetensors"}
    settings = {"recipe": recipe(epochs), "selection": "holdout", "engine": COMPUTING}
    retraining = settings | {"recipe": recipe(1), "count": "total", "methods": {"control": None}}
    jobs = [
        Job(
            "train",
            {"data": data},
            made(dense, "history"),
            {"training": settings, "seeds": list(seeds), "unfinished": f"{RESULTS}/unfinished/t"},
            panel,
        ),
        Job(
            "compress",
            inputs,
            made(control, "sparsity", "history"),
            {
                "compression": retraining,
                "ratios": {"control": ["1"]},
                "unfinished": f"{RESULTS}/unfinished/c",
            },
            panel,
        ),
        Job(
            "evaluate",
            inputs | {"compressed": [f"{control}.safetensors"]},
            {"predictions": f"{RESULTS}/predictions/d/control.safetensors"},
            {},
            panel,
        ),
    ]
    return Plan("small", RESULTS, False, tuple(with_words(jobs)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(folder: Path) -> Path:
    path = folder / RESULTS / "data/d.safetensors"
    path.parent.mkdir(parents=True)
    return write_prepared(path)


def rules(jobs: list[Job]) -> list[str]:
    return [job.rule for job in jobs]


def done(plan: Plan, **options: object) -> int:
    return work(plan, gpus=0, data_root="data", **options)


def test_a_job_depends_on_those_before_it_and_on_nothing_else() -> None:
    one, longer, same = small(), small(epochs=2), small()
    assert [job.word for job in one.jobs] == [job.word for job in same.jobs]
    for left, right in zip(one.jobs, longer.jobs, strict=True):
        assert left.word != right.word  # the control's own recipe is the same
    retrained = dataclasses.replace(
        one.jobs[1], parameters=one.jobs[1].parameters | {"ratios": {"control": ["1", "2"]}}
    )
    words = [job.word for job in with_words([one.jobs[0], retrained, one.jobs[2]])]
    assert [word == job.word for word, job in zip(words, one.jobs, strict=True)] == [
        True,
        False,
        False,
    ]


def test_what_is_made_is_not_made_again_unless_something_before_it_changed(data: Path) -> None:
    assert rules(Made(small()).left(small().jobs)) == ["train", "compress", "evaluate"]
    assert done(small()) == 0
    assert Made(small()).left(small().jobs) == []
    assert rules(Made(small(epochs=2)).left(small(epochs=2).jobs)) == [
        "train",
        "compress",
        "evaluate",
    ]
    # Weights that were deleted are made again, and predictions of the same weights are kept.
    Path(f"{RESULTS}/dense/d.safetensors").unlink()
    assert rules(Made(small()).left(small().jobs)) == ["train"]


def test_what_was_brought_is_taken_as_it_is_where_nothing_before_it_is_to_be_made(
    data: Path,
) -> None:
    assert done(small()) == 0
    Path(f"{RESULTS}/made.json").unlink()
    assert Made(small()).left(small().jobs) == []
    Path(f"{RESULTS}/compressed/d/control/1.history.csv").unlink()
    assert rules(Made(small()).left(small().jobs)) == ["compress", "evaluate"]


def test_another_plan_s_predictions_are_not_taken_for_this_one_s(data: Path) -> None:
    path = Path(f"{RESULTS}/predictions/d/control.safetensors")
    assert done(small()) == 0
    first = path.read_bytes()
    assert done(small(epochs=3)) == 0
    assert path.read_bytes() != first
    assert done(small()) == 0
    assert path.read_bytes() == first


def test_what_fails_is_said_and_the_rest_is_done(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = small()
    train, compress, evaluate = plan.jobs
    magnitude = {"criterion": "magnitude", "scope": "global", "schedule": "one_shot"}
    settings = compress.parameters["compression"] | {
        "methods": {"magnitude": magnitude | {"gradient_examples": 1, "epsilon": 0.0}}
    }
    wild = compress.parameters | {
        "compression": settings,
        "ratios": {"magnitude": ["1000000"]},  # more than the network has parameters
    }
    other = {
        key: value.replace("control", "other") if isinstance(value, str) else value
        for key, value in compress.outputs.items()
    }
    wrong = dataclasses.replace(compress, parameters=wild, outputs=other)
    waits = dataclasses.replace(
        evaluate,
        inputs=evaluate.inputs | {"compressed": [other["weights"]]},
        outputs={"predictions": f"{RESULTS}/predictions/d/other.safetensors"},
    )
    jobs = tuple(with_words([train, wrong, waits, compress, evaluate]))
    assert done(dataclasses.replace(plan, jobs=jobs)) == 1
    said = capsys.readouterr()
    assert f"error: compress {RESULTS}/compressed/d/other/1: " in said.err
    assert "2 jobs failed or need what failed" in said.out
    assert Path(f"{RESULTS}/predictions/d/control.safetensors").exists()
    assert not Path(f"{RESULTS}/predictions/d/other.safetensors").exists()


def test_when_the_time_is_over_the_status_says_so_and_the_work_goes_on_later(data: Path) -> None:
    assert done(small(epochs=100_000), seconds=0.5) == 3
    assert done(small(), seconds=600) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no such file"),
        ("", "is no plan; write one with `recall-distortion plan STUDY`"),
        ("[1]", "is no plan"),
        ('{"jobs": []}', "was written by version None of this package"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(text: str | None, words: str) -> None:
    if text is not None:
        Path("plan.json").write_text(text)
    with pytest.raises(PlanError, match=r"plan\.json") as found:
        read_plan("plan.json")
    assert words in str(found.value)


def test_a_plan_is_read_as_it_was_written_and_stays_within_its_folder() -> None:
    plan = small()
    Path("plan.json").write_text(plan.text())
    assert read_plan("plan.json") == plan
    for path in ("/etc/passwd", "results/../../x", "results/other/x", "src/x"):
        values = json.loads(plan.text())
        values["jobs"][0]["outputs"]["weights"] = path
        Path("plan.json").write_text(json.dumps(values))
        with pytest.raises(PlanError, match="no place of its study's results"):
            read_plan("plan.json")
    values = json.loads(plan.text())
    del values["jobs"][0]["inputs"]
    Path("plan.json").write_text(json.dumps(values))
    with pytest.raises(PlanError, match="damaged"):
        read_plan("plan.json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"results": "/tmp/elsewhere"},
        {"results": "src"},
        {"results": 3},
        {"jobs": []},
        {
            "jobs": [
                {"rule": "foo", "inputs": {}, "outputs": {"a": "results/small/a"}, "parameters": {}}
            ]
        },
    ],
)
def test_what_is_no_plan_of_this_package_is_refused(wrong: dict) -> None:
    Path("plan.json").write_text(json.dumps(json.loads(small().text()) | wrong))
    with pytest.raises(PlanError, match=r"plan\.json"):
        read_plan("plan.json")


def test_a_job_that_was_killed_between_its_files_and_their_word_is_done_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else files of the one plan would be taken for the other's."""
    assert done(small()) == 0
    first = Path(f"{RESULTS}/dense/d.safetensors").read_bytes()

    def killed(made: Made, job: Job) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Made, "add", killed)
        assert done(small(epochs=3)) == 130
    assert Path(f"{RESULTS}/dense/d.safetensors").read_bytes() != first
    assert rules(Made(small()).left(small().jobs)) == ["train"]
    assert done(small()) == 0
    assert Path(f"{RESULTS}/dense/d.safetensors").read_bytes() == first


def test_a_damaged_file_is_made_again(data: Path) -> None:
    assert done(small()) == 0
    path = Path(f"{RESULTS}/predictions/d/control.safetensors")
    before = path.read_bytes()
    path.write_bytes(before[:-9] + b"damaged!!")
    assert rules(Made(small()).left(small().jobs)) == ["evaluate"]
    path.write_bytes(b"")
    assert done(small()) == 0
    assert path.read_bytes() == before


def test_data_of_another_plan_are_not_taken_as_they_are(data: Path) -> None:
    """A plan knows the data that were there when it was made."""
    job = Job("prepare", {"source": []}, {"data": str(data.relative_to(Path.cwd()))}, {})
    path = job.outputs["data"]
    plan = dataclasses.replace(small(), jobs=(job,))
    assert Made(plan).left(plan.jobs) == []
    known = dataclasses.replace(plan, checksums={path: sha256(path)})
    assert Made(known).left(plan.jobs) == []
    other = dataclasses.replace(plan, checksums={path: "sha256:0"})
    assert Made(other).left(plan.jobs) == [job]


def test_what_failed_may_be_brought_and_no_older_file_is_taken_for_it(data: Path) -> None:
    plan = small()
    made = Made(plan)
    job = plan.jobs[0]
    made.begin(job)
    made.give_up(job)
    for path in job.outputs.values():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    assert done(plan) == 0
    # Where an older file lies, a failure leaves it no one's.
    made = Made(plan)
    made.begin(job)
    made.give_up(job)
    assert rules(Made(plan).left(plan.jobs)) == ["train"]


@pytest.mark.parametrize("text", ["{", "[1]", "3", "null"])
def test_a_damaged_list_of_what_is_made_is_named(data: Path, text: str) -> None:
    Path(f"{RESULTS}/made.json").write_text(text)
    with pytest.raises(PlanError, match=r"made\.json: cannot be read"):
        Made(small())


def test_how_long_counts_networks_and_epochs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch of two networks is said to take 10 seconds."""
    monkeypatch.setattr(duration, "_epoch", lambda *_: 10.0)
    assert duration.seconds(small(epochs=3), "cpu") == 10 * 3 + 10
    assert duration.seconds(small(epochs=3, seeds=(0, 1, 2)), "cpu") == 10 * 3 + 10


def test_how_long_counts_rounds_and_what_is_trained_by_other_recipes() -> None:
    """A chain to ratio 4 has six rounds; what is rewound is trained up to its epoch once."""
    training = {"phases": [{"epochs": 5, "learning_rate": 0.1}], "batch_size": 8, "momentum": 0.9,
                "weight_decay": 0.0, "augmentation": []}  # fmt: skip
    tuning = training | {"phases": [{"epochs": 2, "learning_rate": 0.1}]}
    method = {"criterion": "magnitude", "scope": "global", "gradient_examples": 8, "epsilon": 0.0}
    methods = {
        "once": method | {"schedule": "one_shot"},
        "rounds": method | {"schedule": "iterative"},
        "control_iterative": None,
        "ticket": method | {"schedule": "iterative", "retraining": "rewind"},
        "slowly": method | {"schedule": "gradual"},
    }
    compression = {
        "methods": methods, "count": "prunable", "recipe": tuning, "selection": "holdout",
        "engine": {}, "gradual": {"recipe": training, "begin": 1, "end": 3},
        "retrainings": {"rewind": {"recipe": training, "epochs": 1}},
    }  # fmt: skip
    ratios = {name: ["2", "4"] for name in methods}
    job = SimpleNamespace(
        rule="compress", parameters={"compression": compression, "ratios": ratios},
        inputs={"dense": "dense"},
    )  # fmt: skip
    dense = duration._Work(3, read(TrainingPlan, {"recipe": training, "selection": "test"}, "it"))
    works = duration._works(job, {"dense": dense})
    found = {work.plan.recipe.epochs: work.networks for work in works}
    # Fine-tuned are 2 ratios and twice 6 rounds; 6 rounds are rewound, after 1 epoch to begin with.
    assert found == {2: 3 * (2 + 6 + 6), 4: 3 * 6, 1: 3, 5: 3 * 2}


def test_how_long_scales_what_was_timed_to_all_images_and_networks(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that says one second more each time it is asked."""
    clock = iter(range(1000))
    monkeypatch.setattr(duration.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(duration, "STEPS", 2)
    # 72 images to fit to, of which 2 steps of 16 are timed, for two networks one after another.
    one_epoch = 72 / 32 * 2
    assert duration.seconds(small(epochs=3), "cpu") == pytest.approx(4 * one_epoch)


def test_how_long_is_unknown_before_the_data_are_there() -> None:
    assert duration.seconds(small(), "cpu") is None


@pytest.fixture
def in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no study 'nowhere'"),
        (["test", "seeds"], "'seeds' is no KEY=VALUE"),
        (["test", "seeds=0"], "seeds"),
        (["test", "methods=1"], "describes a study's structure"),
    ],
)
def test_a_study_that_cannot_be_planned_is_one_line(
    in_checkout: None, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["plan", *words, "--untimed"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_an_override_names_the_folder_of_the_plan(
    in_checkout: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["plan", "test", "seeds=1", "--untimed"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["results"] == "results/test+seeds=1"
    assert {len(job["parameters"].get("seeds", [0])) for job in values["jobs"]} == {1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan.json"], "plan.json: there is no such file"),
        (["plan.json", "--seconds", "0"], "a number of seconds above 0, not '0'"),
        (["plan.json", "--gpus", "-1"], "auto or a number of GPUs from 0 on"),
    ],
)
def test_wrong_words_for_run_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = command.main(["run", *words])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert said in capsys.readouterr().err
